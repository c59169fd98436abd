"""What existing Django apps import, set and override."""

import asyncio
import importlib
import inspect
import io
import logging
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from unittest import mock
from uuid import UUID

import pytest
from log_lines import error_in

pytest.importorskip("django")
sys.path.insert(0, str(Path(__file__).parents[1]))
import apps.django_app  # noqa: F401, I001  # configures Django

import django
from django.conf import settings
from django.core import checks as system_checks
from django.core.checks.registry import registry
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connections
from django.db.utils import ConnectionHandler, DatabaseError, OperationalError
from django.http import Http404, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import SimpleLazyObject

from dockerflow import checks as dockerflow_checks
from dockerflow import health
from dockerflow.django import checks, signals, views
from dockerflow.config import ConfigError
from dockerflow.django.middleware import DockerflowMiddleware, extract_request_id
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


def own_message(app_configs, **kwargs):
    return [dockerflow_checks.Warning("our own", id="own.W001")]


async def later(app_configs, **kwargs):
    return [system_checks.Warning("later", id="later.W001")]


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
        (
            "middleware",
            [
                "DockerflowMiddleware",
                "extract_request_id",
                "get_or_generate_request_id",
                "request_id_context",
            ],
        ),
        (
            "checks",
            [
                "check_database_connected",
                "check_migrations_applied",
                "check_redis_connected",
                "checks",
                "connection",
                "register",
            ],
        ),
        ("signals", ["heartbeat_passed", "heartbeat_failed"]),
        (
            "views",
            [
                "HEARTBEAT_FAILED_STATUS_CODE",
                "django_check_registry",
                "error",
                "heartbeat",
                "heartbeat_failed",
                "heartbeat_passed",
                "lbheartbeat",
                "logger",
                "version",
                "version_callback",
            ],
        ),
    ],
)
def test_names(module, names):
    found = importlib.import_module(f"dockerflow.django.{module}")
    assert all(hasattr(found, name) for name in names)


@pytest.mark.parametrize(
    "name",
    [
        "checks.ImproperlyConfigured",
        "checks.OperationalError",
        "checks.ProgrammingError",
        "views.HttpResponseNotFound",
        "views.JsonResponse",
        "middleware.settings",
        "middleware.urllib",
    ],
)
def test_names_that_are_gone(name):
    module, _, name = name.partition(".")
    assert not hasattr(importlib.import_module(f"dockerflow.django.{module}"), name)


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

    groups = {"ready": ["database"]}
    with override_settings(DOCKERFLOW_PATH_PREFIX=prefix, DOCKERFLOW_HEARTBEAT_GROUPS=groups):
        middleware = Mine(lambda request: HttpResponse("hello"))
        assert middleware.process_request(request(f"{prefix}/alive")).status_code == 200
        assert middleware.process_request(request(f"{prefix}/__version__")) is not None
        assert middleware.process_request(request(f"{prefix}/__lbheartbeat__")) is None
        # The app's settings name this one, as they do /__error__.
        assert middleware.process_request(request(f"{prefix}/__heartbeat__/ready")) is not None
        assert middleware.process_request(request(f"{prefix}/__heartbeat__/other")) is None
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


def test_process_response_of_an_errors_response(middleware, summaries):
    middleware.process_response(request(), HttpResponse(status=503))
    [record] = summaries
    assert (record.levelno, record.errno, record.code) == (logging.INFO, 503, 503)


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
    assert (record.levelno, error_in(record)) == (logging.ERROR, "something went wrong")
    assert (record.errno, record.code, record.rid, record.uid) == (500, 500, "abc", "")


def test_process_exception_of_a_404_is_none(middleware, summaries):
    asked = request()
    middleware.process_request(asked)
    middleware.process_exception(asked, Http404())
    assert not summaries
    middleware.process_response(asked, HttpResponse(status=404))
    assert [record.levelno for record in summaries] == [logging.INFO]


