"""What only aiohttp has."""

import asyncio
import contextlib
import contextvars
import gc
import logging
import time
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from log_lines import error_in

pytest.importorskip("aiohttp")
from aiohttp import ClientError, web  # noqa: E402 - after the skip
from aiohttp.test_utils import TestClient, TestServer  # noqa: E402
from services.command import python  # noqa: E402
from services.web import WebServer  # noqa: E402

from dockerflow import checks  # noqa: E402
from dockerflow.aiohttp import SUMMARY, setup  # noqa: E402
from dockerflow.config import Config, ConfigError  # noqa: E402
from dockerflow.logging import get_request_id  # noqa: E402

Records = list[logging.LogRecord]
ID = {"X-Request-ID": "abc"}


@pytest.fixture
def app() -> web.Application:
    app = web.Application()
    setup(app, registry=checks.Registry())
    return app


def run(app: web.Application, use: Callable[[Any], Awaitable[None]], **options: Any) -> None:
    """Serve an app, and let a function use a client of it."""

    async def main() -> None:
        async with TestClient(TestServer(app)) as client:
            await use(client)
        assert get_request_id() is None

    with asyncio.Runner(**options) as runner:
        runner.run(main())


def get(app: web.Application, *paths: str, **options: Any) -> list[Any]:
    """Send one request after the other; return the responses, which have been read."""
    found = []

    async def use(client: Any) -> None:
        for path in paths:
            async with client.get(path, allow_redirects=False, **options) as response:
                await response.read()
                found.append(response)

    run(app, use)
    return found


def outcome(record: logging.LogRecord) -> tuple[Any, ...]:
    fields = vars(record)
    return record.levelname, error_in(record), fields["code"], fields["errno"]


async def hello(request: web.Request) -> web.Response:
    return web.Response(text=f"{get_request_id()}")


# --- responses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (web.HTTPFound, 302, ("INFO", "", 302, 0)),
        (web.HTTPForbidden, 403, ("INFO", "", 403, 0)),
        # A response as others are: nothing failed.
        (web.HTTPServiceUnavailable, 503, ("INFO", "", 503, 503)),
        (ValueError, 500, ("ERROR", "/there", 500, 500)),
        (TimeoutError, 504, ("ERROR", "/there", 504, 504)),
        (ConnectionRefusedError, 500, ("ERROR", "/there", 500, 500)),
    ],
)
def test_what_a_handler_raises(
    app: web.Application, summaries: Records, error: Any, status: int, expected: Any
) -> None:
    async def handler(request: web.Request) -> web.Response:
        raise error("/there") if issubclass(error, (OSError, ValueError, web.HTTPFound)) else error

    app.router.add_get("/", handler)
    [response] = get(app, "/", headers=ID)
    assert (response.status, response.headers.getall("X-Request-ID")) == (status, ["abc"])
    [record] = summaries
    assert outcome(record) == expected
    assert vars(record)["rid"] == "abc"


