"""What apps made for the incumbent's Sanic extension rely on, by name."""

import asyncio
import contextlib
import inspect
import itertools
import logging
import time
import warnings
from types import SimpleNamespace
from unittest import mock

import pytest
from log_lines import error_in

sanic = pytest.importorskip("sanic")
pytest.importorskip("sanic_testing")

from sanic_testing.testing import SanicTestClient  # noqa: E402 - after the skip

from dockerflow import checks, health  # noqa: E402 - after the skip
from dockerflow.logging import request_id_context  # noqa: E402 - after the skip
from dockerflow.sanic import Dockerflow  # noqa: E402 - after the skip
from dockerflow.sanic import checks as sanic_checks  # noqa: E402 - after the skip
from dockerflow.sanic.checks import check_redis_connected  # noqa: E402 - after the skip

pytestmark = pytest.mark.usefixtures("no_checks")

numbers = itertools.count()


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """Undo what sanic-testing does to the class for good."""
    monkeypatch.setattr(sanic.Sanic, "__call__", sanic.Sanic.__call__)
    monkeypatch.setattr(sanic.Sanic, "test_mode", sanic.Sanic.test_mode)


@pytest.fixture
def app():
    app = sanic.Sanic(f"compat{next(numbers)}", configure_logging=False)

    @app.get("/")
    async def index(request):
        return sanic.text(request.ctx.id)

    @app.get("/fail")
    async def fail(request):
        raise ValueError("broken")

    @app.get("/stream")
    async def stream(request):
        response = await request.respond(content_type="text/plain")
        await response.send("one")
        await response.send("two")
        await response.eof()

    return app


@pytest.fixture(params=["asgi", "server"])
def get(request, app, monkeypatch):
    # As sanic-testing has it, Sanic warns of the listener's second argument.
    monkeypatch.setattr(
        SanicTestClient, "_run_request", lambda self, app: self._do_request(app, None)
    )

    def get(path, method="GET", **kwargs):
        if request.param == "server":
            return getattr(app.test_client, method.lower())(path, **kwargs)[1]

        async def ask():
            return (await getattr(app.asgi_client, method.lower())(path, **kwargs))[1]

        return asyncio.run(ask())

    return get


def test_endpoints(app, get, tmp_path):
    Dockerflow(app, version_path=str(tmp_path))
    assert get("/__version__").status == 404
    (tmp_path / "version.json").write_text('{"version": "1"}')
    assert get("/__version__").json == {"version": "1"}
    response = get("/__lbheartbeat__")
    assert (response.status, response.body) == (200, b"")
    assert get("/__heartbeat__/").json == {"status": "ok", "checks": {}, "details": {}}
    assert get("/__heartbeat__", "HEAD").status == 200
    assert get("/__heartbeat__", "POST", content="x").status == 405


def test_the_names_of_the_routes(app):
    Dockerflow(app)
    for name in ("version", "heartbeat", "lbheartbeat"):
        assert app.url_for(f"dockerflow.{name}") == f"/__{name}__"


def test_failing_check(app, get):
    Dockerflow(app)
    app.config["DOCKERFLOW_HEARTBEAT_FAILED_STATUS_CODE"] = 503

    @checks.register
    async def bad():
        return checks.Error("oh", id="tests.E001")

    response = get("/__heartbeat__")
    assert (response.status, response.json["checks"]) == (503, {"bad": "error"})


@pytest.mark.parametrize("is_async", [False, True])
def test_version_callback(app, get, is_async):
    dockerflow = Dockerflow(app)

    async def later(path):
        return {"version": path}

    dockerflow.version_callback(later if is_async else lambda path: {"version": path})
    assert get("/__version__").json == {"version": "."}
    with mock.patch.object(dockerflow, "_version_callback", return_value={"version": "patched"}):
        assert get("/__version__").json == {"version": "patched"}


def test_summary(app, get, summaries):
    Dockerflow(app)
    response = get("/", headers={"X-Request-ID": "r1", "User-Agent": "tests"})
    assert (response.text, response.headers["X-Request-ID"]) == ("r1", "r1")
    [record] = summaries
    assert (record.rid, record.agent, record.code, record.path) == ("r1", "tests", 200, "/")


