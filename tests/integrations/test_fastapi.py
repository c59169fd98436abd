"""What only FastAPI and Starlette have: a router, state, OpenAPI, error pages."""

import asyncio
import gc
import logging
import weakref
from contextlib import asynccontextmanager
from typing import Any

import pytest
from log_lines import error_in

pytest.importorskip("fastapi")

from fastapi import BackgroundTasks, FastAPI, WebSocket
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from starlette.middleware.trustedhost import TrustedHostMiddleware

from dockerflow import checks
from dockerflow.asgi import DockerflowMiddleware
from dockerflow.config import Config, ConfigError
from dockerflow.fastapi import install, make_router, router, views
from dockerflow.fastapi.middleware import MozlogRequestSummaryLogger, RequestIdMiddleware
from dockerflow.logging import get_request_id
from dockerflow.sentry import traces_sampler
from dockerflow.testing import Client

pytestmark = pytest.mark.usefixtures("no_checks")


def make_app(**options: Any) -> FastAPI:
    app = FastAPI()
    app.include_router(make_router(**options) if options else router)

    @app.get("/users/{name}")
    def user(name: str) -> str:
        return name

    @app.get("/fail")
    def fail() -> None:
        raise ValueError("100% broken")

    return app


@pytest.mark.parametrize("slash", ["", "/"])
def test_endpoints(slash):
    client = TestClient(make_app())
    assert client.get(f"/__lbheartbeat__{slash}").json() == {"status": "ok"}
    response = client.get(f"/__heartbeat__{slash}")
    assert response.json() == {"status": "ok", "checks": {}, "details": {}}
    assert client.head(f"/__heartbeat__{slash}").content == b""
    assert client.post(f"/__heartbeat__{slash}").headers["allow"] == "GET, HEAD"
    assert client.get(f"/__error__{slash}").status_code == 404


def test_the_router_is_inside_the_apps_middlewares_and_installed_is_not():
    """docs/exposed.md warns of it."""
    for include, status in ((lambda app: app.include_router(router), 400), (install, 200)):
        app = FastAPI()
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["example.org"])
        include(app)
        assert Client(app).get("/__lbheartbeat__").status == status
        assert Client(app, host="example.org").get("/__lbheartbeat__").status == 200


def test_two_apps_have_checks_of_their_own():
    one, two = checks.Registry(), checks.Registry()
    one.register(lambda: checks.Error("bad", id="x"), name="bad")
    failing = TestClient(make_app(registry=one))
    assert failing.get("/__heartbeat__").status_code == 500
    assert TestClient(make_app(registry=two)).get("/__heartbeat__").status_code == 200


def test_settings_in_state_are_read_when_used():
    app = make_app()
    checks.register(lambda: checks.Error("bad", id="x"), name="bad")
    client = TestClient(app)
    assert client.get("/__heartbeat__").status_code == 500
    app.state.DOCKERFLOW_HEARTBEAT_FAILED_STATUS_CODE = 503
    assert client.get("/__heartbeat__").status_code == 503


def test_version(tmp_path, monkeypatch):
    app = make_app()
    client = TestClient(app)
    (tmp_path / "version.json").write_text('{"version": "1"}')
    monkeypatch.setenv("APP_DIR", str(tmp_path))
    assert client.get("/__version__").json() == {"version": "1"}
    app.state.APP_DIR = str(tmp_path / "other")
    assert client.get("/__version__").status_code == 404
    monkeypatch.setattr(views, "get_version", lambda root: {"root": root})
    assert client.get("/__version__").json() == {"root": str(tmp_path / "other")}


@pytest.mark.parametrize("is_in", [False, True])
def test_schema_by_choice(is_in):
    app = make_app(include_in_schema=is_in)
    assert ("/__heartbeat__" in app.openapi()["paths"]) is is_in


