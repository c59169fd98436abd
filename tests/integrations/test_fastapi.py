"""What only FastAPI and Starlette have: a router, state, OpenAPI, error pages."""

import gc
import logging
import warnings
import weakref
from typing import Any

import pytest

pytest.importorskip("fastapi")

from fastapi import FastAPI

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

from dockerflow import checks
from dockerflow.fastapi import install, make_router, router, views
from dockerflow.fastapi.middleware import MozlogRequestSummaryLogger, RequestIdMiddleware
from dockerflow.sentry import traces_sampler


@pytest.fixture(autouse=True)
def _checks():
    checks.clear_checks()
    yield
    checks.clear_checks()


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


def records(caplog: Any, name: str = "request.summary") -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == name]


@pytest.mark.parametrize("slash", ["", "/"])
def test_endpoints(slash):
    client = TestClient(make_app())
    assert client.get(f"/__lbheartbeat__{slash}").json() == {"status": "ok"}
    response = client.get(f"/__heartbeat__{slash}")
    assert response.json() == {"status": "ok", "checks": {}, "details": {}}
    assert client.head(f"/__heartbeat__{slash}").content == b""
    assert client.post(f"/__heartbeat__{slash}").headers["allow"] == "GET, HEAD"
    assert client.get(f"/__error__{slash}").status_code == 404


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
def test_middlewares_in_either_order(caplog, ids_first):
    caplog.set_level(logging.INFO, "request.summary")
    app = make_app()
    classes = [RequestIdMiddleware, MozlogRequestSummaryLogger]
    for cls in classes if ids_first else reversed(classes):
        app.add_middleware(cls)
    response = TestClient(app).get("/users/jane", headers={"x-request-id": "abc"})
    [record] = records(caplog)
    assert (record.rid, record.code, record.path) == ("abc", 200, "/users/jane")
    assert response.headers.get_list("x-request-id") == ["abc"]


def test_a_logger_of_ones_own(caplog):
    caplog.set_level(logging.INFO)
    app = make_app()
    app.add_middleware(MozlogRequestSummaryLogger, logger=logging.getLogger("own"))
    app.state.DOCKERFLOW_SUMMARY_LOG_PROBES = False
    client = TestClient(app)
    client.get("/users/x")
    client.get("/__heartbeat__")
    assert [record.path for record in records(caplog, "own")] == ["/users/x"]
    assert not records(caplog)


def test_an_error_page_has_the_id_when_installed(caplog):
    caplog.set_level(logging.INFO, "request.summary")
    app = make_app()
    install(app)
    client = TestClient(app, raise_server_exceptions=False)
    response = client.get("/fail", headers={"x-request-id": "abc"})
    assert (response.status_code, response.headers["x-request-id"]) == (500, "abc")
    [record] = records(caplog)
    assert (record.levelno, record.getMessage()) == (40, "100% broken")
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
    assert sample({"asgi_scope": {"path": "/"}}) == 0.25
    assert traces_sampler(0.5)({}) == 0.5
