"""What existing Django apps import, set and override."""

import importlib
import inspect
import logging
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

pytest.importorskip("django")
sys.path.insert(0, str(Path(__file__).parents[1]))
import apps.django_app  # noqa: F401, I001  # configures Django

import django
from django.core import checks as system_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.utils import ConnectionHandler, DatabaseError, OperationalError
from django.http import Http404, HttpResponse
from django.test import Client, RequestFactory, override_settings

from dockerflow import checks as dockerflow_checks
from dockerflow import health
from dockerflow.django import checks, signals, views
from dockerflow.django.middleware import DockerflowMiddleware
from dockerflow.logging import request_id_context

django.setup()

MIDDLEWARE = ["dockerflow.django.middleware.DockerflowMiddleware"]
HERE = "compat_django_app"


def error(app_configs, **kwargs):
    return [system_checks.Error("some error", id="tests.checks.E001")]


def warning(app_configs, **kwargs):
    return [system_checks.Warning("some warning", id="tests.checks.W001")]


def by_name(*, app_configs, **kwargs):
    return [system_checks.Info("by name", id="tests.checks.I001")]


def version(root):
    return {"root": root}


def no_version(root):
    return None


@pytest.fixture(autouse=True)
def app(monkeypatch, no_checks):
    monkeypatch.setitem(sys.modules, HERE, sys.modules[__name__])
    with override_settings(MIDDLEWARE=MIDDLEWARE, DOCKERFLOW_CHECKS=[]):
        yield


@pytest.fixture
def middleware():
    return DockerflowMiddleware(lambda request: HttpResponse("hello"))


def request(path="/", **headers):
    headers = {"HTTP_USER_AGENT": "dockerflow/tests", "HTTP_ACCEPT_LANGUAGE": "tlh", **headers}
    return RequestFactory().get(path, **headers)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("middleware", ["DockerflowMiddleware"]),
        (
            "checks",
            [
                "check_database_connected",
                "check_migrations_applied",
                "check_redis_connected",
                "register",
            ],
        ),
        ("signals", ["heartbeat_passed", "heartbeat_failed"]),
        ("views", ["version", "heartbeat", "lbheartbeat"]),
    ],
)
def test_names(module, names):
    found = importlib.import_module(f"dockerflow.django.{module}")
    assert all(hasattr(found, name) for name in names)


def test_the_middlewares_hooks():
    signatures = {
        "process_request": ["self", "request"],
        "process_response": ["self", "request", "response"],
        "process_exception": ["self", "request", "exception"],
        "_build_extra_meta": ["self", "request"],
    }
    for name, parameters in signatures.items():
        assert list(inspect.signature(getattr(DockerflowMiddleware, name)).parameters) == parameters
    assert [view for _, view in DockerflowMiddleware.viewpatterns] == [
        views.version,
        views.heartbeat,
        views.lbheartbeat,
    ]


# --- The middleware's hooks, called one by one.


def test_process_request_of_an_ordinary_path(middleware):
    asked = request(HTTP_X_REQUEST_ID="abc")
    assert middleware.process_request(asked) is None
    assert asked._id == request_id_context.get() == "abc"
    assert isinstance(asked._start_timestamp, float)


@pytest.mark.parametrize("prefix", ["", "/ops"])
def test_a_subclass_has_patterns_of_its_own(prefix):
    class Mine(DockerflowMiddleware):
        viewpatterns = [
            (re.compile(r"/alive\Z"), views.lbheartbeat),
            *DockerflowMiddleware.viewpatterns[:1],
        ]

    with override_settings(DOCKERFLOW_PATH_PREFIX=prefix):
        middleware = Mine(lambda request: HttpResponse("hello"))
        assert middleware.process_request(request(f"{prefix}/alive")).status_code == 200
        assert middleware.process_request(request(f"{prefix}/__version__")) is not None
        assert middleware.process_request(request(f"{prefix}/__lbheartbeat__")) is None
        assert middleware.process_request(request("/x/alive")) is None


def test_process_request_makes_an_id(middleware):
    asked = request()
    middleware.process_request(asked)
    assert asked._id == request_id_context.get()
    assert len(asked._id) == 36


@pytest.mark.parametrize("header", ["X-Request-ID", "x-cloud-trace-context", "X-Own"])
def test_the_headers_name(header):
    with override_settings(DOCKERFLOW_REQUEST_ID_HEADER_NAME=header):
        asked = request(**{"HTTP_" + header.upper().replace("-", "_"): "tracing-id"})
        DockerflowMiddleware(lambda request: HttpResponse()).process_request(asked)
    assert asked._id == "tracing-id"