def test_summaries_of_errors(app, get, summaries):
    Dockerflow(app)
    assert get("/fail").status == 500
    assert get("/missing").status == 404
    failed, missing = summaries
    assert (failed.levelname, error_in(failed), failed.errno) == ("ERROR", "broken", 500)
    assert (missing.levelname, missing.code, missing.errno) == ("INFO", 404, 0)


def test_summary_of_a_stream(app, get, summaries):
    Dockerflow(app)
    response = get("/stream")
    assert (response.text, "X-Request-ID" in response.headers) == ("onetwo", True)
    [record] = summaries
    assert record.code == 200


def test_summary_extra_of_a_subclass(app, get, summaries):
    class Mine(Dockerflow):
        def summary_extra(self, request=None):
            return {**super().summary_extra(request), "tenant": "t1"}

    Mine(app)
    get("/")
    assert summaries[0].tenant == "t1"


def test_summary_extra_of_a_subclass_as_flasks(app, get, summaries):
    class Mine(Dockerflow):
        def summary_extra(self):
            extra = super().summary_extra()
            extra["tenant"] = "t1"
            extra["errno"] = 17
            del extra["agent"]
            return extra

    Mine(app)
    get("/", headers={"Accept-Language": "de"})
    [record] = summaries
    assert (record.tenant, record.errno, record.code, record.lang) == ("t1", 17, 200, "de")
    assert not hasattr(record, "agent")


@pytest.mark.parametrize("own", [{}, {"t": "soon", "code": 1, "uid": 0}])
def test_summary_extra_without_our_fields(app, get, summaries, own):
    class Mine(Dockerflow):
        def summary_extra(self, request):
            return {"tenant": "t1", **own}

    Mine(app)
    get("/")
    [record] = summaries
    ours = {"agent", "errno", "lang", "method", "path", "rid", "uid"}
    assert ours & vars(record).keys() == own.keys() & {"uid"}
    assert getattr(record, "uid", 0) == 0
    assert (record.tenant, record.code, type(record.t)) == ("t1", 200, int)


def test_a_failing_summary_extra_loses_no_summary(app, get, summaries, caplog):
    class Mine(Dockerflow):
        def summary_extra(self):
            raise RuntimeError("no fields")

    Mine(app)
    assert get("/").status == 200
    assert [record.code for record in summaries] == [200]
    assert "no fields" in caplog.text


def test_own_paths_come_before_the_middlewares(app, get):
    Dockerflow(app)

    @app.on_request
    async def refuse(request):
        return sanic.text("no", 403)

    assert get("/").status == 403
    assert get("/__lbheartbeat__").status == 200


@pytest.mark.parametrize("replies", [True, False])
def test_redis_check_of_other_clients(replies):
    """Wrappers whose methods return awaitables, and pools that are awaited and entered."""

    async def reply():
        return replies

    class Connection(contextlib.AbstractContextManager):
        ping = staticmethod(lambda: reply())
        __exit__ = lambda *_: None  # noqa: E731

    class Pool(Connection):
        ping = property()
        __enter__ = lambda _: Connection()  # noqa: E731

    async def make(pool):
        return pool

    for pool in (Pool(), Connection()):
        found = asyncio.run(awaited(check_redis_connected, lambda pool=pool: make(pool)))
        assert [message.id for message in found] == (
            [] if replies else [health.ERROR_REDIS_PING_FAILED]
        )


async def awaited(check, make_connection):
    return await check(SimpleNamespace(conn=make_connection()))


def test_redis_check(app, get):
    async def ping():
        return False

    Dockerflow(app, redis=SimpleNamespace(ping=ping))
    response = get("/__heartbeat__")
    assert response.json["checks"] == {"check_redis_connected": "error"}
    messages = response.json["details"]["check_redis_connected"]["messages"]
    assert list(messages) == [health.ERROR_REDIS_PING_FAILED]
    assert callable(check_redis_connected)