@pytest.mark.parametrize(
    "hooks",
    [
        ["request", "response"],
        ["request", "exception"],
        ["request", "exception", "response"],
        ["request", "response", "exception"],
        ["response"],
        ["exception"],
        ["exception", "response"],
        ["meta", "request", "meta", "response", "meta"],
        ["request", "request", "response"],
    ],
    ids="-".join,
)
@pytest.mark.parametrize("response", [HttpResponse("hello"), None], ids=["response", "none"])
def test_hooks_in_any_order(middleware, summaries, hooks, response):
    asked = request(HTTP_X_REQUEST_ID="abc")
    error = ValueError("something went wrong")
    call = {
        "request": lambda: middleware.process_request(asked),
        "response": lambda: middleware.process_response(asked, response),
        "exception": lambda: middleware.process_exception(asked, error),
        "meta": lambda: middleware._build_extra_meta(asked),
    }
    for hook in hooks:
        call[hook]()
    assert request_id_context.get() is None
    [record] = summaries
    first = next(hook for hook in hooks if hook in ("response", "exception"))
    level, code = (logging.INFO, 200) if first == "response" else (logging.ERROR, 500)
    assert (record.levelno, record.code, record.rid) == (level, code, "abc")


@pytest.mark.parametrize("is_called", [True, False])
def test_a_request_object_that_is_used_again(middleware, summaries, is_called):
    asked = request()
    middleware.process_request(asked)
    first = asked._id
    middleware.process_response(asked, HttpResponse())
    if is_called:
        middleware(asked)
    else:
        middleware.process_request(asked)
        middleware.process_response(asked, HttpResponse())
    assert [record.rid for record in summaries] == [first, asked._id]
    assert first != asked._id


def test_hooks_of_a_404_leave_no_id_set(middleware):
    asked = request()
    middleware.process_request(asked)
    middleware.process_exception(asked, Http404())
    assert request_id_context.get() is None


def test_an_endpoint_leaves_no_id_set(middleware):
    middleware.process_request(request("/__lbheartbeat__"))
    assert request_id_context.get() is None
    with (
        override_settings(DOCKERFLOW_ERROR_ENDPOINT=True),
        pytest.raises(RuntimeError, match="__error__"),
    ):
        middleware.process_request(request("/__error__"))
    assert request_id_context.get() is None


def test_fields_alone_set_no_id(middleware):
    asked = request(HTTP_X_REQUEST_ID="abc")
    assert middleware._build_extra_meta(asked)["rid"] == "abc"
    assert request_id_context.get() is None


def test_extract_request_id(middleware, summaries):
    asked = request(HTTP_X_REQUEST_ID="abc")
    extract_request_id(asked)
    assert asked._id == request_id_context.get() == "abc"
    middleware.process_response(asked, HttpResponse())
    [record] = summaries
    assert record.rid == "abc"
    assert request_id_context.get() is None


def test_what_tests_replace(middleware, summaries):
    asked = request(HTTP_X_REQUEST_ID="abc")
    with mock.patch("dockerflow.django.middleware.extract_request_id") as extract:
        middleware(asked)
    extract.assert_called_once_with(asked)
    [record] = summaries
    assert record.rid == "abc"
    with mock.patch.object(middleware.summary_logger, "info") as info:
        middleware(request())
    info.assert_called_once()
    assert len(summaries) == 1
    autospec = mock.create_autospec(logging.Logger, instance=True)
    with mock.patch.object(middleware, "summary_logger", autospec):
        middleware(request())
    autospec.info.assert_called_once()
    assert views.checks is checks


@override_settings(DEBUG=True)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_registry_that_a_test_has_patched(asynchronous):
    """The heartbeat runs the checks that the test gives, and the app's own ones afterwards."""

    def failing_check(**kwargs):
        return [system_checks.Error("down", id="app.E001")]

    def heartbeat():
        if asynchronous:
            return asyncio.run(AsyncClient().get("/__heartbeat__"))
        return Client().get("/__heartbeat__")

    before = heartbeat().json()["checks"]
    registry = views.django_check_registry
    with mock.patch.object(registry, "get_checks", return_value=[failing_check]):
        failed = heartbeat()
    with mock.patch.object(views, "django_check_registry") as replaced:
        replaced.get_checks.return_value = [failing_check]
        failed_too = heartbeat()
    for response in (failed, failed_too):
        assert response.status_code == 500
        assert response.json()["checks"] == {"failing_check": "error"}
    after = heartbeat()
    assert after.status_code == 200
    assert after.json()["checks"] == before