def test_what_aiohttp_logs_has_the_id(
    app: web.Application, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    def note(record: logging.LogRecord) -> bool:
        seen.append((record.exc_info is not None, get_request_id()))
        return True

    async def fail(request: web.Request) -> web.Response:
        raise ValueError

    app.router.add_get("/", fail)
    logger = logging.getLogger("aiohttp.server")
    logger.addFilter(note)
    try:
        get(app, "/", headers=ID)
    finally:
        logger.removeFilter(note)
    assert seen == [(True, "abc")]


def test_what_the_server_refuses_itself(app: web.Application, summaries: Records) -> None:
    async def main() -> None:
        async with TestServer(app) as server:
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(b"no HTTP\r\n\r\n")
            head = (await reader.read()).lower()
            assert b" 400 " in head
            assert b"x-request-id" not in head
            writer.close()

    asyncio.run(main())
    assert not summaries


def test_ids_in_responses_that_no_handler_makes(app: web.Application, summaries: Records) -> None:
    app.router.add_post("/", hello)

    async def use(client: Any) -> None:
        for path, status, headers in [
            ("/missing", 404, {}), ("/", 405, {}), ("/missing", 417, {"Expect": "magic"}),
        ]:  # fmt: skip
            response = await client.get(path, headers={**ID, **headers})
            assert (response.status, response.headers.getall("X-Request-ID")) == (status, ["abc"])
            assert outcome(summaries.pop()) == ("INFO", "", status, 0)
        assert not summaries

    run(app, use)


def test_the_apps_own_middlewares_and_hooks(summaries: Records) -> None:
    """They are inside, have the id, and don't see probes."""
    seen = []

    @web.middleware
    async def own(request: web.Request, handler: Any) -> web.StreamResponse:
        seen.append((request.path, get_request_id()))
        try:
            # Another request, as from middlewares that know of a proxy.
            return await handler(request.clone(remote="192.0.2.7"))
        except ValueError:
            return web.Response(status=418)

    async def fail(request: web.Request) -> web.Response:
        assert request.remote == "192.0.2.7"
        raise ValueError("handled")

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"X-Request-ID": "its own"})
        await response.prepare(request)
        await response.write(b"text")
        return response

    app = web.Application(middlewares=[own])
    setup(app, registry=checks.Registry())
    app.router.add_get("/fail", fail)
    app.router.add_get("/stream", stream)
    paths = ("/fail", "/stream", "/__heartbeat__", "/__lbheartbeat__/", "/__version__")
    responses = get(app, *paths, headers=ID)
    ids = [response.headers.getall("X-Request-ID") for response in responses]
    assert ids == [["abc"], ["its own"], ["abc"], ["abc"], ["abc"]]
    assert seen == [("/fail", "abc"), ("/stream", "abc")]
    assert [vars(record)["path"] for record in summaries] == [*paths]
    assert outcome(summaries[0]) == ("INFO", "", 418, 0)


def test_an_exception_after_the_response_began(app: web.Application, summaries: Records) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=206)
        await response.prepare(request)
        await response.write(b"one")
        raise {"error": ValueError, "lost": ConnectionResetError}[request.match_info["kind"]]("x")

    async def parts() -> Any:
        yield b"one"
        raise ValueError("x")

    async def body(request: web.Request) -> web.Response:
        return web.Response(body=parts(), status=206)

    async def twice(request: web.Request) -> web.StreamResponse:
        await web.StreamResponse(status=206).prepare(request)
        raise web.HTTPBadRequest

    app.router.add_get("/half/{kind}", half)
    app.router.add_get("/body", body)
    app.router.add_get("/twice", twice)

    async def use(client: Any) -> None:
        for path in ("/half/error", "/half/lost", "/body"):
            with pytest.raises(ClientError):
                await (await client.get(path)).read()
            assert outcome(summaries.pop()) == ("ERROR", "x", 206, 500), path
        with contextlib.suppress(ClientError):
            await (await client.get("/twice")).read()
        assert outcome(summaries.pop()) == ("INFO", "", 206, 0)
        assert not summaries

    run(app, use)


def test_requests_of_one_connection_and_its_tasks(app: web.Application, summaries: Records) -> None:
    async def handler(request: web.Request) -> web.Response:
        async def child() -> str | None:
            return get_request_id()

        rid = await asyncio.create_task(child())
        assert request.transport is not None
        return web.Response(text=f"{rid} {request.transport.get_extra_info('peername')[1]}")

    app.router.add_get("/", handler)

    async def use(client: Any) -> None:
        texts = [await (await client.get("/")).text() for _ in range(3)]
        ids, ports = zip(*(text.split() for text in texts), strict=True)
        assert [*ids] == [vars(record)["rid"] for record in summaries]
        assert (len({*ids}), len({*ports})) == (3, 1)

    run(app, use)


def test_requests_are_freed_without_the_garbage_collector(app: web.Application) -> None:
    """With the fields of their summaries."""
    references: list[Any] = []

    async def handler(request: web.Request) -> web.Response:
        field = request[SUMMARY]["field"] = lambda: 1  # which no record keeps
        references.extend(map(weakref.ref, (request, field)))
        return web.Response()

    app.router.add_get("/", handler)
    gc.collect()
    gc.disable()
    try:
        get(app, *["/"] * 5)
        assert [reference() for reference in references[:-2]] == [None] * 8
    finally:
        gc.enable()


