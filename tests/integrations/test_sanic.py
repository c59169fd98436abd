"""What only Sanic has."""

import asyncio
import contextvars
import itertools
import logging
import time

import pytest
from log_lines import error_in

sanic = pytest.importorskip("sanic")
pytest.importorskip("sanic_testing")
httpx = pytest.importorskip("httpx")

from sanic_testing.testing import SanicTestClient  # noqa: E402 - after the skip
from services.command import python  # noqa: E402 - after the skip
from services.web import WebServer  # noqa: E402 - after the skip

from dockerflow import checks  # noqa: E402 - after the skip
from dockerflow.config import ConfigError  # noqa: E402
from dockerflow.logging import get_request_id  # noqa: E402
from dockerflow.sanic import Dockerflow  # noqa: E402

numbers = itertools.count()


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """Undo what sanic-testing does to the class for good."""
    monkeypatch.setattr(sanic.Sanic, "__call__", sanic.Sanic.__call__)
    monkeypatch.setattr(sanic.Sanic, "test_mode", sanic.Sanic.test_mode)


@pytest.fixture
def app():
    return sanic.Sanic(f"integration{next(numbers)}", configure_logging=False)


def test_an_app_gets_it_once(app):
    extension = Dockerflow(app)
    for add in (Dockerflow, extension.init_app):
        with pytest.raises(ValueError, match="this app already has Dockerflow"):
            add(app)


def get(app, path, **kwargs):
    async def ask():
        response = (await app.asgi_client.get(path, **kwargs))[1]
        return response, get_request_id()

    response, rid = asyncio.run(ask())
    assert rid is None  # nothing is left behind
    return response


def test_two_apps_with_registries_of_their_own(app):
    other = sanic.Sanic(f"integration{next(numbers)}", configure_logging=False)
    for name, one in (("a", app), ("b", other)):
        registry = checks.Registry()
        registry.register(lambda: None, name=name)
        Dockerflow(one, registry=registry)
        assert get(one, "/__heartbeat__").json["checks"] == {name: "ok"}


def test_a_prefix_and_a_blueprint(app, summaries):
    blueprint = sanic.Blueprint("shop", url_prefix="/shop")

    @blueprint.get("/item")
    async def item(request):
        return sanic.text(get_request_id())

    app.blueprint(blueprint)
    app.config.DOCKERFLOW_PATH_PREFIX = "/ops"
    Dockerflow(app, registry=checks.Registry())
    assert get(app, "/ops/__lbheartbeat__").status == 200
    assert get(app, "/__lbheartbeat__").status == 404
    assert get(app, "/shop/item", headers={"X-Request-ID": "abc"}).text == "abc"
    assert [record.path for record in summaries][-1] == "/shop/item"


def test_a_wrong_setting_fails_at_the_start(app):
    app.config.DOCKERFLOW_CHECK_TIMEOUT = "soon"
    with pytest.raises(ConfigError, match="DOCKERFLOW_CHECK_TIMEOUT must be .*, not 'soon'"):
        Dockerflow(app)


def test_an_unknown_setting_is_named_at_start(app, caplog):
    app.config.DOCKERFLOW_HEARTBEET_HTML = True
    Dockerflow(app, registry=checks.Registry())
    app.config.DOCKERFLOW_LATER = True
    for _ in range(2):
        assert get(app, "/__lbheartbeat__").status == 200
    assert [text for text in caplog.messages if "DOCKERFLOW_" in text] == [
        (
            "DOCKERFLOW_HEARTBEET_HTML in app.config is not a setting of Dockerflow: did you mean "
            "DOCKERFLOW_HEARTBEAT_HTML?"
        ),
        "DOCKERFLOW_LATER in app.config is not a setting of Dockerflow",
    ]


def test_groups_of_checks_leave_the_apps_own_paths(app):
    registry = checks.Registry()
    registry.register(lambda: None, name="database")
    app.config.DOCKERFLOW_HEARTBEAT_GROUPS = "ready=database"
    Dockerflow(app, registry=registry)

    @app.get("/__heartbeat__/<name>")
    async def own(request, name):
        return sanic.text(f"own {name}")

    assert get(app, "/__heartbeat__/ready").json["checks"] == {"database": "ok"}
    assert get(app, "/__heartbeat__/other").text == "own other"
    app.config.DOCKERFLOW_HEARTBEAT_GROUPS = ""
    assert get(app, "/__heartbeat__/ready").status == 404
    assert get(app, "/__heartbeat__").json["checks"] == {"database": "ok"}