def test_deprecated_names(app):
    dockerflow = Dockerflow()
    dockerflow.init_app(app)
    with pytest.warns(DeprecationWarning, match=r"checks\.register"):
        dockerflow.check(lambda: None, name="one")
    with pytest.warns(DeprecationWarning, match="register_partial"):
        dockerflow.init_check(check_redis_connected, None)
    with pytest.warns(DeprecationWarning, match="get_checks"):
        assert list(dockerflow.checks) == ["one", "check_redis_connected"]


def test_signatures():
    parameters = inspect.signature(Dockerflow).parameters
    known = {name: p.default for name, p in parameters.items() if name != "registry"}
    assert known == {"app": None, "redis": None, "silenced_checks": None, "version_path": "."}
    assert list(known) == ["app", "redis", "silenced_checks", "version_path"]
    assert list(inspect.signature(check_redis_connected).parameters) == ["redis_client"]


def test_positional_arguments(app, get, tmp_path):
    async def ping():
        return False

    (tmp_path / "version.json").write_text('{"version": "1"}')
    silenced = [health.ERROR_REDIS_PING_FAILED]
    dockerflow = Dockerflow(app, SimpleNamespace(ping=ping), silenced, str(tmp_path))
    assert (dockerflow.silenced_checks, dockerflow.version_path) == (silenced, str(tmp_path))
    assert get("/__version__").json == {"version": "1"}
    assert get("/__heartbeat__").json["checks"] == {"check_redis_connected": "ok"}


def test_request_context(app, get):
    Dockerflow(app)

    @app.get("/ctx")
    async def ctx(request):
        assert 0 <= time.time() - request.ctx.start_timestamp < 60
        assert request.ctx.id == request_id_context.get()
        return sanic.text(request.ctx.id)

    response = get("/ctx", headers={"X-Request-ID": "r1"})
    assert (response.text, response.headers["X-Request-ID"]) == ("r1", "r1")
    assert get("/ctx").text not in ("", get("/ctx").text)


def test_summary_logger_may_be_another(app, get, caplog):
    caplog.set_level(logging.INFO)
    Dockerflow(app).summary_logger = logging.getLogger("another")
    get("/")
    names = {record.name for record in caplog.records}
    assert "another" in names
    assert "request.summary" not in names


def test_settings_are_read_when_used(app, get, summaries):
    Dockerflow(app)
    app.config["DOCKERFLOW_REQUEST_ID_HEADER_NAME"] = "X-Trace"
    app.config["DOCKERFLOW_SUMMARY_LOG_QUERYSTRING"] = True
    get("/?a=b", headers={"x-trace": "t1"})
    [record] = summaries
    assert (record.rid, record.querystring, record.levelno) == ("t1", "a=b", logging.INFO)


@pytest.mark.parametrize("name", ["dockerflow.sanic", "of.the.app"])
def test_the_error_endpoint(app, get, caplog, name):
    app.config["DOCKERFLOW_ERROR_ENDPOINT"] = True
    dockerflow = Dockerflow(app)
    assert dockerflow.logger.name == "dockerflow.sanic"
    dockerflow.logger = logging.getLogger(name)
    assert get("/__error__").status == 500
    assert (name, logging.ERROR, "The __error__ endpoint was called") in caplog.record_tuples


@pytest.mark.parametrize("name", ["dockerflow.sanic", "of.the.app"])
def test_the_extensions_logger(app, get, caplog, name):
    class Mine(Dockerflow):
        def summary_extra(self):
            raise RuntimeError("no fields")

    Mine(app).logger = logging.getLogger(name)
    get("/")
    assert {record.name for record in caplog.records if record.exc_info} == {name}


def test_redis_check_by_hand():
    redis = pytest.importorskip("redis")
    for error, id_ in (
        (redis.ConnectionError("x"), health.ERROR_CANNOT_CONNECT_REDIS),
        (redis.RedisError("x"), health.ERROR_REDIS_EXCEPTION),
    ):
        # The client itself, and an extension that has it.
        client = SimpleNamespace(ping=mock.AsyncMock(side_effect=error))
        for given in (client, SimpleNamespace(conn=client)):
            assert [m.id for m in asyncio.run(check_redis_connected(given))] == [id_]