def test_the_summary_has_the_context_of_the_handler(
    app: web.Application, summaries: Records
) -> None:
    """As tracers set their span, which they end before the last byte has gone out."""
    span: contextvars.ContextVar[str] = contextvars.ContextVar("span", default="")
    seen = []

    @web.middleware
    async def tracer(request: web.Request, handler: Any) -> web.StreamResponse:
        token = span.set(request.path)
        try:
            return await handler(request)
        finally:
            span.reset(token)

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"text")
        return response

    def note(record: logging.LogRecord) -> bool:
        seen.append(span.get())
        return True

    app.middlewares.append(tracer)
    app.router.add_get("/stream", stream)
    logger = logging.getLogger("request.summary")
    logger.addFilter(note)
    try:
        get(app, "/stream")
    finally:
        logger.removeFilter(note)
    assert seen == ["/stream"]


# --- mounts --------------------------------------------------------------------------------------


def named(name: str) -> checks.Registry:
    registry = checks.Registry()
    registry.register(lambda: None, name=name)
    return registry


def test_mounted_applications(summaries: Records) -> None:
    """Each has its own checks and settings, and a request has one summary."""
    outer, inner, innermost = (web.Application() for _ in range(3))
    with_route = Config(summary_log_route=True, path_prefix="/ops")
    setup(outer, registry=named("outer"), config=with_route)
    setup(innermost, registry=named("innermost"))
    innermost.router.add_get("/items/{id}", hello)
    inner.add_subapp("/b", innermost)
    outer.add_subapp("/inner", inner)
    paths = ("/ops/__heartbeat__", "/inner/b/__heartbeat__/", "/inner/b/items/7")
    own, mounted, item = get(outer, *paths, headers=ID)
    assert [own.status, mounted.status, item.status] == [200, 200, 200]
    for response, name in ((own, b"outer"), (mounted, b"innermost")):
        assert response._body == b'{"status":"ok","checks":{"%b":"ok"},"details":{}}' % name
    assert item.headers.getall("X-Request-ID") == ["abc"]
    assert [vars(record)["path"] for record in summaries] == [*paths]
    assert vars(summaries[2])["route"] == "/inner/b/items/{id}"
    assert get(web.Application(), "/__heartbeat__")[0].status == 404


def test_a_probe_of_a_mounted_application_can_be_left_out_of_the_log(summaries: Records) -> None:
    outer, inner = web.Application(), web.Application()
    setup(outer, config=Config(summary_log_probes=False))
    setup(inner)
    outer.add_subapp("/inner", inner)
    found = get(outer, "/inner/__lbheartbeat__", "/inner/missing")
    assert [response.status for response in found] == [200, 404]
    assert [vars(record)["path"] for record in summaries] == ["/inner/missing"]


@pytest.mark.skipif(not hasattr(web, "RequestKey"), reason="aiohttp 3.13 has another order")
def test_an_application_of_a_domain_has_its_own_endpoints(summaries: Records) -> None:
    outer, inner, plain = (web.Application() for _ in range(3))
    setup(outer, registry=named("outer"))
    setup(inner, registry=named("inner"))
    outer.add_domain("inner.example", inner)
    outer.add_domain("plain.example", plain)

    async def use(client: Any) -> None:
        for host, status in (("inner.example", 200), ("plain.example", 404), ("10.1.2.3", 200)):
            response = await client.get("/__heartbeat__", headers={"Host": host})
            assert response.status == status
            if status == 200:
                name = "inner" if host == "inner.example" else "outer"
                assert (await response.json())["checks"] == {name: "ok"}

    run(outer, use)
    assert [vars(record)["code"] for record in summaries] == [200, 404, 200]


def test_endpoints_come_before_routes_that_take_every_path(app: web.Application) -> None:
    every = web.Application()
    every.router.add_route("*", "/{tail:.*}", hello)
    setup(every, registry=checks.Registry())
    responses = get(every, "/__lbheartbeat__", "/other")
    assert [response._body for response in responses] != [b"", b""]
    assert responses[0]._body == b""


# --- settings and fields -------------------------------------------------------------------------


def test_a_wrong_setting_fails_in_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKERFLOW_CHECK_TIMEOUT", "soon")
    with pytest.raises(ConfigError, match="DOCKERFLOW_CHECK_TIMEOUT must be .*, not 'soon'"):
        setup(web.Application())