class Records(logging.Handler):
    """Collects records, as fixtures of apps do."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        record.current_id = request_id_context.get()
        self.records.append(record)


def test_a_handler_at_the_middlewares_logger(middleware, summaries):
    assert middleware.summary_logger is logging.getLogger("request.summary")
    handler = Records()
    middleware.summary_logger.addHandler(handler)
    middleware(request())
    middleware.summary_logger.removeHandler(handler)
    assert handler.records == list(summaries)
    assert len(handler.records) == 1


@pytest.mark.parametrize("how", ["response", "exception"])
def test_the_id_is_set_while_a_hook_alone_logs(middleware, how):
    middleware.summary_logger = logging.Logger("mine")
    handler = Records()
    middleware.summary_logger.addHandler(handler)
    asked = request(HTTP_X_REQUEST_ID="abc")
    if how == "response":
        middleware.process_response(asked, HttpResponse())
    else:
        middleware.process_exception(asked, ValueError())
    assert [record.current_id for record in handler.records] == ["abc"]


@pytest.mark.parametrize("how", ["served", "async", "failed", "hooks", "late", "exception"])
def test_a_replaced_logger(summaries, how):
    def respond(request):
        if how == "failed":
            raise ValueError("something went wrong")
        return HttpResponse()

    async def arespond(request):
        return HttpResponse()

    middleware = DockerflowMiddleware(arespond if how == "async" else respond)
    handler, mine = Records(), logging.Logger("mine")
    mine.addHandler(handler)
    asked = request()
    if how != "late":
        middleware.summary_logger = mine
    if how == "served":
        middleware(asked)
    elif how == "async":
        asyncio.run(middleware(asked))
    elif how == "failed":
        with pytest.raises(ValueError, match="wrong"):
            middleware(asked)
    else:
        middleware.process_request(asked)
        middleware.summary_logger = mine
        if how == "exception":
            middleware.process_exception(asked, ValueError())
        else:
            middleware.process_response(asked, HttpResponse())
    assert [record.name for record in handler.records] == ["mine"]
    assert not list(summaries)


def test_something_else_in_the_loggers_place(middleware, summaries):
    middleware.summary_logger = mock.Mock(spec=["info", "error"])
    middleware(request("/a"))
    middleware.process_exception(request("/b"), ValueError("100% wrong"))
    assert not list(summaries)
    [info], [error] = (
        method.call_args_list
        for method in (middleware.summary_logger.info, middleware.summary_logger.error)
    )
    [text] = info.args
    assert re.fullmatch("GET /a 200 [0-9]+ ms", text)
    [text] = error.args
    assert re.fullmatch("GET /b 500 [0-9]+ ms: 100% wrong", text)
    assert [call.kwargs["extra"]["path"] for call in (info, error)] == ["/a", "/b"]
    middleware.summary_logger = logging.LoggerAdapter(logging.getLogger("request.summary"))
    middleware(request("/c"))
    assert len(list(summaries)) == 1


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


class User:
    """A user whose name is empty, or an e-mail address."""

    is_authenticated = True

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def get_username(self):
        return "jane@example.com"

    __str__ = get_username


KEY = UUID("7a1e3c5b-0000-4000-8000-000000000001")


@pytest.mark.parametrize(
    ("user", "uid"),
    [
        (User(pk=5), 5),
        (User(pk=0), 0),
        (User(pk="5"), "5"),
        (User(pk=KEY), KEY),
        (User(pk=None), ""),
        (User(), ""),
        (User(pk=5, is_authenticated=False), ""),
        (None, ""),
    ],
)
def test_the_users_id(middleware, summaries, user, uid):
    asked = request()
    middleware.process_request(asked)
    asked.user = user
    assert middleware._build_extra_meta(asked)["uid"] == uid
    middleware.process_response(asked, HttpResponse())
    [record] = summaries
    assert (record.uid, type(record.uid)) == (uid, type(uid))


def test_an_id_that_the_app_sets(middleware, summaries):
    asked = request()
    middleware.process_request(asked)
    asked.user = User(pk=5)
    asked.META["dockerflow.summary"]["uid"] = 0
    assert middleware._build_extra_meta(asked)["uid"] == 0
    middleware.process_response(asked, HttpResponse())
    [record] = summaries
    assert record.uid == 0


def test_a_subclass_may_load_the_user(summaries):
    class Own(DockerflowMiddleware):
        def _build_extra_meta(self, request):
            assert request.user.is_authenticated
            return super()._build_extra_meta(request)

    def view(request):
        request.user = SimpleLazyObject(lambda: User(pk=5))
        return HttpResponse()

    Own(view)(request())
    [record] = summaries
    assert record.uid == 5


def test_what_a_subclass_makes_of_the_fields_counts(summaries):
    class Own(DockerflowMiddleware):
        def _build_extra_meta(self, request):
            meta = super()._build_extra_meta(request)
            del meta["lang"], meta["t"]
            return {**meta, "agent": "hidden", "team": "blue", "errno": 7, "code": 1}

    Own(lambda request: HttpResponse())(request())
    [record] = summaries
    assert (record.agent, record.team, record.errno, record.code) == ("hidden", "blue", 7, 200)
    assert not hasattr(record, "lang")
    assert isinstance(record.t, int)


@pytest.mark.parametrize("built", [{"errno": 0}, {}, {"errno": 7}])
@pytest.mark.parametrize("how", ["hooks", "served"])
def test_fields_built_anew_keep_the_errors_number(summaries, built, how):
    class Own(DockerflowMiddleware):
        def _build_extra_meta(self, request):
            return {"method": request.method, **built}

    def view(request):
        return HttpResponse(status=500)

    if how == "served":
        Own(view)(request())
    else:
        Own(view).process_exception(request(), ValueError("something went wrong"))
    [record] = summaries
    assert record.errno == (built.get("errno") or 500)


def test_a_middleware_needs_the_rest_of_django():
    with pytest.raises(ValueError, match="get_response"):
        DockerflowMiddleware()
    assert issubclass(DockerflowMiddleware, MiddlewareMixin)


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
    name = "dockerflow.django.checks.connection.ensure_connection"
    with SQLite(), mock.patch(name, side_effect=exception("db.internal refused")):
        [message] = checks.check_database_connected([])
    assert message.id == id_
    assert "db.internal" not in message.msg


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
    with mock.patch("dockerflow.django.checks.connection") as connection:
        connection.ensure_connection.side_effect = exception("x")
        [message] = checks.check_database_connected(app_configs=None)
    assert message.id == id_


@pytest.mark.parametrize("is_usable", [True, False])
def test_a_connection_that_can_do_no_more_than_this(monkeypatch, is_usable):
    double = SimpleNamespace(ensure_connection=lambda: None, is_usable=lambda: is_usable)
    monkeypatch.setattr(checks, "connection", double)
    ids = [message.id for message in checks.check_database_connected([])]
    assert ids == ([] if is_usable else [health.ERROR_UNUSABLE_DATABASE])


LOADER = "django.db.migrations.loader.MigrationLoader"


@pytest.mark.parametrize("exception", [ImproperlyConfigured, DatabaseError, OperationalError])
@pytest.mark.parametrize("method", ["__init__", "build_graph", "load_disk"])
def test_migrations_that_cannot_be_known(exception, method):
    with SQLite(), mock.patch(f"{LOADER}.{method}", side_effect=exception("x")):
        [message] = checks.check_migrations_applied([])
    assert message.id == health.INFO_CANT_CHECK_MIGRATIONS


class Migration(SimpleNamespace):
    def __str__(self):
        return f"{self.app_label}.{self.name}"


@pytest.mark.parametrize(
    ("labels", "names"), [((), ["a.0001", "a.0002", "b.0001"]), (["a"], ["a.0001", "a.0002"])]
)
def test_each_migration_that_is_not_applied(labels, names):
    nodes = {
        (app, name): Migration(app_label=app, name=name)
        for app, name in [("b", "0001"), ("a", "0002"), ("a", "0001"), ("a", "0000"), ("c", "0001")]
    }
    with mock.patch(LOADER) as make:
        make.return_value.graph.nodes = nodes
        make.return_value.applied_migrations = {("a", "0000"): None}
        make.return_value.migrated_apps = {"a", "b"}
        messages = checks.check_migrations_applied([SimpleNamespace(label=x) for x in labels])
    assert [message.id for message in messages] == [health.WARNING_UNAPPLIED_MIGRATION] * len(names)
    for message, name in zip(messages, names, strict=True):
        assert name in message.msg


def test_a_huge_number_of_migrations_is_no_error():
    with mock.patch(LOADER) as make:
        make.return_value.graph.nodes = {
            number: Migration(app_label="a", name=number) for number in range(1200)
        }
        make.return_value.applied_migrations = {}
        make.return_value.migrated_apps = {"a"}
        response = heartbeat(DOCKERFLOW_CHECKS=[checks.DEFAULT_CHECKS[1]], DEBUG=True)
    assert response.json()["status"] == "warning"


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


@pytest.mark.parametrize(
    ("exception", "id_"),
    [
        (NotImplementedError, health.ERROR_MISSING_REDIS_CLIENT),
        (ImproperlyConfigured, health.ERROR_MISCONFIGURED_REDIS),
    ],
)
def test_misconfigured_redis(exception, id_):
    _, patched = redis_module(side_effect=exception("x"))
    with patched:
        [message] = checks.check_redis_connected([])
    assert message.id == id_


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


# --- The checks as Django's system checks.


@pytest.fixture
def system_checks_alone():
    """Django's registry has only what the test puts into it."""
    registered, deployment = registry.registered_checks, registry.deployment_checks
    registry.registered_checks, registry.deployment_checks = set(), set()
    yield registry.registered_checks
    registry.registered_checks, registry.deployment_checks = registered, deployment