def test_the_error_endpoint_and_exception_handlers(app, summaries):
    app.config.DOCKERFLOW_ERROR_ENDPOINT = True
    Dockerflow(app, registry=checks.Registry())

    @app.exception(RuntimeError)
    async def handle(request, exception):
        return sanic.text("sorry", 503)

    response = get(app, "/__error__", headers={"X-Request-ID": "abc"})
    assert (response.status, response.headers["x-request-id"]) == (503, "abc")
    [record] = summaries
    assert (record.levelname, record.code, record.rid) == ("ERROR", 503, "abc")


@pytest.mark.parametrize("error", [OSError, SystemExit])
def test_a_broken_version_callback(app, error):
    """Also one that exits, which would end the server."""
    dockerflow = Dockerflow(app)

    @dockerflow.version_callback
    async def version(path):
        raise error("secret")

    response = get(app, "/__version__")
    assert response.status == 500
    assert "secret" not in response.text


def test_an_exception_after_the_answer_began(app, summaries):
    Dockerflow(app, registry=checks.Registry())

    @app.get("/half")
    async def half(request):
        response = await request.respond()
        await response.send("one")
        raise ValueError("broken")

    with pytest.raises(AssertionError):  # how httpx tells of an answer without an end
        get(app, "/half")
    [record] = summaries
    assert (record.levelname, error_in(record), record.code, record.errno) == (
        "ERROR", "broken", 200, 500,
    )  # fmt: skip


def test_a_client_that_leaves(app, summaries):
    Dockerflow(app, registry=checks.Registry())

    async def main():
        started = asyncio.Event()

        @app.get("/slow")
        async def slow(request):
            started.set()
            await asyncio.sleep(60)

        task = asyncio.ensure_future(app.asgi_client.get("/slow"))
        await asyncio.wait_for(started.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    [record] = summaries
    assert (record.levelname, record.code) == ("INFO", 499)


def test_a_setting_that_is_wrong_at_the_start(app, caplog):
    Dockerflow(app, registry=checks.Registry())
    app.config.DOCKERFLOW_CHECK_TIMEOUT = "soon"
    with pytest.raises(
        ConfigError, match="DOCKERFLOW_CHECK_TIMEOUT must be .*, not 'soon'"
    ) as caught:
        get(app, "/")
    assert len(str(caught.value).splitlines()) == 1


def test_a_setting_that_turns_wrong_is_one_line(app, caplog):
    Dockerflow(app, registry=checks.Registry())

    app.config.DOCKERFLOW_CHECK_TIMEOUT = 3
    live = app.ctx.dockerflow_cores
    assert live.get().config.check_timeout == 3
    app.config.DOCKERFLOW_CHECK_TIMEOUT = "soon"
    assert live.get().config.check_timeout == 3
    [record] = [record for record in caplog.records if record.name == "dockerflow"]
    assert "DOCKERFLOW_CHECK_TIMEOUT must be " in record.getMessage()
    assert record.exc_info is None


def test_ids_in_answers_to_errors(app, summaries):
    Dockerflow(app, registry=checks.Registry())

    @app.get("/fail")
    async def fail(request):
        raise ValueError("broken")

    @app.get("/forbidden")
    async def forbidden(request):
        raise sanic.exceptions.Forbidden("no")

    for path, status, level in [
        ("/fail", 500, "ERROR"), ("/missing", 404, "INFO"), ("/forbidden", 403, "INFO"),
    ]:  # fmt: skip
        response = get(app, path, headers={"X-Request-ID": path})
        assert (response.status, response.headers["x-request-id"]) == (status, path)
        record = summaries[-1]
        assert (record.rid, record.code, record.levelname) == (path, status, level)


@pytest.mark.parametrize("path", ["/", "/fail", "/missing", "/__lbheartbeat__"])
@pytest.mark.parametrize("kind", ["raises", "replaces"])
def test_ids_where_a_middleware_of_the_app_makes_another_answer(app, summaries, kind, path):
    Dockerflow(app, registry=checks.Registry())

    @app.on_response
    async def of_the_app(request, response):
        if kind == "raises":
            raise LookupError("no template")
        return sanic.text("another", 418)

    @app.get("/")
    async def index(request):
        return sanic.text("x")

    @app.get("/fail")
    async def fail(request):
        raise ValueError("broken")

    response = get(app, path, headers={"X-Request-ID": "abc"})
    assert response.headers.get("x-request-id") == "abc"
    [record] = summaries
    assert (record.rid, record.code) == ("abc", response.status)
    assert record.levelname == ("ERROR" if response.status >= 500 else "INFO")


def test_the_summary_has_the_span_of_a_tracer_that_ends_it_first(app, summaries, monkeypatch):
    # As sanic-testing has it, Sanic warns of the listener's second argument.
    monkeypatch.setattr(
        SanicTestClient, "_run_request", lambda self, app: self._do_request(app, None)
    )
    span = contextvars.ContextVar("span", default=None)
    seen = []

    @app.on_request
    async def begin(request):
        span.set(request.path)

    @app.signal("http.lifecycle.response")
    async def end(request, response):
        span.set(None)

    @app.get("/text")
    async def text(request):
        return sanic.text("text")

    @app.get("/stream")
    async def stream(request):
        response = await request.respond()
        await response.send("a")
        await response.eof()

    @app.get("/fail")
    async def fail(request):
        raise ValueError

    def note(record):
        seen.append((record.path, span.get()))
        return True

    Dockerflow(app, registry=checks.Registry())
    logger = logging.getLogger("request.summary")
    logger.addFilter(note)
    try:
        for path in ("/text", "/stream", "/fail"):
            app.test_client.get(path)
    finally:
        logger.removeFilter(note)
    assert seen == [(path, path) for path in ("/text", "/stream", "/fail")]


def test_checks_in_the_background_end_with_the_server(app):
    registry = checks.Registry()
    ran = []
    registry.register(lambda: ran.append(1), name="clock", interval=0.05)
    Dockerflow(app, registry=registry)
    assert get(app, "/__heartbeat__").json["checks"] == {"clock": "ok"}
    end = time.monotonic() + 10
    count = 0
    while count != len(ran):  # what was begun may still come
        assert time.monotonic() < end
        count = len(ran)
        time.sleep(0.3)


def test_a_connection_that_stays_open_holds_no_past_requests(app, monkeypatch):
    """Sanic's own server has one task for all of the requests of a connection."""
    Dockerflow(app, registry=checks.Registry())

    @app.get("/")
    async def index(request):
        return sanic.text(str(len(asyncio.current_task()._callbacks)))

    seen = []

    async def ask(self, app):
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}") as client:
                seen.extend([(await client.get("/")).text for _ in range(3)])
        finally:
            app.stop()

    monkeypatch.setattr(SanicTestClient, "_run_request", ask)
    app.test_client.get("/", allow_none=True)
    first, *others = seen
    assert others == [first, first]