@pytest.mark.parametrize("ids_first", [False, True])
def test_middlewares_in_either_order(ids_first, summaries):
    app = make_app()
    classes = [RequestIdMiddleware, MozlogRequestSummaryLogger]
    for cls in classes if ids_first else reversed(classes):
        app.add_middleware(cls)
    response = TestClient(app).get("/users/jane", headers={"x-request-id": "abc"})
    [record] = summaries
    assert (record.rid, record.code, record.path) == ("abc", 200, "/users/jane")
    assert response.headers.get_list("x-request-id") == ["abc"]


def test_a_logger_of_ones_own(caplog, summaries):
    caplog.set_level(logging.INFO)
    app = make_app()
    app.add_middleware(MozlogRequestSummaryLogger, logger=logging.getLogger("own"))
    app.state.DOCKERFLOW_SUMMARY_LOG_PROBES = False
    client = TestClient(app)
    client.get("/users/x")
    client.get("/__heartbeat__")
    assert [record.path for record in caplog.records if record.name == "own"] == ["/users/x"]
    assert not summaries


def test_the_apps_class_of_loggers_makes_the_record(monkeypatch):
    class Own(logging.Logger):
        def makeRecord(self, *args: Any, **kwargs: Any) -> logging.LogRecord:  # noqa: N802
            record = super().makeRecord(*args, **kwargs)
            record.own = True
            return record

        def handle(self, record: Any) -> None:
            seen.append((record.own, record.code))

    seen: list[Any] = []
    logger = Own("request.summary")
    logger.addHandler(logging.NullHandler())
    monkeypatch.setattr("dockerflow.fastapi.middleware.summary_logger", logger)
    app = make_app()
    app.add_middleware(MozlogRequestSummaryLogger)
    TestClient(app).get("/users/x")
    assert seen == [(True, 200)]


def test_an_error_page_has_the_id_when_installed(summaries):
    app = make_app()
    install(app)
    client = TestClient(app, raise_server_exceptions=False)
    response = client.get("/fail", headers={"x-request-id": "abc"})
    assert (response.status_code, response.headers["x-request-id"]) == (500, "abc")
    [record] = summaries
    assert (record.levelno, error_in(record)) == (40, "100% broken")
    with pytest.raises(RuntimeError, match="started"):
        install(app)


def test_an_app_is_not_kept_alive():
    app = make_app()
    TestClient(app).get("/__heartbeat__")
    gone = weakref.ref(app)
    del app
    gc.collect()
    assert gone() is None


def test_the_sampler_drops_probes_only():
    sample = traces_sampler(lambda context: 0.25)
    assert sample({"asgi_scope": {"path": "/__heartbeat__"}}) == 0
    assert sample({"asgi_scope": {"path": "/m/__heartbeat__", "root_path": "/m"}}) == 0
    assert sample({"wsgi_environ": {"PATH_INFO": "/__lbheartbeat__/"}}) == 0
    assert sample({"transaction_context": {"name": "/__version__"}}) == 0
    for path in ("/__heartbeat__/ready", "/__heartbeat__/ready/"):
        assert sample({"wsgi_environ": {"PATH_INFO": path}}) == 0
        assert traces_sampler(0.5, path_prefix="/x")({"asgi_scope": {"path": f"/x{path}"}}) == 0
    assert sample({"asgi_scope": {"path": "/"}}) == 0.25
    assert traces_sampler(0.5)({}) == 0.5
    # As with traces_sample_rate, a trace that another service has begun isn't cut.
    for parent in (True, False):
        scope = {"path": "/"}
        assert traces_sampler(0.5)({"parent_sampled": parent, "asgi_scope": scope}) is parent
        assert sample({"parent_sampled": parent, "asgi_scope": scope}) == 0.25
        scope = {"path": "/__heartbeat__"}
        assert traces_sampler(0.5)({"parent_sampled": parent, "asgi_scope": scope}) == 0.0
    assert traces_sampler(0.5)({"parent_sampled": None}) == 0.5