@pytest.mark.parametrize("path", ["/__version__", "/__heartbeat__", "/__lbheartbeat__"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_process_request_answers_an_endpoint(middleware, path, slash):
    response = middleware.process_request(request(path + slash))
    assert response.status_code == (404 if "version" in path else 200)


def test_process_response_is_one_summary(middleware, summaries):
    asked = request(HTTP_X_REQUEST_ID="abc")
    response = HttpResponse("hello")
    middleware.process_request(asked)
    assert middleware.process_response(asked, response) is response
    [record] = summaries
    assert record.levelno == logging.INFO
    fields = {"agent": "dockerflow/tests", "code": 200, "errno": 0, "lang": "tlh"}
    fields |= {"method": "GET", "path": "/", "rid": "abc", "uid": ""}
    assert {name: getattr(record, name) for name in fields} == fields
    assert isinstance(record.t, int)
    assert not hasattr(record, "querystring")


def test_process_response_alone(middleware, summaries):
    assert middleware.process_response(request(), HttpResponse()).status_code == 200
    [record] = summaries
    assert record.code == 200


@pytest.mark.parametrize("and_more", [False, True])
def test_process_exception_is_one_error(middleware, summaries, and_more):
    asked = request(HTTP_X_REQUEST_ID="abc")
    middleware.process_request(asked)
    assert middleware.process_exception(asked, ValueError("something went wrong")) is None
    if and_more:
        middleware.process_response(asked, HttpResponse(status=500))
    [record] = summaries
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "something went wrong")
    assert (record.errno, record.code, record.rid, record.uid) == (500, 500, "abc", "")


def test_process_exception_of_a_404_is_none(middleware, summaries):
    asked = request()
    middleware.process_request(asked)
    middleware.process_exception(asked, Http404())
    assert not summaries
    middleware.process_response(asked, HttpResponse(status=404))
    assert [record.levelno for record in summaries] == [logging.INFO]


def test_querystring_by_setting(summaries):
    with override_settings(DOCKERFLOW_SUMMARY_LOG_QUERYSTRING=True):
        middleware = DockerflowMiddleware(lambda request: HttpResponse())
        asked = request("/?x=%E5%8D%9A")
        middleware.process_request(asked)
        assert middleware._build_extra_meta(asked)["querystring"] == "x=博"
        middleware.process_response(asked, HttpResponse())
    [record] = summaries
    assert record.querystring == "x=博"


def test_build_extra_meta(middleware):
    asked = request("/path", HTTP_X_REQUEST_ID="abc")
    middleware.process_request(asked)
    meta = middleware._build_extra_meta(asked)
    assert isinstance(meta.pop("t"), int)
    assert meta == {
        "agent": "dockerflow/tests",
        "errno": 0,
        "lang": "tlh",
        "method": "GET",
        "path": "/path",
        "rid": "abc",
        "uid": "",
    }


@pytest.mark.parametrize(("is_authenticated", "uid"), [(True, "jane"), (False, "")])
def test_the_users_name(middleware, summaries, is_authenticated, uid):
    asked = request()
    middleware.process_request(asked)
    asked.user = SimpleNamespace(is_authenticated=is_authenticated, get_username=lambda: "jane")
    assert middleware._build_extra_meta(asked)["uid"] == uid
    middleware.process_response(asked, HttpResponse())
    [record] = summaries
    assert record.uid == uid


def test_what_a_subclass_makes_of_the_fields_counts(summaries):
    class Own(DockerflowMiddleware):
        def _build_extra_meta(self, request):
            meta = super()._build_extra_meta(request)
            del meta["lang"]
            return {**meta, "agent": "hidden", "team": "blue", "errno": 7, "code": 1}

    Own(lambda request: HttpResponse())(request())
    [record] = summaries
    assert (record.agent, record.team, record.errno, record.code) == ("hidden", "blue", 7, 200)
    assert not hasattr(record, "lang")


def test_fields_that_fail_break_nothing(middleware, summaries, caplog):
    with mock.patch.object(middleware, "_build_extra_meta", side_effect=KeyError("x")):
        assert middleware(request()).status_code == 200
    assert len(summaries) == 1
    assert [r.name for r in caplog.records if r.levelno == logging.ERROR] == ["dockerflow.django"]


# --- The checks.


def test_database_connected():
    # apps.django_app has no database: one of its own, as the others may replace it.
    with SQLite():
        assert checks.check_database_connected([]) == []


@pytest.mark.parametrize(
    ("exception", "id_"),
    [
        (OperationalError, health.ERROR_CANNOT_CONNECT_DATABASE),
        (ImproperlyConfigured, health.ERROR_MISCONFIGURED_DATABASE),
        (DatabaseError, health.ERROR_UNUSABLE_DATABASE),
    ],
)
def test_database_that_raises(exception, id_):
    with SQLite(), mock.patch("django.db.connection.ensure_connection", side_effect=exception("x")):
        [message] = checks.check_database_connected([])
    assert message.id == id_


def test_unusable_database():
    with SQLite(), mock.patch("django.db.connection.is_usable", return_value=False):
        [message] = checks.check_database_connected([])
    assert message.id == health.ERROR_UNUSABLE_DATABASE


@pytest.mark.parametrize(
    ("exception", "id_"),
    [
        (OperationalError, health.ERROR_CANNOT_CONNECT_DATABASE),
        (ImproperlyConfigured, health.ERROR_MISCONFIGURED_DATABASE),
    ],
)
def test_a_replaced_connection(exception, id_):
    with mock.patch("django.db.connection") as connection:
        connection.ensure_connection.side_effect = exception("x")
        [message] = checks.check_database_connected(app_configs=None)
    assert message.id == id_


LOADER = "django.db.migrations.loader.MigrationLoader"


@pytest.mark.parametrize("exception", [ImproperlyConfigured, DatabaseError, OperationalError])
@pytest.mark.parametrize("method", ["__init__", "build_graph", "load_disk"])
def test_migrations_that_cannot_be_known(exception, method):
    with SQLite(), mock.patch(f"{LOADER}.{method}", side_effect=exception("x")):
        [message] = checks.check_migrations_applied([])
    assert message.id == health.INFO_CANT_CHECK_MIGRATIONS


@pytest.mark.parametrize(
    ("applied", "ids"), [([], [health.WARNING_UNAPPLIED_MIGRATION]), ("x", [])]
)
def test_migrations(applied, ids):
    key = ("app", "0001_initial")
    with mock.patch(LOADER) as make:
        make.return_value.graph.nodes = {key: None}
        make.return_value.applied_migrations = {key: None} if applied else {}
        make.return_value.migrated_apps = {"app"}
        assert [message.id for message in checks.check_migrations_applied([])] == ids


def redis_module(**options):
    get = mock.Mock(**options)
    return get, mock.patch.dict(
        sys.modules, {"django_redis": SimpleNamespace(get_redis_connection=get)}
    )


@pytest.mark.parametrize("answer", [True, False])
def test_redis(answer):
    get, patched = redis_module()
    get.return_value.ping.return_value = answer
    with patched:
        ids = [message.id for message in checks.check_redis_connected([])]
    assert ids == ([] if answer else [health.ERROR_REDIS_PING_FAILED])


def test_redis_that_cannot_connect():
    import redis

    for exception in (redis.ConnectionError, redis.exceptions.BusyLoadingError):
        get, patched = redis_module()
        get.return_value.ping.side_effect = exception("x")
        with patched:
            [message] = checks.check_redis_connected([])
        assert message.id == health.ERROR_CANNOT_CONNECT_REDIS
        get, patched = redis_module(side_effect=exception("x"))
        with patched:
            [message] = checks.check_redis_connected([])
        assert message.id == health.ERROR_CANNOT_CONNECT_REDIS


@pytest.mark.parametrize("exception", [NotImplementedError, ImproperlyConfigured])
def test_misconfigured_redis(exception):
    _, patched = redis_module(side_effect=exception("x"))
    with patched:
        [message] = checks.check_redis_connected([])
    assert message.id == health.ERROR_MISCONFIGURED_REDIS


def test_redis_without_its_client():
    with mock.patch.dict(sys.modules, {"django_redis": None}):
        [message] = checks.check_redis_connected([])
    assert message.id == health.ERROR_MISSING_REDIS_CLIENT


class SQLite:
    """The default database is SQLite in memory."""

    def __enter__(self):
        settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        self._reset(ConnectionHandler({"default": settings}).settings["default"])

    def __exit__(self, *_):
        self._reset(ConnectionHandler({}).settings["default"])

    def _reset(self, settings):
        connections.settings["default"] = settings
        if hasattr(connections._connections, "default"):
            del connections["default"]


# --- The heartbeat, by its settings.


def heartbeat(**settings):
    with override_settings(**settings):
        checks.register()
        return Client().get("/__heartbeat__")


def test_the_checks_by_default():
    assert checks.DEFAULT_CHECKS == (
        "dockerflow.django.checks.check_database_connected",
        "dockerflow.django.checks.check_migrations_applied",
    )
    del_setting = override_settings()
    with del_setting:
        from django.conf import settings

        del settings.DOCKERFLOW_CHECKS
        checks.register()
        assert list(dockerflow_checks.get_checks()) == [
            "check_database_connected",
            "check_migrations_applied",
        ]


def test_details_with_debug():
    names = [f"{HERE}.{name}" for name in ("warning", "error", "by_name")]
    response = heartbeat(DOCKERFLOW_CHECKS=names, DEBUG=True)
    assert response.status_code == 500
    assert response.json() == {
        "status": "error",
        "checks": {"warning": "warning", "error": "error", "by_name": "info"},
        "details": {
            "warning": {
                "status": "warning",
                "level": 30,
                "messages": {"tests.checks.W001": "some warning"},
            },
            "error": {
                "status": "error",
                "level": 40,
                "messages": {"tests.checks.E001": "some error"},
            },
            "by_name": {
                "status": "info",
                "level": 20,
                "messages": {"tests.checks.I001": "by name"},
            },
        },
    }


def test_only_the_status_without_debug():
    assert heartbeat(DOCKERFLOW_CHECKS=[f"{HERE}.warning"]).json() == {"status": "warning"}


def test_silenced_system_checks():
    response = heartbeat(
        DOCKERFLOW_CHECKS=[f"{HERE}.error"], SILENCED_SYSTEM_CHECKS=["tests.checks.E001"]
    )
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_the_status_code_of_a_failure():
    settings = {"DOCKERFLOW_HEARTBEAT_FAILED_STATUS_CODE": 503}
    assert heartbeat(DOCKERFLOW_CHECKS=[f"{HERE}.error"], **settings).status_code == 503


def test_checks_of_the_registry_run_too():
    dockerflow_checks.register(lambda: dockerflow_checks.Error("bad", id="x"), name="own")
    assert heartbeat(DOCKERFLOW_CHECKS=[f"{HERE}.warning"], DEBUG=True).json()["checks"] == {
        "own": "error",
        "warning": "warning",
    }


def test_each_message_is_logged_at_its_level(caplog):
    caplog.set_level(logging.INFO, "dockerflow.checks.registry")
    heartbeat(DOCKERFLOW_CHECKS=[f"{HERE}.warning", f"{HERE}.error"])
    records = [r for r in caplog.records if r.name == "dockerflow.checks.registry"]
    assert sorted((r.levelno, r.getMessage()) for r in records) == [
        (30, "tests.checks.W001: some warning"),
        (40, "tests.checks.E001: some error"),
    ]


@pytest.mark.parametrize(
    ("name", "signal", "level"), [("warning", "passed", 30), ("error", "failed", 40)]
)
def test_signals(name, signal, level):
    handler = mock.Mock(spec=[])
    signals.heartbeat_passed.connect(handler)
    signals.heartbeat_failed.connect(handler)
    heartbeat(DOCKERFLOW_CHECKS=[f"{HERE}.{name}"])
    handler.assert_called_once_with(
        signal=getattr(signals, f"heartbeat_{signal}"), sender=views.heartbeat, level=level
    )
    signals.heartbeat_passed.disconnect(handler)
    signals.heartbeat_failed.disconnect(handler)


def test_a_receiver_that_raises_breaks_nothing():
    handler = mock.Mock(spec=[], side_effect=ValueError)
    signals.heartbeat_passed.connect(handler)
    assert heartbeat(DOCKERFLOW_CHECKS=[]).status_code == 200
    handler.assert_called_once()
    signals.heartbeat_passed.disconnect(handler)


# --- The other endpoints.


def test_lbheartbeat():
    response = Client().get("/__lbheartbeat__")
    assert (response.status_code, response.content) == (200, b"")


def test_version_by_callback():
    with override_settings(DOCKERFLOW_VERSION_CALLBACK=f"{HERE}.version", BASE_DIR="/srv"):
        response = Client().get("/__version__")
    assert (response.status_code, response.json()) == (200, {"root": "/srv"})
    assert response["Content-Type"] == "application/json"


def test_version_that_is_missing(tmp_path):
    with override_settings(DOCKERFLOW_VERSION_CALLBACK=f"{HERE}.no_version"):
        assert Client().get("/__version__").status_code == 404
    with override_settings(BASE_DIR=str(tmp_path)):
        assert Client().get("/__version__").status_code == 404
    with override_settings(
        BASE_DIR=str(tmp_path), DOCKERFLOW_VERSION_CALLBACK="dockerflow.version.get_version"
    ):
        assert Client().get("/__version__").status_code == 404


@pytest.mark.parametrize("name", ["version", "heartbeat", "lbheartbeat"])
def test_the_views_alone(name):
    response = getattr(views, name)(request())
    assert response.status_code == (404 if name == "version" else 200)
