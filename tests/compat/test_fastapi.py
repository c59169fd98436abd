"""What existing FastAPI apps import, set and patch."""

import asyncio
import inspect
import io
import json
import logging
from unittest import mock

import pytest

pytest.importorskip("fastapi")

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.testclient import TestClient

import dockerflow.fastapi
from dockerflow import checks
from dockerflow.fastapi import router, views
from dockerflow.fastapi.middleware import MozlogRequestSummaryLogger, RequestIdMiddleware
from dockerflow.logging import TextFormatter, request_id_context

pytestmark = pytest.mark.usefixtures("no_checks")


@pytest.fixture
def app():
    app = FastAPI()
    app.include_router(router)
    app.add_middleware(MozlogRequestSummaryLogger)
    app.add_middleware(RequestIdMiddleware)

    @app.get("/rid")
    async def rid():
        return request_id_context.get()

    @app.get("/fail")
    def fail():
        raise ValueError("100% broken")

    return app


@pytest.fixture
def client(app):
    return TestClient(app, raise_server_exceptions=False)


def test_names():
    assert len(router.routes) == 21
    for name in ("get_version", "heartbeat", "version", "lbheartbeat", "error"):
        assert callable(getattr(views, name))
        assert name == "get_version" or callable(getattr(dockerflow.fastapi, name))
    parameters = inspect.signature(MozlogRequestSummaryLogger).parameters
    assert list(parameters) == ["app", "logger"]
    assert parameters["logger"].default is None
    assert list(inspect.signature(RequestIdMiddleware).parameters) == ["app"]
    assert not hasattr(MozlogRequestSummaryLogger, "_format")
    assert not hasattr(MozlogRequestSummaryLogger, "_log")


def test_lbheartbeat(client):
    response = client.get("/__lbheartbeat__")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_a_heartbeat_without_checks(client):
    response = client.get("/__heartbeat__")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "checks": {}, "details": {}}


@pytest.mark.parametrize(("status", "code"), [(None, 500), (503, 503)])
def test_a_heartbeat_that_fails(app, client, status, code):
    if status:
        app.state.DOCKERFLOW_HEARTBEAT_FAILED_STATUS_CODE = status

    @checks.register
    def failing():
        return [checks.Error("some error", id="tests.checks.E001")]

    @checks.register(name="other")
    async def warns():
        return [checks.Warning("some warning", id="tests.checks.W001")]

    response = client.get("/__heartbeat__")
    assert response.status_code == code
    assert response.json() == {
        "status": "error",
        "checks": {"failing": "error", "other": "warning"},
        "details": {
            "failing": {
                "status": "error",
                "level": 40,
                "messages": {"tests.checks.E001": "some error"},
            },
            "other": {
                "status": "warning",
                "level": 30,
                "messages": {"tests.checks.W001": "some warning"},
            },
        },
    }


def test_silenced_checks(app, client):
    app.state.DOCKERFLOW_SILENCED_CHECKS = ["x"]
    checks.register(lambda: [checks.Error("bad", id="x")], name="bad")
    checks.register(lambda: [checks.Warning("bad", id="y")], name="other")
    assert client.get("/__heartbeat__").json()["status"] == "warning"
    app.state.DOCKERFLOW_SILENCED_CHECKS.append("y")
    assert client.get("/__heartbeat__").json()["status"] == "ok"


def test_version_is_looked_up_when_asked_for(app, client):
    with mock.patch("dockerflow.fastapi.views.get_version") as get_version:
        get_version.return_value = {"version": "1"}
        assert client.get("/__version__").json() == {"version": "1"}
        get_version.assert_called_once_with("/app")
        get_version.reset_mock()
        app.state.APP_DIR = "/somewhere"
        client.get("/__version__")
        get_version.assert_called_once_with("/somewhere")
        get_version.return_value = None
        assert client.get("/__version__").status_code == 404
        get_version.side_effect = ValueError("x")
        assert client.get("/__version__").status_code == 500


