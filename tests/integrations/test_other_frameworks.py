"""Holds docs/other-frameworks.md true; the contract has what all frameworks have in common."""

import asyncio
import atexit
import contextlib
import http.client
import importlib
import logging
import re
import socket
import sys
import threading
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pages
import pytest
from log_lines import error_in
from services import wait_for
from services.web import WebServer

from dockerflow import checks
from dockerflow.asgi import DockerflowMiddleware as ASGIMiddleware
from dockerflow.config import Config
from dockerflow.logging import get_request_id
from dockerflow.testing import Client, Response
from dockerflow.wsgi import DockerflowMiddleware as WSGIMiddleware

Records = list[logging.LogRecord]
PAGE = pages.DOCS / "other-frameworks.md"
ID = {"X-Request-ID": "abc"}
CONFIG = Config(version_path="/nowhere", summary_log_route=True)


def blocks(heading: str) -> list[str]:
    """Return the code in one section of the page."""
    section = PAGE.read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


def load(code: str) -> dict[str, Any]:
    """Run code of the page as a module; return its names."""
    module = sys.modules["of_the_page"] = types.ModuleType("of_the_page")
    exec(code, module.__dict__)
    return module.__dict__


def wrap(app: Any, kind: str = "asgi") -> Any:
    middleware = ASGIMiddleware if kind == "asgi" else WSGIMiddleware
    return middleware(app, config=CONFIG, registry=checks.Registry())


def make(name: str, kind: str) -> Any:
    """Make the framework's app of tests/apps/."""
    pytest.importorskip(name)
    module = importlib.import_module(f"apps.{name}_app")
    return module.make_asgi() if kind == "asgi" else module.make_wsgi()


def get(app: Any, path: str, **options: Any) -> Response:
    with Client(app) as client:
        return client.get(path, ID, **options)


def outcome(record: logging.LogRecord) -> tuple[Any, ...]:
    return record.levelname, error_in(record), vars(record)["code"]


def talk(app: Any, path: str) -> list[str]:
    """Use a websocket that echoes; return the kinds of what the app sends."""
    messages = iter([
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "text": "hi"},
        {"type": "websocket.disconnect", "code": 1000},
    ])  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        message = next(messages)
        while message["type"] == "websocket.disconnect" and len(sent) < 2:
            await asyncio.sleep(0.01)
        return message

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket", "path": path, "raw_path": path.encode(), "root_path": "",
        "scheme": "ws", "headers": [(b"host", b"testserver")], "query_string": b"", "state": {},
        "subprotocols": [], "http_version": "1.1", "asgi": {"version": "3.0"},
        "server": ("127.0.0.1", 80), "client": ("192.0.2.1", 4711), "extensions": {},
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    assert [message["text"] for message in sent if message.get("text")] == ["hi"]
    return [message["type"] for message in sent]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("file")
    return tmp_path


# --- the table, and what all have in common ------------------------------------------------------

LITESTAR = "litestar", "asgi"
QUART = "quart", "asgi"
FALCON_ASGI = "falcon", "asgi"
FALCON_WSGI = "falcon", "wsgi"
PYRAMID = "pyramid", "wsgi"
BOTTLE = "bottle", "wsgi"
ALL = [LITESTAR, QUART, FALCON_ASGI, FALCON_WSGI, PYRAMID, BOTTLE]