LATE = """
import asyncio, signal
from pathlib import Path
from sanic import Sanic
from dockerflow.sanic import Dockerflow

app = Sanic("late", configure_logging=False)
Dockerflow(app)

@app.before_server_start
async def start(app):
    signal.signal(signal.SIGURG, lambda *_: Path("lost").touch())
    Path("starting").touch()
    while not Path("go").exists():
        await asyncio.sleep(0.01)
"""


def test_a_worker_that_is_ready_after_sigterm_drains(tmp_path):
    (tmp_path / "late.py").write_text(LATE)
    command = ["sanic", "late:app", "--host", "127.0.0.1", "--port", "{port}", "--no-motd"]
    server = WebServer(command, tmp_path, PYTHONPATH=str(tmp_path), DOCKERFLOW_DRAIN_SECONDS="120")
    try:
        server.wait_for((tmp_path / "starting").exists)
        server.process.terminate()
        server.wait_for((tmp_path / "lost").exists)
        (tmp_path / "go").touch()
        assert server.wait_for(lambda: server.get("/__lbheartbeat__").status) == 200
        assert server.get("/__heartbeat__").status == 503
    finally:
        server.close()


def test_sentry_has_one_event_for_an_exception():
    pytest.importorskip("sentry_sdk")
    code = """
import sanic
from apps import sentry_sink
from sanic_testing.testing import SanicTestClient
from sentry_sdk.integrations.sanic import SanicIntegration
from dockerflow import checks
from dockerflow.sanic import Dockerflow

sentry_sink.start(SanicIntegration())
app = sanic.Sanic("x", configure_logging=False)
Dockerflow(app)

@app.get("/fail")
async def fail(request):
    raise ValueError("broken")

@checks.register
def bad():
    raise KeyError("bad")

for path in ("/fail", "/__heartbeat__", "/missing"):
    app.test_client.get(path)
    print(path, sentry_sink.take())
"""
    assert python(code)[-3:] == [
        "/fail ['ValueError']", "/__heartbeat__ ['KeyError']", "/missing []",
    ]  # fmt: skip