def test_another_get_version_is_called_with_the_apps_folder(app, client, monkeypatch):
    app.state.APP_DIR = "/somewhere"
    monkeypatch.setattr("dockerflow.version.get_version", lambda root: {"root": root})
    assert client.get("/__version__").json() == {"root": "/somewhere"}


def test_the_schema(app):
    operations = {
        (path, method): operation
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/__")
    }
    assert operations == {
        (f"/__{name}__", "get"): {
            "summary": name.title(),
            "operationId": f"{name}___{name}___get",
            "responses": {
                "200": {
                    "description": "Successful Response",
                    "content": {"application/json": {"schema": {}}},
                }
            },
        }
        for name in ("version", "heartbeat", "lbheartbeat")
    }


@pytest.mark.parametrize("name", ["version", "heartbeat", "lbheartbeat", "error"])
def test_views_in_routes_of_the_app(client, app, name):
    app.state.DOCKERFLOW_ERROR_ENDPOINT = True
    app.add_api_route(f"/own/{name}", getattr(views, name))
    assert client.get(f"/own/{name}").status_code == client.get(f"/__{name}__").status_code
    assert app.url_path_for(name) == f"/__{name}__"


def test_views_by_hand_return_responses(app):
    scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "app": app}
    response = asyncio.run(views.heartbeat(Request(scope)))
    assert json.loads(response.body)["status"] == "ok"


def test_version_by_the_environment(client, monkeypatch, tmp_path):
    (tmp_path / "version.json").write_text('{"version": "2"}')
    monkeypatch.setenv("APP_DIR", str(tmp_path))
    response = client.get("/__version__")
    assert (response.status_code, response.json()) == (200, {"version": "2"})
    assert response.headers["content-type"] == "application/json"


def test_the_fields_of_a_summary(client, summaries):
    headers = {"user-agent": "tests/1", "accept-language": "tlh", "x-request-id": "abc"}
    client.get("/rid?x=y", headers=headers)
    [record] = summaries
    fields = {"agent": "tests/1", "code": 200, "errno": 0, "lang": "tlh", "method": "GET"}
    fields |= {"path": "/rid", "rid": "abc"}
    assert {name: getattr(record, name) for name in fields} == fields
    assert isinstance(record.t, int)
    assert record.levelno == logging.INFO


def test_an_exception_is_an_error(client, summaries):
    client.get("/fail")
    [record] = summaries
    assert (record.levelno, record.code, record.errno) == (logging.ERROR, 500, 500)


def test_querystring_by_setting(app, client, summaries):
    app.state.DOCKERFLOW_SUMMARY_LOG_QUERYSTRING = True
    client.get("/rid?x=%E5%8D%9A")
    assert summaries[0].querystring == "x=博"


@pytest.mark.parametrize("header", ["X-Request-ID", "X-Cloud-Trace-Context", "x-own"])
def test_the_headers_name(app, client, header):
    app.state.DOCKERFLOW_REQUEST_ID_HEADER_NAME = header
    assert client.get("/rid", headers={header: "abc"}).json() == "abc"
    assert request_id_context.get() is None


@pytest.mark.parametrize("order", [[0, 1], [1, 0], [1]])
def test_the_middlewares_in_any_order(order, summaries):
    app = FastAPI()
    for index in order:
        app.add_middleware([RequestIdMiddleware, MozlogRequestSummaryLogger][index])
    TestClient(app).get("/nothing", headers={"x-request-id": "abc"})
    [record] = summaries
    assert (record.rid, record.code) == ("abc", 404)