def manage_check(*args, **options):
    """Run ``manage.py check``; return what it prints."""
    out = io.StringIO()
    call_command("check", *args, stdout=out, stderr=out, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("check", "id_", "kind"),
    [
        ("check_database_connected", health.ERROR_CANNOT_CONNECT_DATABASE, system_checks.Error),
        ("check_migrations_applied", health.INFO_CANT_CHECK_MIGRATIONS, system_checks.Info),
    ],
)
def test_the_ready_made_checks_are_system_checks(system_checks_alone, check, id_, kind):
    system_checks.register(getattr(checks, check))
    with mock.patch("dockerflow.django.checks.connection") as connection:
        connection.ensure_connection.side_effect = OperationalError("x")
        with mock.patch(LOADER, side_effect=OperationalError("x")):
            [message] = system_checks.run_checks(databases=["default"])
            assert (type(message), message.id) == (kind, id_)
            assert not message.is_silenced()
            expected = pytest.raises(SystemCheckError, match=id_)
            with expected if message.is_serious() else nullcontext():
                assert f"({id_})" in manage_check(databases=["default"])
            with override_settings(SILENCED_SYSTEM_CHECKS=[id_]):
                assert message.is_silenced()
                assert "1 silenced" in manage_check(databases=["default"])


def test_the_cause_is_in_the_terminal():
    message = dockerflow_checks.Error("It is down.", id="x")
    message.log_detail = "OperationalError: no route"
    with mock.patch("dockerflow.django.checks.check_database", return_value=message):
        [shown] = checks.check_database_connected(None)
    assert str(shown) == "?: (x) It is down.\n\tHINT: OperationalError: no route"