@pytest.mark.parametrize("is_debug", [False, True])
def test_details_in_debug_mode(is_debug: bool) -> None:
    """aiohttp's debug mode is that of the event loop."""
    app = web.Application()
    setup(app, registry=named("check"), config=Config(heartbeat_details="debug"))

    async def use(client: Any) -> None:
        payload = await (await client.get("/__heartbeat__")).json()
        assert ("checks" in payload) is is_debug

    run(app, use, debug=is_debug)


def test_fields_of_the_app(summaries: Records) -> None:
    app = web.Application()
    user_id = "user_id" if not hasattr(web, "RequestKey") else web.RequestKey("user_id", str)

    def fields(request: web.Request) -> dict[str, Any]:
        return {"uid": request.get(user_id), "host": request.host}

    async def login(request: web.Request) -> web.Response:
        request[user_id] = "u-1"
        request[SUMMARY]["items"] = 3
        return web.Response()

    app.router.add_get("/", login)
    setup(app, config=Config(summary_fields=fields), registry=checks.Registry())
    get(app, "/?a=1", headers={"Host": "shop.example"})
    [record] = summaries
    assert [vars(record)[name] for name in ("uid", "host", "items")] == ["u-1", "shop.example", 3]


def test_query_strings_and_headers_are_as_they_were_sent(summaries: Records) -> None:
    app = web.Application()
    config = Config(summary_log_querystring=True, summary_log_addresses=True)
    setup(app, config=config, registry=checks.Registry())

    async def main() -> None:
        async with TestServer(app) as server:
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(
                b"GET /%C3%A9%FF?token=x&a=%2525&b=%C3%A9 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n"
                b"User-Agent: \xe4\xff\r\n\r\n"
            )
            assert (await reader.read()).startswith(b"HTTP/1.1 404")
            writer.close()

    asyncio.run(main())
    fields = vars(summaries[0])
    assert (fields["agent"], fields["path"]) == ("\xe4\xff", "/é%FF")
    assert fields["remoteAddressChain"] == ["192.0.2.1", "192.0.2.2", "127.0.0.1"]
    assert fields["querystring"] == "token=[redacted]&a=%25&b=é"


# --- clients that leave --------------------------------------------------------------------------


STARTED = web.AppKey("started", asyncio.Event)
GONE = web.AppKey("gone", asyncio.Event)


async def has_left(request: web.Request) -> None:
    """Wait until the server has noticed that the client left."""
    await request.app[GONE].wait()
    end = time.monotonic() + 20
    while request.transport is not None and time.monotonic() < end:
        await asyncio.sleep(0.01)


async def reads(request: web.Request) -> web.Response:
    request.app[STARTED].set()
    return web.Response(body=await request.read())


async def responds(request: web.Request) -> web.Response:
    request.app[STARTED].set()
    await has_left(request)
    return web.Response(text="late")


async def fails(request: web.Request) -> web.Response:
    request.app[STARTED].set()
    await has_left(request)
    raise ValueError("because of that")


async def streams(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=206)
    await response.prepare(request)
    request.app[STARTED].set()
    await has_left(request)
    while True:
        await response.write(b"x" * 65_536)


@pytest.mark.parametrize("is_cancelled", [False, True])
@pytest.mark.parametrize(
    ("handler", "code"), [(reads, 499), (responds, 499), (fails, 499), (streams, 206)]
)
def test_a_client_that_leaves(
    app: web.Application, summaries: Records, handler: Any, code: int, is_cancelled: bool
) -> None:
    async def main() -> None:
        app[STARTED], app[GONE] = asyncio.Event(), asyncio.Event()
        app.router.add_post("/", handler)
        runner = web.AppRunner(app, handler_cancellation=is_cancelled)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        _, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + b"x" * 10)
        await asyncio.wait_for(app[STARTED].wait(), 20)
        writer.transport.abort()
        app[GONE].set()
        await runner.cleanup()  # which waits for the request

    asyncio.run(main())
    [record] = summaries
    assert outcome(record) == ("INFO", "", code, 0)


# --- websockets ----------------------------------------------------------------------------------