@pytest.mark.parametrize("ids_first", [False, True])
def test_a_logger_of_ones_own_also_for_exceptions(caplog, ids_first, summaries):
    caplog.set_level(logging.INFO)
    app = FastAPI()

    @app.get("/fail")
    def fail():
        raise ValueError("broken")

    classes = [(RequestIdMiddleware, {}), (MozlogRequestSummaryLogger, {"logger": OWN})]
    for cls, options in classes if ids_first else reversed(classes):
        app.add_middleware(cls, **options)
    TestClient(app, raise_server_exceptions=False).get("/fail")
    assert not summaries
    [record] = [record for record in caplog.records if record.name == OWN.name]
    assert record.levelno == logging.ERROR


OWN = logging.getLogger("compat.fastapi.own")


def test_the_logger_may_be_replaced(caplog, summaries):
    caplog.set_level(logging.INFO)

    class Mine(MozlogRequestSummaryLogger):
        async def __call__(self, scope, receive, send):
            self.logger = OWN
            if scope["path"] != "/quiet":
                await super().__call__(scope, receive, send)
            else:
                await self.app(scope, receive, send)

    app = FastAPI()
    app.add_middleware(Mine)
    assert MozlogRequestSummaryLogger(app).logger.name == "request.summary"
    for path in ("/quiet", "/x"):
        TestClient(app).get(path)
    assert [record.path for record in caplog.records if record.name == OWN.name] == ["/x"]
    assert not summaries


@pytest.fixture
def unconfigured(monkeypatch):
    """Logging as it is in a process that nobody has configured."""
    monkeypatch.setattr(logging.root, "handlers", [])
    summary = logging.getLogger("request.summary")
    monkeypatch.setattr(summary, "handlers", [])
    monkeypatch.setattr(summary, "level", logging.NOTSET)
    yield summary
    assert logging.root.level == logging.WARNING


def test_summaries_are_printed_where_nobody_configured_logging(app, client, unconfigured, capsys):
    logging.root.handlers.clear()  # what pytest has there for the call
    TestClient(app)  # another instance adds no other line
    client.get("/rid", headers={"x-request-id": "abc"})
    [line] = capsys.readouterr().out.splitlines()
    content = json.loads(line)
    assert (content["Type"], content["Fields"]["rid"]) == ("request.summary", "abc")


@pytest.mark.parametrize("is_printed", [True, False])
def test_summaries_are_printed_beside_a_handler_of_text(client, unconfigured, capsys, is_printed):
    """Another format of the root logger doesn't replace mozlog, but ours does."""
    formatter = logging.Formatter("%(message)s") if is_printed else TextFormatter()
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(formatter)
    logging.root.handlers[:] = [handler]
    client.get("/rid", headers={"x-request-id": "abc"})
    client.get("/rid", headers={"x-request-id": "def"})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["Fields"]["rid"] for line in lines] == (["abc", "def"] if is_printed else [])
    assert len(handler.stream.getvalue().splitlines()) == 2


def test_what_is_configured_counts(client, unconfigured, monkeypatch, capsys):
    seen = []
    handler = logging.Handler()
    handler.emit = seen.append
    unconfigured.addHandler(handler)
    client.get("/rid")
    assert (len(seen), capsys.readouterr().out) == (1, "")
    monkeypatch.setattr(unconfigured, "level", logging.ERROR)
    logging.root.manager._clear_cache()
    client.get("/rid")
    assert len(seen) == 1


def test_the_middlewares_without_an_application_around(summaries):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    wrapped = RequestIdMiddleware(MozlogRequestSummaryLogger(app))
    assert TestClient(wrapped).get("/", headers={"x-request-id": "abc"}).status_code == 204
    [record] = summaries
    assert (record.rid, record.code) == ("abc", 204)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path", ["/__heartbeat__", "/__heartbeat__/", "/__version__/", "/__error__/"]
)
def test_dependencies_count_for_each_form_of_a_path(method, path):
    def deny():
        raise HTTPException(401)

    for app in (FastAPI(), FastAPI(dependencies=[Depends(deny)])):
        app.include_router(router, dependencies=[Depends(deny)])
        assert TestClient(app).request(method, path).status_code == 401