def test_manage_check_shows_the_checks(system_checks_alone):
    names = [f"{HERE}.{name}" for name in ("warning", "by_name", "own_message", "later")]
    with override_settings(DOCKERFLOW_CHECKS=names):
        checks.register()
        assert warning in system_checks_alone
        shown = manage_check()
        for text in (
            "(tests.checks.W001) some warning",
            "(own.W001) our own",
            "(later.W001) later",
        ):
            assert f"?: {text}\n" in shown
        with override_settings(SILENCED_SYSTEM_CHECKS=["tests.checks.W001", "own.W001"]):
            shown = manage_check()
            assert "W001" in shown
            assert "3 silenced" not in shown
            assert "tests.checks.W001" not in shown
            assert "own.W001" not in shown
    with override_settings(DOCKERFLOW_CHECKS=[f"{HERE}.error"]):
        checks.register()
        with pytest.raises(SystemCheckError, match="some error"):
            manage_check()
    checks.register()
    assert not system_checks_alone


def test_a_check_that_the_app_registers_itself(system_checks_alone):
    system_checks.register(warning, "security")
    with override_settings(DOCKERFLOW_CHECKS=[f"{HERE}.warning"]):
        checks.register()
        assert warning.tags == ("security",)
        assert manage_check().count("W001") == 1
    checks.register()
    assert system_checks_alone == {warning}


