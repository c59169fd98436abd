"""The request id in outgoing requests: who gets it, with each client and a real server."""

import asyncio
import http.server
import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, cast

import pytest

from dockerflow.logging import MozlogHandler, get_request_id, request_id_context
from dockerflow.propagation import RequestIdPropagator

HEADER = "X-Request-ID"
Send = Callable[..., None]


class Handler(http.server.BaseHTTPRequestHandler):
    """Redirects ``/a/b/c`` to ``/b/c`` at the host ``a``; notes host and id of each request."""

    seen: list[tuple[str, str | None]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.headers["Host"].partition(":")[0], self.headers[HEADER]))
        host, _, rest = self.path[1:].partition("/")
        self.send_response(307 if host else 200)
        if host:
            self.send_header("Location", f"http://{host}:{self.server.server_port}/{rest}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: object) -> None: ...


class Server(http.server.ThreadingHTTPServer):
    def url(self, *hosts: str) -> str:
        return f"http://{hosts[0]}:{self.server_port}/" + "/".join(hosts[1:])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """One server with two names: ``localhost`` and ``127.0.0.1``."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    handler = type("OwnHandler", (Handler,), {"seen": []})
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def seen(server: Server) -> list[tuple[str, str | None]]:
    seen = server.RequestHandlerClass.seen.copy()
    server.RequestHandlerClass.seen.clear()
    return seen


@pytest.fixture
def rid() -> Iterator[str]:
    token = request_id_context.set("rid-1")
    yield "rid-1"
    request_id_context.reset(token)


def by_httpx(name: str) -> Send:
    httpx = pytest.importorskip(name)

    def send(propagator: RequestIdPropagator, *urls: str, **options: Any) -> None:
        hooks = {"request": [propagator.httpx_hook]}
        with httpx.Client(event_hooks=hooks, follow_redirects=True) as client:
            for url in urls:
                assert client.post(url, content=b"x", **options).status_code == 200

    return send


def by_async_httpx(name: str) -> Send:
    httpx = pytest.importorskip(name)

    async def send(propagator: RequestIdPropagator, *urls: str, **options: Any) -> None:
        hooks = {"request": [propagator.httpx_async_hook]}
        async with httpx.AsyncClient(event_hooks=hooks, follow_redirects=True) as client:
            for url in urls:
                assert (await client.post(url, content=b"x", **options)).status_code == 200

    return lambda *arguments, **options: asyncio.run(send(*arguments, **options))


def by_requests(name: str) -> Send:
    requests = pytest.importorskip(name)

    def send(propagator: RequestIdPropagator, *urls: str, **options: Any) -> None:
        with requests.Session() as session:
            propagator.mount(session)
            for url in urls:
                assert session.post(url, data=b"x", **options).status_code == 200

    return send


def by_aiohttp(name: str) -> Send:
    aiohttp = pytest.importorskip(name)

    async def send(propagator: RequestIdPropagator, *urls: str, **options: Any) -> None:
        middlewares = [propagator.aiohttp_middleware]
        async with aiohttp.ClientSession(middlewares=middlewares) as session:
            for url in urls:
                async with session.post(url, data=b"x", **options) as response:
                    assert response.status == 200

    return lambda *arguments, **options: asyncio.run(send(*arguments, **options))


CLIENTS = [
    (by_httpx, "httpx2"),
    (by_httpx, "httpx"),
    (by_async_httpx, "httpx2"),
    (by_async_httpx, "httpx"),
    (by_requests, "requests"),
    (by_aiohttp, "aiohttp"),
]


@pytest.fixture(params=CLIENTS, ids=lambda param: f"{param[0].__name__}-{param[1]}")
def send(request: pytest.FixtureRequest) -> Send:
    make, name = request.param
    return make(name)


def test_only_hosts_that_are_named_get_the_id(send: Send, server: Server, rid: str) -> None:
    send(RequestIdPropagator(["localhost"]), server.url("localhost"), server.url("127.0.0.1"))
    assert seen(server) == [("localhost", rid), ("127.0.0.1", None)]
    send(RequestIdPropagator([]), server.url("localhost"))
    assert seen(server) == [("localhost", None)]


def test_a_redirect_takes_it_to_no_other_host(send: Send, server: Server, rid: str) -> None:
    propagator = RequestIdPropagator(["localhost"])
    send(propagator, server.url("localhost", "localhost", "127.0.0.1", "127.0.0.1", "localhost"))
    assert seen(server) == [
        ("localhost", rid), ("localhost", rid), ("127.0.0.1", None), ("127.0.0.1", None),
        ("localhost", rid),
    ]  # fmt: skip


def test_a_header_of_the_apps_own_wins(send: Send, server: Server, rid: str) -> None:
    propagator = RequestIdPropagator(["localhost"])
    send(propagator, server.url("localhost", "127.0.0.1"), headers={"x-request-id": "own"})
    assert seen(server) == [("localhost", "own"), ("127.0.0.1", "own")]
    send(propagator, server.url("localhost", "127.0.0.1"), headers={"x-request-id": rid})
    assert seen(server) == [("localhost", rid), ("127.0.0.1", rid)]


def test_nothing_is_sent_without_an_id(send: Send, server: Server) -> None:
    send(RequestIdPropagator(["localhost"]), server.url("localhost"))
    for invalid in ("a\r\nb: c", "a b", "é", "", b"a", uuid.UUID(int=1)):
        token = request_id_context.set(cast("str", invalid))
        send(RequestIdPropagator(["localhost"]), server.url("localhost"))
        request_id_context.reset(token)
    assert seen(server) == [("localhost", None)] * 7


def test_each_request_has_the_id_of_its_own_time(send: Send, server: Server) -> None:
    for rid in ("a", "b"):
        token = request_id_context.set(rid)
        send(RequestIdPropagator(["localhost"]), server.url("localhost"))
        request_id_context.reset(token)
    assert seen(server) == [("localhost", "a"), ("localhost", "b")]


def test_one_request_of_httpx_sent_twice(server: Server) -> None:
    """As an authentication does that is asked for credentials."""
    httpx = pytest.importorskip("httpx2")
    propagator = RequestIdPropagator(["localhost"])
    with httpx.Client(event_hooks={"request": [propagator.httpx_hook]}) as client:
        request = client.build_request("GET", server.url("localhost"))
        for rid in ("a", "b"):
            token = request_id_context.set(rid)
            client.send(request)
            request_id_context.reset(token)
    client.close()
    assert seen(server) == [("localhost", "a"), ("localhost", "b")]


def test_the_apps_own_adapter_of_requests_stays(server: Server, rid: str) -> None:
    requests = pytest.importorskip("requests")
    sent: list[Any] = []

    class Own(requests.adapters.HTTPAdapter):
        def send(self, request: Any, **options: Any) -> Any:
            sent.append(request.headers.get(HEADER))
            return super().send(request, **options)

    with requests.Session() as session:
        session.mount("http://localhost", Own())
        RequestIdPropagator(["localhost"]).mount(session)
        response = session.get(server.url("localhost"))
        assert response.request.headers[HEADER] == rid
    assert sent == [rid]
    assert seen(server) == [("localhost", rid)]


def id_sent_to(host: str, hosts: Any) -> bool:
    requests = pytest.importorskip("requests")
    sent: list[Any] = []

    class Adapter:
        def send(self, request: Any, **options: Any) -> Any:
            sent.append(request.headers.get(HEADER))
            raise requests.ConnectionError

    session = requests.Session()
    session.mount("http://", Adapter())
    session.mount("https://", Adapter())
    RequestIdPropagator(hosts).mount(session)
    with pytest.raises(requests.ConnectionError):
        session.get(host if "//" in host else f"https://{host}/")
    return sent != [None]


@pytest.mark.parametrize(
    ("host", "hosts", "is_named"),
    [
        ("api.example.com", ["api.example.com"], True),
        ("API.Example.Com.", ["api.EXAMPLE.com"], True),
        ("http://api.example.com:8080/", "a.test, api.example.com", True),
        ("api.example.com.evil.test", ["api.example.com"], False),
        ("evil-api.example.com", ["api.example.com"], False),
        ("x.api.example.com", ["api.example.com"], False),
        ("https://api.example.com@evil.test/", ["api.example.com"], False),
        ("https://evil.test/api.example.com", ["api.example.com"], False),
        ("https://evil.test/?https://api.example.com", ["api.example.com"], False),
        ("https://evil.test\\@api.example.com/", ["api.example.com"], False),
        ("a.b.example.com", [".example.com"], True),
        ("example.com", [".example.com"], True),
        ("evilexample.com", [".example.com"], False),
        ("example.com.evil.test", [".example.com"], False),
        ("http://[::1]:80/", ["::1"], True),
        ("http://127.0.0.1/", ["127.0.0.1"], True),
        ("müller.test", ["xn--mller-kva.test"], True),
    ],
)
def test_which_hosts_are_named(host: str, hosts: Any, is_named: bool, rid: str) -> None:
    assert id_sent_to(host, hosts) is is_named


@pytest.mark.parametrize(
    "hosts",
    [["https://a.test"], ["a.test:80"], ["a.test/"], ["*"], ["*.a.test"], ["müller.test"],
     ["a..test"], ["."], ["a b"], ["a.test."], [5], b"a.test", 5],
)  # fmt: skip
def test_wrong_hosts_are_refused(hosts: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        RequestIdPropagator(hosts)
    with pytest.raises(ValueError, match="hosts must be host names or IP addresses, not 'a b'"):
        RequestIdPropagator(["a.test", "a b"])


def test_a_header_of_another_name(server: Server, rid: str) -> None:
    with pytest.raises(ValueError):
        RequestIdPropagator(["a.test"], header_name="a b")
    httpx = pytest.importorskip("httpx2")
    propagator = RequestIdPropagator(["localhost"], header_name="X-Trace")
    with httpx.Client(event_hooks={"request": [propagator.httpx_hook]}) as client:
        response = client.get(server.url("localhost"))
    assert response.request.headers["x-trace"] == rid
    assert HEADER not in response.request.headers


async def by_to_thread(function: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(function)


async def by_starlette(function: Callable[[], Any]) -> Any:
    concurrency = pytest.importorskip("starlette.concurrency")
    return await concurrency.run_in_threadpool(function)


async def by_asgiref(function: Callable[[], Any]) -> Any:
    sync = pytest.importorskip("asgiref.sync")
    return await sync.sync_to_async(function, thread_sensitive=False)()


async def by_executor(function: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor() as pool:
        return pool.submit(copy_context().run, function).result()


@pytest.mark.parametrize("call", [by_to_thread, by_starlette, by_asgiref, by_executor])
def test_threads_that_have_the_id(
    call: Callable[..., Any], rid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As docs/request-ids.md describes; also in what they log."""
    log = logging.Logger("tests")
    log.addHandler(MozlogHandler())

    def work() -> tuple[str | None, threading.Thread]:
        log.info("working")
        return get_request_id(), threading.current_thread()

    seen, thread = asyncio.run(call(work))
    assert seen == rid
    assert thread is not threading.current_thread()
    assert json.loads(capsys.readouterr().out)["Fields"] == {"msg": "working", "rid": rid}