def test_every_name_of_the_checks():
    for name in (
        "CheckMessage", "Debug", "Info", "Warning", "Error", "Critical", "DEBUG", "INFO",
        "WARNING", "ERROR", "CRITICAL", "STATUSES", "level_to_text",
    ):  # fmt: skip
        assert getattr(checks, name) is getattr(sanic_checks, name)


def test_deprecated_names_warn_once_per_place(app):
    dockerflow = Dockerflow(app)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for number in range(3):
            dockerflow.check(lambda: None, name=str(number))
            dockerflow.init_check(check_redis_connected, number)
            assert dockerflow.checks
    assert [warning.category for warning in caught] == [DeprecationWarning] * 3
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize("where", ["argument", "attribute", "setting"])
def test_a_list_of_silenced_checks_changed_in_place(app, get, where):
    silenced = ["tests.E000"]
    if where == "setting":
        app.config["DOCKERFLOW_SILENCED_CHECKS"] = silenced
    dockerflow = Dockerflow(app, silenced_checks=silenced if where == "argument" else None)
    if where == "attribute":
        silenced = dockerflow.silenced_checks
    checks.register(lambda: checks.Error("oh", id="tests.E001"), name="bad")
    assert get("/__heartbeat__").status == 500
    silenced.append("tests.E001")
    assert get("/__heartbeat__").status == 200


class Overriding(Dockerflow):
    """The middlewares and views that a subclass of the incumbent's extension can replace."""

    def __init__(self, app):
        self.called = []
        super().__init__(app)

    def _request_middleware(self, request):
        super()._request_middleware(request)
        self.called.append(("request", request.ctx.id))

    def _response_middleware(self, request, response):
        super()._response_middleware(request, response)
        self.called.append(("response", response.status))

    def _exception_handler(self, request, exception):
        super()._exception_handler(request, exception)
        self.called.append(("exception", str(exception)))

    async def _heartbeat_view(self, request):
        response = await super()._heartbeat_view(request)
        response.headers["X-Mine"] = "1"
        return response

    async def _lbheartbeat_view(self, request):
        return sanic.text("busy", 429)

    def _version_view(self, request):
        return sanic.json({"version": "mine"})


def test_overridden_middlewares_and_views(app, get, summaries):
    mine = Overriding(app)
    assert get("/", headers={"X-Request-ID": "r1"}).status == 200
    assert get("/fail", headers={"X-Request-ID": "r2"}).status == 500
    assert mine.called == [
        ("request", "r1"), ("response", 200),
        ("request", "r2"), ("exception", "broken"), ("response", 500),
    ]  # fmt: skip
    heartbeat = get("/__heartbeat__")
    assert (heartbeat.json["status"], heartbeat.headers["X-Mine"]) == ("ok", "1")
    assert get("/__lbheartbeat__").status == 429
    assert get("/__version__").json == {"version": "mine"}
    assert [record.code for record in summaries] == [200, 500, 200, 429, 200]


def test_a_patched_extract_request_id(app, get, summaries):
    Dockerflow(app)

    def own(request):
        request.ctx.id = f"mine {request.path}"

    with mock.patch("dockerflow.sanic.app.extract_request_id", own):
        assert get("/").text == "mine /"
        assert get("/__lbheartbeat__").status == 200
    assert [record.code for record in summaries] == [200, 200]


def test_middlewares_called_by_hand_log_nothing(app, summaries):
    dockerflow = Dockerflow(app)
    request = sanic.Request(b"/x", {"x-request-id": "r1"}, "1.1", "GET", mock.Mock(), app)
    dockerflow._request_middleware(request)
    assert request.ctx.id == "r1"
    response = sanic.text("x")
    assert dockerflow._response_middleware(request, response) is None
    assert response.headers["X-Request-ID"] == "r1"
    assert not summaries