@pytest.mark.parametrize("name", ["installed", "ids"])
def test_a_wrong_setting_of_the_state_fails_at_start(name):
    app = FastAPI()
    if name == "ids":
        app.add_middleware(RequestIdMiddleware)
    else:
        install(app)
    app.state.DOCKERFLOW_CHECK_TIMEOUT = "soon"
    sent = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app({"type": "lifespan", "state": {}}, receive, send))
    [message] = sent
    assert message["type"] == "lifespan.startup.failed"
    assert message["message"].startswith("DOCKERFLOW_CHECK_TIMEOUT must be a number of seconds")
    # Where the server goes on without the lifespan, no request is served by other settings.
    with pytest.raises(ConfigError, match="DOCKERFLOW_CHECK_TIMEOUT must be .*, not 'soon'"):
        asyncio.run(app({"type": "http", "method": "GET", "path": "/"}, receive, send))


def test_an_unknown_setting_of_the_state_is_named_once(caplog):
    for _ in range(2):
        app = make_app()
        app.state.DOCKERFLOW_PATH_PREFIXX = "/x"
        app.state.other = 1
        assert TestClient(app).get("/__lbheartbeat__").status_code == 200
    assert [text for text in caplog.messages if "DOCKERFLOW_" in text] == [
        (
            "DOCKERFLOW_PATH_PREFIXX in app.state is not a setting of Dockerflow: did you mean "
            "DOCKERFLOW_PATH_PREFIX?"
        ),
    ]


def test_groups_of_the_state_and_paths_of_the_app():
    """The router knows no settings when it is included, and may come before the app's routes."""
    checks.register(lambda: None, name="database")
    app = FastAPI()
    app.include_router(router)

    @app.get("/__heartbeat__/{name}")
    def own(name: str) -> str:
        return f"own {name}"

    client = TestClient(app)
    assert client.get("/__heartbeat__/ready").json() == "own ready"
    app.state.DOCKERFLOW_HEARTBEAT_GROUPS = {"ready": ["database"]}
    assert client.get("/__heartbeat__/ready").json()["checks"] == {"database": "ok"}
    assert client.get("/__heartbeat__/other").json() == "own other"
    assert client.post("/__heartbeat__/ready").headers["allow"] == "GET, HEAD"
    assert "/__heartbeat__/ready" not in client.get("/openapi.json").json()["paths"]
    assert app.url_path_for("heartbeat") == "/__heartbeat__"


def test_the_secret_counts_under_another_middleware_of_ours():
    """Which has settings of its own, and has read the request's headers by them."""
    config = Config(heartbeat_details="authorized", heartbeat_secret="s" * 16)
    app, inner = FastAPI(), FastAPI()
    install(app)
    install(inner, config=config)
    app.mount("/in", inner)
    app.mount("/asgi", DockerflowMiddleware(FastAPI(), config=config))
    headers = {"authorization": f"Bearer {'s' * 16}"}
    for path in ("/in/__heartbeat__", "/asgi/__heartbeat__"):
        assert TestClient(app).get(path).json() == {"status": "ok"}
        assert "checks" in TestClient(app).get(path, headers=headers).json()


def test_a_wrong_setting_fails_when_installed(monkeypatch):
    app = FastAPI()
    app.state.DOCKERFLOW_HEARTBEAT_DETAILS = "sometimes"
    with pytest.raises(ConfigError, match="DOCKERFLOW_HEARTBEAT_DETAILS"):
        install(app)
    monkeypatch.setenv("DOCKERFLOW_CHECK_TIMEOUT", "soon")
    with pytest.raises(ConfigError, match="DOCKERFLOW_CHECK_TIMEOUT"):
        RequestIdMiddleware(app)