def test_a_check_that_django_refuses(system_checks_alone):
    with (
        override_settings(DOCKERFLOW_CHECKS=[f"{HERE}.warning", f"{HERE}.version"]),
        pytest.raises(ConfigError, match=r"names '.*version', but .* must accept keyword"),
    ):
        checks.register()
    checks.register()
    assert not system_checks_alone


@pytest.mark.parametrize(
    ("debug", "names"), [(True, ["error", "warning"]), (False, ["by_name", "error", "warning"])]
)
def test_each_system_check_has_its_key(system_checks_alone, debug, names):
    system_checks.register(warning)
    system_checks.register(by_name, deploy=True)
    settings = {"DOCKERFLOW_SYSTEM_CHECKS": True, "DOCKERFLOW_HEARTBEAT_DETAILS": "always"}
    response = heartbeat(DOCKERFLOW_CHECKS=[f"{HERE}.error"], DEBUG=debug, **settings)
    assert sorted(response.json()["checks"]) == names
    assert heartbeat(DEBUG=True, **settings).json()["checks"] == {"warning": "warning"}
    system_checks.register(error)
    with override_settings(DEBUG=True, **settings):
        assert sorted(Client().get("/__heartbeat__").json()["checks"]) == ["error", "warning"]


# --- The heartbeat, by its settings.


def test_lists_changed_in_place():
    with override_settings(DOCKERFLOW_CHECKS=[f"{HERE}.warning"], SILENCED_SYSTEM_CHECKS=[]):
        assert Client().get("/__heartbeat__").json() == {"status": "warning"}
        settings.DOCKERFLOW_CHECKS.append(f"{HERE}.error")
        assert Client().get("/__heartbeat__").json() == {"status": "error"}
        settings.SILENCED_SYSTEM_CHECKS.append("tests.checks.E001")
        assert Client().get("/__heartbeat__").json() == {"status": "warning"}
        settings.SILENCED_SYSTEM_CHECKS = ["tests.checks.E001", "tests.checks.W001"]
        assert Client().get("/__heartbeat__").json() == {"status": "ok"}
        settings.SILENCED_SYSTEM_CHECKS.clear()
        settings.DOCKERFLOW_CHECKS.remove(f"{HERE}.error")
        assert Client().get("/__heartbeat__").json() == {"status": "warning"}