@pytest.mark.parametrize(
    ("heading", "module"),
    [(name.title(), name) for name in ("litestar", "quart", "falcon", "pyramid", "bottle")],
)
def test_the_code_of_the_page(
    heading: str, module: str, summaries: Records, no_checks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(module)
    make(module, "wsgi" if module in ("bottle", "pyramid") else "asgi")  # as it may warn
    monkeypatch.setattr("dockerflow.logging.configure_logging", lambda name: None)
    found = blocks(heading)
    assert found
    for code in found:
        names = load(code)
        with Client(names["app"]) as client:
            summaries.clear()
            assert client.get("/__lbheartbeat__", ID).status == 200
            assert client.head("/__heartbeat__").status == 200
            response = client.get("/", ID)
        assert response.all("x-request-id") == ["abc"]
        assert (response.status, response.body) == (200, b"Hello") or "Hello" not in code
        assert [vars(r)["code"] for r in summaries] == [200, 200, response.status]


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_no_uid_and_no_route(name: str, kind: str, summaries: Records) -> None:
    get(wrap(make(name, kind), kind), "/")
    [record] = summaries
    assert vars(record)["uid"] == ""
    assert "route" not in vars(record)


def reraise(*args: Any) -> Any:
    """Is called with the exception at another place in each framework."""
    raise next(argument for argument in args if isinstance(argument, Exception))


async def areraise(*args: Any) -> None:
    reraise(*args)


def litestar_that_raises() -> Any:
    litestar = pytest.importorskip("litestar")
    from apps.litestar_app import fail

    def handler(request: Any, exception: Exception) -> Any:
        raise exception

    return litestar.Litestar([fail], logging_config=None, exception_handlers={500: handler})


def quart_that_raises() -> Any:
    app = make(*QUART)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    return app


def falcon_that_raises(kind: str) -> Any:
    app = make("falcon", kind)
    app.add_error_handler(Exception, areraise if kind == "asgi" else reraise)
    return app


def bottle_that_raises() -> Any:
    app = make(*BOTTLE)
    app.catchall = False
    return app


RAISING: dict[tuple[str, str], Callable[[], Any]] = {
    LITESTAR: litestar_that_raises,
    QUART: quart_that_raises,
    FALCON_ASGI: lambda: falcon_that_raises("asgi"),
    FALCON_WSGI: lambda: falcon_that_raises("wsgi"),
    PYRAMID: lambda: make(*PYRAMID),
    BOTTLE: bottle_that_raises,
}


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_an_exception_that_nobody_handles(name: str, kind: str, summaries: Records) -> None:
    response = get(wrap(make(name, kind), kind), "/fail")
    if name == "pyramid":
        assert repr(response.error) == "ValueError('100% broken')"
        assert outcome(summaries.pop()) == ("ERROR", "100% broken", 500)
    else:
        assert (response.status, response.all("x-request-id")) == (500, ["abc"])
        assert outcome(summaries.pop()) == ("INFO", "", 500)
    # By the way that the page's table has.
    response = get(wrap(RAISING[name, kind](), kind), "/fail")
    error = response.error
    text = str(error)
    if name == "quart" and isinstance(error, ExceptionGroup):  # newer releases
        [error] = error.exceptions
    assert (response.status, repr(error)) == (None, "ValueError('100% broken')")
    assert outcome(summaries.pop()) == ("ERROR", text, 500)
    assert not summaries
    # Other errors are still the framework's.
    assert get(wrap(RAISING[name, kind](), kind), "/missing").status == 404


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_head(name: str, kind: str) -> None:
    [row] = [cells for cells in pages.rows(PAGE.read_text("utf-8")) if cells[0].lower() == name]
    with Client(wrap(make(name, kind), kind)) as client:
        assert client.head("/").status == {"405": 405, "served": 200}[row[3]]
        assert client.head("/__lbheartbeat__").status == 200


# --- Litestar ------------------------------------------------------------------------------------


def test_litestars_exceptions_are_logged_with_the_id(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    litestar = pytest.importorskip("litestar")
    from apps.litestar_app import fail

    monkeypatch.setattr("dockerflow.logging.configure_logging", lambda name: None)
    names = load(blocks("Litestar")[0])
    seen = []

    def note(record: logging.LogRecord) -> bool:
        seen.append((record.exc_info[1].args, get_request_id()))  # type: ignore[index, union-attr]
        return True

    monkeypatch.setattr(logging.getLogger("myapp"), "filters", [note])
    for hooks, expected in (([names["log_exception"]], [(("100% broken",), "abc")]), ([], [])):
        caplog.clear()
        seen.clear()
        app = wrap(litestar.Litestar([fail], logging_config=None, after_exception=hooks))
        for path in ("/fail", "/missing"):
            get(app, path)
        assert seen == expected
        assert len([r for r in caplog.records if r.exc_info]) == len(expected)


def test_litestar_replaces_the_roots_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    litestar = pytest.importorskip("litestar")
    own = logging.NullHandler()
    monkeypatch.setattr(logging.root, "handlers", [own])
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    litestar.Litestar([], logging_config=None)
    assert logging.root.handlers == [own]
    litestar.Litestar([])
    assert own not in logging.root.handlers
    for handler in logging.root.handlers:
        if listener := getattr(handler, "listener", None):
            atexit.unregister(listener.stop)
            listener.stop()
        handler.close()


def test_litestars_own_middlewares_are_too_far_inside(summaries: Records) -> None:
    litestar = pytest.importorskip("litestar")
    from apps.litestar_app import root

    app = litestar.Litestar([root], middleware=[wrap], logging_config=None)
    assert get(app, "/").all("x-request-id") == ["abc"]
    assert len(summaries) == 1
    for path in ("/__lbheartbeat__", "/missing"):
        response = get(app, path)
        assert (response.status, response.all("x-request-id")) == (404, [])
    assert len(summaries) == 1


def test_an_application_mounted_in_litestar(summaries: Records) -> None:
    litestar = pytest.importorskip("litestar")
    inner = wrap(make(*QUART))

    @litestar.asgi("/sub", is_mount=True, copy_scope=True)
    async def sub(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    sub.fn.__annotations__ |= dict.fromkeys(("scope", "receive", "send"), Any)
    outer = litestar.Litestar([sub], logging_config=None)
    assert get(outer, "/sub/__lbheartbeat__").status == 200
    assert "sub" not in vars(summaries.pop())["path"]
    both = wrap(outer)
    for path in ("/sub/__lbheartbeat__", "/__lbheartbeat__", "/sub/"):
        assert get(both, path).all("x-request-id") == ["abc"]
        assert vars(summaries.pop())["path"] == path
    assert not summaries


def test_what_works_with_litestar(folder: Path, summaries: Records) -> None:
    litestar = pytest.importorskip("litestar")
    from litestar.static_files import create_static_files_router

    @litestar.websocket("/socket")
    async def echo(socket: litestar.WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    echo.fn.__annotations__ |= {"socket": litestar.WebSocket}
    events: list[str] = []
    static = create_static_files_router(path="/static", directories=[folder])
    litestar_app = litestar.Litestar(
        [static, echo], logging_config=None, on_startup=[lambda: events.append("up")],
        on_shutdown=[lambda: events.append("down")],
    )  # fmt: skip
    app = wrap(litestar_app)
    assert get(app, "/static/a.txt").body == b"file"
    assert events == ["up", "down"]
    assert b"openapi" in get(app, "/schema/openapi.json").body
    summaries.clear()
    assert talk(app, "/socket")[0] == "websocket.accept"
    assert not summaries


# --- Quart ---------------------------------------------------------------------------------------


def test_what_quart_logs_has_the_id(caplog: pytest.LogCaptureFixture) -> None:
    seen = []
    app = make(*QUART)
    app.logger.addFilter(lambda record: seen.append(get_request_id()) or True)
    get(wrap(app), "/fail")
    assert seen == ["abc"]


def test_what_works_with_quart(folder: Path, summaries: Records) -> None:
    quart = pytest.importorskip("quart")
    app = quart.Quart("app", static_folder=str(folder), static_url_path="/static")
    events: list[str] = []
    blueprint = quart.Blueprint("shop", "shop", url_prefix="/shop")

    async def item() -> str:
        return f"{get_request_id()}"

    async def echo() -> None:
        await quart.websocket.send(await quart.websocket.receive())

    blueprint.add_url_rule("/item", view_func=item)
    app.register_blueprint(blueprint)
    app.add_websocket("/socket", view_func=echo)
    app.before_serving(lambda: events.append("up"))
    app.after_serving(lambda: events.append("down"))
    app.asgi_app = wrap(app.asgi_app)
    assert get(app, "/static/a.txt").body == b"file"
    assert events == ["up", "down"]
    assert get(app, "/shop/item").body == b"abc"
    summaries.clear()
    assert talk(app, "/socket")[0] == "websocket.accept"
    assert not summaries


def test_the_extension_for_flask_is_not_for_quart() -> None:
    quart = pytest.importorskip("quart")
    from dockerflow.flask import Dockerflow

    app = quart.Quart("app")
    with pytest.raises(AttributeError):
        Dockerflow(app)


# --- Falcon --------------------------------------------------------------------------------------


def test_what_falcon_logs(caplog: pytest.LogCaptureFixture) -> None:
    seen = []
    logger = logging.getLogger("falcon")
    note: Any = lambda record: seen.append(get_request_id()) or True  # noqa: E731
    logger.addFilter(note)
    try:
        get(wrap(make(*FALCON_ASGI)), "/fail")
    finally:
        logger.removeFilter(note)
    assert seen == ["abc"]
    errors = WrittenErrors(make(*FALCON_WSGI))
    get(wrap(errors, "wsgi"), "/fail")
    assert "ValueError: 100% broken" in errors.text


class WrittenErrors:
    """Keeps what a WSGI application writes to wsgi.errors."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.text = ""

    def __call__(self, environ: Any, start_response: Any) -> Any:
        try:
            return self.app(environ, start_response)
        finally:
            self.text = environ["wsgi.errors"].getvalue()


@pytest.mark.parametrize(("kind", "status"), [("asgi", 404), ("wsgi", 200)])
def test_a_mounted_falcon(kind: str, status: int) -> None:
    app = wrap(make("falcon", kind), kind)
    assert get(app, "/__lbheartbeat__", mount="/mount").status == 200
    assert get(app, "/", mount="/mount").status == status


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_what_works_with_falcon(folder: Path, summaries: Records, kind: str) -> None:
    class Echo:
        async def on_websocket(self, request: Any, socket: Any) -> None:
            await socket.accept()
            await socket.send_text(await socket.receive_text())

    app = make("falcon", kind)
    app.add_static_route("/static", str(folder))
    wrapped = wrap(app, kind)
    assert get(wrapped, "/static/a.txt").body == b"file"
    if kind == "asgi":
        app.add_route("/socket", Echo())
        summaries.clear()
        assert talk(wrapped, "/socket")[0] == "websocket.accept"
        assert not summaries


# --- Pyramid -------------------------------------------------------------------------------------


def tween_factory(handler: Any, registry: Any) -> Any:
    def tween(request: Any) -> Any:
        registry.seen.append((request.path, get_request_id()))
        return handler(request)

    return tween


def test_pyramids_views_and_tweens(folder: Path, summaries: Records) -> None:
    make(*PYRAMID)
    from apps import pyramid_app

    def page(error: Any, request: Any) -> Any:
        return pyramid_app.Response("own page", status=503)

    with pyramid_app.Configurator() as config:
        config.registry.seen = seen = []
        config.add_tween(f"{__name__}.tween_factory")
        config.add_route("fail", "/fail")
        config.add_view(pyramid_app.fail, route_name="fail")
        config.add_exception_view(page, context=ValueError)
        config.add_static_view("static", str(folder))
        app = wrap(config.make_wsgi_app(), "wsgi")
    response = get(app, "/fail")
    assert (response.status, response.all("x-request-id")) == (503, ["abc"])
    assert outcome(summaries.pop()) == ("INFO", "", 503)
    assert get(app, "/static/a.txt").body == b"file"
    get(app, "/__heartbeat__")
    assert seen == [("/fail", "abc"), ("/static/a.txt", "abc")]


INI = "[app:main]\nuse = call:of_the_page:main\n"


def test_pserves_applications(tmp_path: Path) -> None:
    make(*PYRAMID)
    load(blocks("Pyramid")[0])
    with warnings.catch_warnings(action="ignore"):
        from pyramid.paster import get_app

        (tmp_path / "app.ini").write_text(INI)
        app = get_app(str(tmp_path / "app.ini"))
    assert get(app, "/__lbheartbeat__").status == 200


# --- Bottle --------------------------------------------------------------------------------------


def test_bottles_mounts_files_and_errors(folder: Path, summaries: Records) -> None:
    bottle = pytest.importorskip("bottle")
    outer = bottle.Bottle()
    outer.mount("/sub/", wrap(make(*BOTTLE), "wsgi"))
    outer.route("/a.txt", callback=lambda: bottle.static_file("a.txt", root=str(folder)))
    assert get(outer, "/sub/__lbheartbeat__").status == 200
    assert not summaries
    for path in ("/sub/", "/sub/__lbheartbeat__"):
        response = get(wrap(outer, "wsgi"), path)
        assert (response.status, response.all("x-request-id")) == (200, ["abc"])
        assert vars(summaries.pop())["path"] == path
        assert not summaries
    assert get(wrap(outer, "wsgi"), "/a.txt").body == b"file"
    for is_caught in (True, False):
        app = make(*BOTTLE)
        app.catchall = is_caught
        errors = WrittenErrors(app)
        get(wrap(errors, "wsgi"), "/fail")
        assert ("ValueError: 100% broken" in errors.text) is is_caught


BOTTLE_RUN = """
import bottle
from dockerflow.wsgi import DockerflowMiddleware
app = DockerflowMiddleware(bottle.Bottle())
bottle.run(app=app, port=PORT, quiet=True)
"""


def test_bottles_own_server(tmp_path: Path) -> None:
    pytest.importorskip("bottle")
    assert_served(tmp_path, BOTTLE_RUN.replace("PORT", "int(__import__('os').environ['PORT'])"))


def assert_served(folder: Path, code: str, **environ: str) -> None:
    (folder / "served.py").write_text(code)
    server = WebServer(["served"], folder, PYTHONPATH=str(folder), **environ)
    try:
        server.wait_until_it_serves()
        assert server.get("/__heartbeat__").status == 200
        if environ:
            server.process.terminate()
            assert server.wait_for(lambda: server.get("/__heartbeat__").status == 503)
            assert server.get("/__lbheartbeat__").status == 200
            server.process.wait(30)
    finally:
        server.close()


# --- Tornado -------------------------------------------------------------------------------------


@contextlib.contextmanager
def tornado(app: Any, *, threads: int = 4) -> Any:
    """Serve a WSGI application and a native handler by Tornado; yield the port."""
    pytest.importorskip("tornado")
    from concurrent.futures import ThreadPoolExecutor

    from tornado.httpserver import HTTPServer
    from tornado.testing import bind_unused_port
    from tornado.wsgi import WSGIContainer

    names = load(blocks("Tornado")[0])
    started, loop, stop = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    sock, port = bind_unused_port()

    async def main() -> None:
        executor = ThreadPoolExecutor(threads) if threads else None
        fallback = names["FallbackHandler"], {"fallback": WSGIContainer(app, executor)}
        native = names["Application"]([("/native", names["Native"]), (".*", *fallback)])
        server = HTTPServer(native)
        server.add_socket(sock)
        started.set()
        await stop.wait()
        server.stop()
        await server.close_all_connections()
        if executor:
            executor.shutdown()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    started.wait(20)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


def ask(port: int, path: str, timeout: float = 20) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers=ID)
        response = connection.getresponse()
        return response.status, response.headers.get_all("X-Request-ID"), response.read()
    finally:
        connection.close()


def test_tornado_serves_the_container(summaries: Records) -> None:
    registry = checks.Registry()

    @registry.register
    async def in_a_loop() -> None:
        await asyncio.sleep(0)

    app = WSGIMiddleware(make(*BOTTLE), config=CONFIG, registry=registry)
    with tornado(app) as port:
        assert ask(port, "/") == (200, ["abc"], b"hello")
        assert ask(port, "/missing")[:2] == (404, ["abc"])
        assert ask(port, "/fail")[:2] == (500, ["abc"])
        assert ask(port, "/stream") == (200, ["abc"], b"one two three")
        assert b'"in_a_loop":"ok"' in ask(port, "/__heartbeat__")[2]
        assert len(summaries) == 5
        assert ask(port, "/native") == (200, None, b"native")
        assert len(summaries) == 5


@pytest.mark.parametrize("threads", [0, 4])
def test_a_heartbeat_blocks_tornados_loop_without_an_executor(threads: int) -> None:
    began, go = threading.Event(), threading.Event()
    registry = checks.Registry()

    @registry.register(timeout=60)
    def slow() -> None:
        began.set()
        go.wait(20)

    app = WSGIMiddleware(make(*BOTTLE), config=CONFIG, registry=registry)
    with tornado(app, threads=threads) as port:
        heartbeat = threading.Thread(target=ask, args=(port, "/__heartbeat__"))
        heartbeat.start()
        assert began.wait(20)
        if threads:
            assert ask(port, "/native")[0] == 200
        else:
            with pytest.raises(TimeoutError):
                ask(port, "/native", timeout=0.5)
        go.set()
        heartbeat.join(20)


def test_tornado_sends_whole_responses_and_misses_who_left(summaries: Records) -> None:
    go, began = threading.Event(), threading.Event()

    def app(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/stream":
            start_response("206 Partial", [])
            yield b"one"
        began.set()
        go.wait(20)
        if environ["PATH_INFO"] == "/late":
            start_response("200 OK", [])
            yield b"one"

    with tornado(wrap(app, "wsgi")) as port:
        for path, code in ("/stream", 206), ("/late", 200):
            began.clear()
            go.clear()
            with socket.create_connection(("127.0.0.1", port), timeout=0.5) as connection:
                connection.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())
                assert began.wait(20)
                with pytest.raises(TimeoutError):
                    connection.recv(1)
            # Nobody is there any more.
            go.set()
            wait_for(lambda: summaries, "the summary")
            assert outcome(summaries.pop()) == ("INFO", "", code)


def test_an_exception_in_tornados_container(
    summaries: Records, caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        raise ValueError("broken")

    with tornado(wrap(app, "wsgi")) as port:
        with pytest.raises(TimeoutError):
            ask(port, "/", timeout=0.5)
        wait_for(lambda: summaries, "the summary")
    assert outcome(summaries.pop()) == ("ERROR", "broken", 500)


def test_draining_with_tornado(tmp_path: Path) -> None:
    pytest.importorskip("tornado")
    code = blocks("Tornado")[0] + "\nimport os\nasyncio.run(main(int(os.environ['PORT'])))\n"
    assert_served(tmp_path, code, DOCKERFLOW_DRAIN_SECONDS="2")