def test_installed_reads_the_state(tmp_path, monkeypatch):
    monkeypatch.delenv("APP_DIR", raising=False)
    app = FastAPI(debug=True)
    install(app)
    (tmp_path / "version.json").write_text('{"version": "1"}')
    app.state.APP_DIR = str(tmp_path)
    app.state.DOCKERFLOW_HEARTBEAT_DETAILS = "debug"
    app.state.DOCKERFLOW_HEARTBEAT_FAILED_STATUS_CODE = 503
    checks.register(lambda: checks.Error("bad", id="x"), name="bad")
    client = TestClient(app)
    assert client.get("/__version__").json() == {"version": "1"}
    assert client.get("/__lbheartbeat__").content == b""
    response = client.get("/__heartbeat__")
    assert (response.status_code, response.json()["checks"]) == (503, {"bad": "error"})


def test_one_middleware_around_two_apps_takes_the_settings_of_each(summaries):
    apps = {"/one": make_app(), "/two": make_app()}
    apps["/one"].state.DOCKERFLOW_REQUEST_ID_HEADER_NAME = "X-One"

    async def dispatch(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.01)  # all are under way
        await PlainTextResponse("x")(scope, receive, send)

    both = MozlogRequestSummaryLogger(dispatch)

    async def ask(root: str) -> list[Any]:
        sent = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        headers = [(b"x-one", b"1"), (b"x-request-id", b"2")]
        scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
        await both({**scope, "query_string": b"", "app": apps[root]}, receive, send)
        return dict(sent[0]["headers"])

    async def main() -> list[Any]:
        return await asyncio.gather(*(ask(root) for root in [*apps] * 10))

    for index, headers in enumerate(asyncio.run(main())):
        assert headers.get(b"x-request-id" if index % 2 else b"x-one") == b"12"[index % 2 :][:1]
    assert len(summaries) == 20


@pytest.mark.parametrize("kind", ["installed", "middlewares"])
def test_background_tasks_come_after_the_summary(caplog, kind):
    caplog.set_level(logging.INFO)
    app = FastAPI()
    if kind == "installed":
        install(app)
    else:
        app.add_middleware(MozlogRequestSummaryLogger)
        app.add_middleware(RequestIdMiddleware)

    def later() -> None:
        logging.getLogger("later").info("%s", get_request_id())

    @app.get("/")
    def root(tasks: BackgroundTasks) -> str:
        tasks.add_task(later)
        return "x"

    TestClient(app).get("/", headers={"x-request-id": "abc"})
    names = [
        (r.name, r.getMessage()) for r in caplog.records if r.name in ("later", "request.summary")
    ]
    assert [name for name, _ in names] == ["request.summary", "later"]
    assert names[1][1] == "abc"


def test_websockets_and_lifespan_pass_through(summaries):
    events = []

    @asynccontextmanager
    async def lifespan(app: Any) -> Any:
        events.append("up")
        yield
        events.append("down")

    app = FastAPI(lifespan=lifespan)
    install(app)
    app.add_middleware(MozlogRequestSummaryLogger)

    @app.websocket("/ws")
    async def ws(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())

    with TestClient(app) as client, client.websocket_connect("/ws") as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "hello"
    assert events == ["up", "down"]
    assert not summaries


def test_an_exception_handler_of_the_apps_own(summaries):
    app = make_app()
    install(app)

    @app.exception_handler(ValueError)
    def handler(request: Any, error: Any) -> PlainTextResponse:
        return PlainTextResponse("handled", 418)

    response = TestClient(app).get("/fail", headers={"x-request-id": "abc"})
    assert (response.status_code, response.headers["x-request-id"]) == (418, "abc")
    [record] = summaries
    assert (record.levelno, record.code) == (20, 418)


@pytest.mark.parametrize("kind", ["installed", "router"])
def test_error_endpoint(caplog, kind):
    app = FastAPI()
    if kind == "installed":
        install(app, config=Config(error_endpoint=True))
    else:
        app.include_router(router)
        app.state.DOCKERFLOW_ERROR_ENDPOINT = True
    with pytest.raises(RuntimeError, match="The __error__ endpoint was called"):
        TestClient(app).get("/__error__")
    assert "The __error__ endpoint was called" in caplog.text