def test_settings_that_code_sets_itself(monkeypatch, summaries):
    # Django sends no signal of that.
    for name, value, field, expected in [
        ("DOCKERFLOW_REQUEST_ID_HEADER_NAME", "X-Own", "rid", "abc"),
        ("DOCKERFLOW_SUMMARY_LOG_QUERYSTRING", True, "querystring", "a=1"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(settings, name, value, raising=False)
            Client().get("/?a=1", headers={"X-Own": "abc"})
        *_, record = summaries
        assert getattr(record, field) == expected


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


def test_a_replaced_status_code(tmp_path):
    (tmp_path / "version.json").write_text("broken")
    assert views.HEARTBEAT_FAILED_STATUS_CODE == 500
    with mock.patch("dockerflow.django.views.HEARTBEAT_FAILED_STATUS_CODE", 503):
        assert heartbeat(DOCKERFLOW_CHECKS=[f"{HERE}.error"]).status_code == 503
        assert heartbeat(DOCKERFLOW_CHECKS=[]).status_code == 200
        with override_settings(BASE_DIR=tmp_path):
            assert Client().get("/__version__").status_code == 500


def test_a_replaced_connection_in_the_heartbeat():
    with mock.patch("dockerflow.django.checks.connection") as connection:
        connection.ensure_connection.side_effect = OperationalError("x")
        name = "check_database_connected"
        response = heartbeat(DOCKERFLOW_CHECKS=[f"dockerflow.django.checks.{name}"], DEBUG=True)
    assert response.json()["details"][name]["messages"].keys() == {
        health.ERROR_CANNOT_CONNECT_DATABASE
    }


# --- The other endpoints.


def test_the_logger_of_the_error_endpoint(caplog):
    with pytest.raises(RuntimeError, match="__error__"):
        views.error(request("/__error__"))
    [record] = caplog.records
    assert (record.name, record.levelno) == (views.logger.name, logging.ERROR)
    assert record.name == "dockerflow.django"


def test_a_replaced_get_version():
    with mock.patch("dockerflow.version.get_version", return_value={"version": "mine"}) as get:
        assert Client().get("/__version__").json() == {"version": "mine"}
        get.assert_called_once()
        get.return_value = None
        assert Client().get("/__version__").status_code == 404


def test_a_replaced_version_callback():
    with mock.patch("dockerflow.django.views.version_callback", f"{HERE}.version"):
        assert Client().get("/__version__").json() == {"root": None}
        with override_settings(DOCKERFLOW_VERSION_CALLBACK=f"{HERE}.no_version", BASE_DIR="/srv"):
            assert Client().get("/__version__").json() == {"root": "/srv"}


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
    assert type(response) is HttpResponse


# --- A whole project, in a process of its own.

PROJECT = """
import io, logging, sys
import django
from django.conf import settings
from django.core.management import call_command, execute_from_command_line
from django.http import HttpResponse
from django.urls import path

APPS = ["auth", "contenttypes", "sessions"]
settings.configure(
    ALLOWED_HOSTS=["testserver"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db"}},
    INSTALLED_APPS=["dockerflow.django", *(f"django.contrib.{app}" for app in APPS)],
    MIDDLEWARE=[
        "dockerflow.django.middleware.DockerflowMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="x",
)
django.setup()

from django.contrib.auth.models import User
from django.test import AsyncClient, Client


def plain(request):
    return HttpResponse()


def who(request):
    return HttpResponse(request.user.pk)


async def awho(request):
    return HttpResponse((await request.auser()).pk)


urlpatterns = [path("", plain), path("who", who), path("awho", awho)]

# It prints the messages, also those of the default checks, and ends the process with an error.
execute_from_command_line(["manage.py", "check", "--database", "default"])
out = io.StringIO()
call_command("check", "auth", stderr=out)
print(out.getvalue().count("auth."), out.getvalue().count("sessions."), file=sys.stderr)
call_command("migrate", verbosity=0)
execute_from_command_line(["manage.py", "check", "--database", "default"])

from django.test import override_settings
from dockerflow.django.checks import check_migrations_applied

# As settings for tests have it, so that tables are made without migrations.
with override_settings(MIGRATION_MODULES={"sessions": "no.such"}):
    assert check_migrations_applied(None) == []

records = []
handler = logging.Handler()
handler.emit = records.append
logging.getLogger("request.summary").addHandler(handler)
logging.getLogger("request.summary").setLevel("INFO")
for number in range(3):
    user = User.objects.create_user(f"jane{number}@example.com")
client = Client()
client.force_login(user)
for url in ["/", "/who", "/awho"][:3 if django.VERSION >= (5, 0) else 2]:
    assert client.get(url).status_code == 200
print([record.uid for record in records])
"""


def test_a_project(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", PROJECT],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stderr.splitlines()
    unapplied = [line for line in lines if "(dockerflow.health.W001)" in line]
    assert any("auth.0001_initial" in line for line in unapplied)
    assert any("sessions.0001_initial" in line for line in unapplied)
    of_auth = len([line for line in unapplied if " auth." in line])
    assert f"{of_auth} 0" in lines
    *_, after, uids = result.stdout.splitlines()
    assert after == "System check identified no issues (0 silenced)."
    assert uids == str(["", 3, 3] if django.VERSION >= (5, 0) else ["", 3])