def test_websockets_are_passed_through(app: web.Application, summaries: Records) -> None:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            if message.data == "fail":
                raise ValueError("broken")
            await websocket.send_str(f"{message.data} {get_request_id()}")
        return websocket

    app.router.add_get("/echo", echo)

    async def use(client: Any) -> None:
        async with client.ws_connect("/echo", headers=ID) as websocket:
            assert not websocket._response.headers.getall("X-Request-ID", [])
            await websocket.send_str("hi")
            assert await websocket.receive_str() == "hi abc"
        async with client.ws_connect("/echo") as websocket:
            await websocket.send_str("fail")
            await websocket.receive()
        assert not summaries
        # A request that isn't for a websocket has a response, and a summary.
        assert (await client.get("/echo")).status == 400

    run(app, use)
    [record] = summaries
    assert outcome(record) == ("INFO", "", 400, 0)


# --- start and end -------------------------------------------------------------------------------


def test_checks_in_the_background_end_before_what_they_use() -> None:
    app, registry, events = web.Application(), checks.Registry(), []
    is_open = True
    registry.register(lambda: events.append(is_open), name="clock", interval=0.05)

    async def close(app: web.Application) -> None:
        nonlocal is_open
        is_open = False
        await asyncio.sleep(0.3)  # for as long as a check takes that would still run

    app.on_cleanup.append(close)
    setup(app, registry=registry)
    get(app, "/__heartbeat__")
    assert {*events} == {True}


OWN_HANDLER = """
import asyncio, signal
from pathlib import Path
from aiohttp import web
from dockerflow.aiohttp import setup

async def main():
    app = web.Application()
    setup(app)
    stop = asyncio.Event()
    runner = web.AppRunner(app)
    await runner.setup()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await web.TCPSite(runner, "127.0.0.1", PORT).start()
    await stop.wait()
    await runner.cleanup()
    Path("stopped").touch()

asyncio.run(main())
"""


def test_drain_with_the_apps_own_handler_of_sigterm(tmp_path: Path) -> None:
    """It is set after the startup of the application."""
    code = OWN_HANDLER.replace("PORT", "int(__import__('os').environ['PORT'])")
    (tmp_path / "own.py").write_text(code)
    server = WebServer(["own"], tmp_path, PYTHONPATH=str(tmp_path), DOCKERFLOW_DRAIN_SECONDS="2")
    try:
        server.wait_until_it_serves()
        server.process.terminate()
        assert server.wait_for(lambda: server.get("/__heartbeat__").status == 503)
        assert server.get("/__lbheartbeat__").status == 200
        assert server.process.wait(30) == 0
    finally:
        server.close()
    assert (tmp_path / "stopped").exists()


RUN_APP = """
import os
from aiohttp import web
from dockerflow.aiohttp import setup

app = web.Application()
setup(app)
web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]))
"""


def test_drain_before_the_first_request(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(RUN_APP)
    environ = {"PYTHONPATH": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    server = WebServer(["run"], tmp_path, DOCKERFLOW_DRAIN_SECONDS="2", **environ)
    try:
        server.wait_for(lambda: "Running on" in server.output())
        server.process.terminate()
        assert server.wait_for(lambda: server.get("/__heartbeat__").status == 503)
        assert server.process.wait(30) == 0
    finally:
        server.close()


def test_sentry_has_one_event_for_an_exception_and_no_trace_of_probes() -> None:
    pytest.importorskip("sentry_sdk")
    code = """
import asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from apps import sentry_sink
from sentry_sdk.integrations.aiohttp import AioHttpIntegration
from dockerflow import checks
from dockerflow.aiohttp import setup
from dockerflow.sentry import traces_sampler

sentry_sink.start(AioHttpIntegration(), traces_sampler=traces_sampler(1.0))

async def fail(request):
    raise ValueError("broken")

@checks.register
def bad():
    raise KeyError("bad")

async def main():
    app = web.Application()
    setup(app)
    app.router.add_get("/fail", fail)
    async with TestClient(TestServer(app)) as client:
        for path in ("/fail", "/__heartbeat__", "/missing"):
            await client.get(path)
            print(path, sentry_sink.take())

asyncio.run(main())
"""
    assert python(code)[-3:] == [
        "/fail ['ValueError', 'transaction']",
        "/__heartbeat__ ['KeyError']",
        "/missing ['transaction']",
    ]  # fmt: skip
