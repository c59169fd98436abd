"""The core's names that apps made for the incumbent rely on."""

import asyncio
import inspect
import json
import logging
import logging.config
import subprocess
import sys
import warnings
from contextvars import ContextVar

import pytest

from dockerflow import checks, health
from dockerflow.checks import messages, registry
from dockerflow.logging import (
    JsonLogFormatter,
    MozlogFormatter,
    MozlogHandler,
    RequestIdLogFilter,
    SafeJSONEncoder,
    get_or_generate_request_id,
    request_id_context,
    safer_format_traceback,
)
from dockerflow.version import get_version

pytestmark = pytest.mark.usefixtures("no_checks")


def test_register():
    @checks.register
    def bare(): ...

    @checks.register()
    def called(): ...

    @checks.register(name="named")
    def other(): ...

    def of(obj): ...

    checks.register_partial(of, 1)
    checks.register_partial(of, 2, name="second")
    known = checks.get_checks()
    assert list(known) == ["bare", "called", "named", "of", "second"]
    assert known["bare"] is bare
    checks.clear_checks()
    assert checks.get_checks() == {}


def test_run_checks():
    def bad():
        return [checks.Error("oh", id="x.E001"), checks.Info("hm", id="x.I001")]

    pairs = [("bad", bad), ("good", list)]
    for results in (checks.run_checks(pairs), asyncio.run(checks.run_checks_async(pairs))):
        assert results.statuses == {"bad": "error", "good": "ok"}
        assert results.level == checks.ERROR
        assert results.details["bad"] == {
            "status": "error", "level": 40, "messages": {"x.E001": "oh", "x.I001": "hm"},
        }  # fmt: skip
    assert checks.run_checks(pairs, ["x.E001"]).level == checks.INFO
    assert checks.run_checks(dict(pairs).items(), silenced_check_ids=["x.E001"]).level == 20


def test_messages_are_logged(caplog):
    caplog.set_level(logging.DEBUG)
    checks.run_checks([("bad", lambda: checks.Warning("oh", id="x.W001"))])
    assert ("dockerflow.checks.registry", logging.WARNING, "x.W001: oh") in caplog.record_tuples


def test_levels_and_messages():
    assert (checks.DEBUG, checks.INFO, checks.WARNING, checks.ERROR, checks.CRITICAL) == (
        10, 20, 30, 40, 50,
    )  # fmt: skip
    assert checks.level_to_text(checks.CRITICAL) == checks.STATUSES[50] == "critical"
    assert checks.level_to_text(11) == "unknown"
    message = checks.CheckMessage("m", level=40, hint="h", obj="o", id="i")
    assert message == checks.CheckMessage("m", 40, "h", "o", "i")
    assert message != checks.CheckMessage("m", 40, "h", "o", "j")
    assert str(message) == "o: (i) m\n\tHINT: h"
    assert repr(message) == "<CheckMessage: level=40, msg='m', hint='h', obj='o', id='i'>"
    assert message.is_serious()
    assert not message.is_serious(level=checks.CRITICAL)
    levels = [
        cls("m").level
        for cls in (checks.Debug, checks.Info, checks.Warning, checks.Error, checks.Critical)
    ]
    assert levels == [10, 20, 30, 40, 50]
    assert messages.Error is checks.Error
    assert registry.register == checks.register
    assert registry.CheckMessage is checks.CheckMessage
    assert registry.level_to_text is checks.level_to_text


def test_results_that_tests_make():
    results = registry.ChecksResults(details={}, statuses={"a": "ok"}, level=0)
    assert isinstance(checks.run_checks([("a", list)]), registry.ChecksResults)
    assert (results.details, results.statuses, results.level) == ({}, {"a": "ok"}, 0)


def test_changing_what_get_checks_returns():
    checks.register(list, name="a")
    checks.register(list, name="b")
    assert isinstance(checks.get_checks(), dict)
    checks.get_checks().pop("a")
    assert list(checks.get_checks()) == ["b"]
    checks.get_checks().clear()
    assert checks.get_checks() == {}


def test_registering_again_replaces(caplog):
    """As in lifespans, app factories and fixtures."""
    for result in ([], [checks.Info("i")]):
        checks.register(lambda result=result: result, name="a")
        checks.register_partial(lambda result: result, result, name="b")
    assert checks.run_checks(checks.get_checks().items()).statuses == {"a": "info", "b": "info"}
    assert caplog.records == []


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("INFO_CANT_CHECK_MIGRATIONS", "I001"), ("WARNING_UNAPPLIED_MIGRATION", "W001"),
        ("ERROR_CANNOT_CONNECT_DATABASE", "E001"), ("ERROR_UNUSABLE_DATABASE", "E002"),
        ("ERROR_MISCONFIGURED_DATABASE", "E003"), ("ERROR_CANNOT_CONNECT_REDIS", "E004"),
        ("ERROR_MISSING_REDIS_CLIENT", "E005"), ("ERROR_MISCONFIGURED_REDIS", "E006"),
        ("ERROR_REDIS_PING_FAILED", "E007"), ("ERROR_DB_API_EXCEPTION", "E008"),
        ("ERROR_SQLALCHEMY_EXCEPTION", "E009"), ("ERROR_REDIS_EXCEPTION", "E010"),
    ],
)  # fmt: skip
def test_ids(name, number):
    assert getattr(health, name) == f"dockerflow.health.{number}"


def test_version(tmp_path):
    assert get_version(str(tmp_path)) is None
    (tmp_path / "version.json").write_text('{"version": "1"}')
    assert get_version(str(tmp_path)) == {"version": "1"}


def test_formatter():
    record = logging.makeLogRecord({"name": "x", "levelno": 40, "msg": "hi", "extra": 1})
    formatter = MozlogFormatter(logger_name="app")
    converted = formatter.convert_record(record)
    assert (converted["Logger"], converted["Type"], converted["Severity"]) == ("app", "x", 3)
    assert converted["Fields"]["msg"] == "hi"
    assert json.loads(formatter.format(record))["EnvVersion"] == formatter.LOGGING_FORMAT_VERSION
    assert formatter.SYSLOG_LEVEL_MAP[logging.ERROR] == 3
    assert formatter.DEFAULT_SYSLOG_LEVEL == 7
    assert "msg" in formatter.EXCLUDED_LOGRECORD_ATTRS
    assert formatter.is_value_jsonlike('{"a": 1}')

    class Named(MozlogFormatter):
        logger_name = "mine"

        def convert_record(self, record):
            return {**super().convert_record(record), "Type": "other"}

    assert json.loads(Named().format(record))["Type"] == "other"


def test_deprecated_formatter():
    with pytest.warns(DeprecationWarning, match="MozlogFormatter"):
        JsonLogFormatter()


def test_handler_and_filter():
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"rid": {"()": "dockerflow.logging.RequestIdLogFilter"}},
            "handlers": {
                "mozlog": {
                    "()": "dockerflow.logging.MozlogHandler", "name": "app", "filters": ["rid"],
                }
            },
            "loggers": {"compat.handler": {"handlers": ["mozlog"]}},
        }
    )  # fmt: skip
    [handler] = logging.getLogger("compat.handler").handlers
    assert isinstance(handler, MozlogHandler)
    record = logging.makeLogRecord({"name": "x"})
    token = request_id_context.set("abc")
    try:
        assert RequestIdLogFilter().filter(record)
    finally:
        request_id_context.reset(token)
    assert record.rid == "abc"
    logging.getLogger("compat.handler").handlers.clear()


def test_helpers():
    assert isinstance(request_id_context, ContextVar)
    assert get_or_generate_request_id({"x-request-id": "abc"}) == "abc"
    assert get_or_generate_request_id({"X-Other": "abc"}, header_name="x-other") == "abc"
    assert get_or_generate_request_id({})
    assert json.loads(json.dumps({"a": object()}, cls=SafeJSONEncoder))["a"]
    try:
        raise ValueError("broken")
    except ValueError as error:
        text = safer_format_traceback(type(error), error, error.__traceback__)
    assert "broken" in text


def test_signatures():
    def defaults(function, *left_out):
        parameters = inspect.signature(function).parameters
        return {n: p.default for n, p in parameters.items() if n not in ("self", *left_out)}

    needed = inspect.Parameter.empty
    for cls in (checks.CheckMessage, checks.Debug, checks.Info, checks.Error):
        assert defaults(cls) == {
            "msg": needed, "level": None, "hint": None, "obj": None, "id": None,
        }  # fmt: skip
    assert list(defaults(registry.ChecksResults))[:3] == ["details", "statuses", "level"]
    for function in (checks.run_checks, checks.run_checks_async):
        assert defaults(function) == {"checks": needed, "silenced_check_ids": None}
    assert defaults(checks.CheckMessage.is_serious) == {"level": checks.ERROR}
    assert list(defaults(checks.register_partial))[:1] == ["func"]
    assert list(inspect.signature(MozlogHandler).parameters)[:2] == ["stream", "name"]
    assert dict(list(defaults(MozlogHandler).items())[:2]) == {
        "stream": None, "name": "Dockerflow",
    }  # fmt: skip
    assert list(defaults(MozlogFormatter))[:4] == ["fmt", "datefmt", "style", "logger_name"]
    assert MozlogFormatter(None, None, "%").logger_name == "Dockerflow"
    assert defaults(get_or_generate_request_id) == {"headers": needed, "header_name": None}
    assert list(defaults(get_version))[0] == "root"


def test_levels_of_message_classes_and_of_their_equals():
    for cls, level in (
        (checks.Debug, 10), (checks.Info, 20), (checks.Warning, 30), (checks.Error, 40),
        (checks.Critical, 50),
    ):  # fmt: skip
        message = cls("m", hint="h", obj="o", id="i")
        assert (message, message.level) == (cls("m", None, "h", "o", "i"), level)
        assert cls.level == level
        assert cls("m", 5).level == cls("m", level=5).level == 5
        assert message.is_serious() == (level >= checks.ERROR)
        assert checks.STATUSES[level] == checks.level_to_text(level) == cls.__name__.lower()


def test_the_handler_writes_to_stdout_and_names_the_logger(capsys):
    handler = MozlogHandler(name="app")
    handler.setFormatter(MozlogFormatter())
    record = logging.makeLogRecord({"name": "x", "levelno": 20, "msg": "hi"})
    handler.emit(record)
    assert record.logger_name == "app"
    written = capsys.readouterr()
    assert json.loads(written.out)["Logger"] == "app"
    assert written.err == ""


def test_a_logger_name_of_the_class():
    class Named(MozlogFormatter):
        logger_name = "mine"

    record = logging.makeLogRecord({"name": "x", "levelno": 20, "msg": "hi"})
    assert json.loads(Named().format(record))["Logger"] == "mine"


def test_file_config(tmp_path):
    file = tmp_path / "logging.ini"
    file.write_text("""
[loggers]
keys = root, compat
[handlers]
keys = mozlog
[formatters]
keys = json
[formatter_json]
class = dockerflow.logging.MozlogFormatter
[handler_mozlog]
class = dockerflow.logging.MozlogHandler
formatter = json
args = ()
[logger_root]
handlers =
[logger_compat]
handlers = mozlog
qualname = compat.file
""")
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logging.config.fileConfig(file, disable_existing_loggers=False)
    finally:
        root.handlers[:], root.level = before
    logger = logging.getLogger("compat.file")
    [handler] = logger.handlers
    logger.handlers.clear()
    assert isinstance(handler, MozlogHandler)
    assert isinstance(handler.formatter, MozlogFormatter)


def test_deprecated_names_warn_once_per_place():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            assert isinstance(JsonLogFormatter(logger_name="x"), MozlogFormatter)
    assert [warning.filename for warning in caught] == [__file__]


CONFIGURED = """
import io, json, logging.config, sys, tempfile

written = io.StringIO()
config = {
    "version": 1,
    "formatters": {"json": {"()": "dockerflow.logging.JsonLogFormatter", "logger_name": "app"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "stream": written, "formatter": "json"}},
    "root": {"handlers": ["out"], "level": "INFO"},
    "loggers": {"httpx": {"level": "ERROR"}},
}
"""
APPS = {
    "asgi": """
logging.config.dictConfig(config)
from dockerflow import checks
from dockerflow.asgi import DockerflowMiddleware
from dockerflow.testing import Client

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})

get = Client(DockerflowMiddleware(app)).get
""",
    "django": """
from django.conf import settings
settings.configure(
    ROOT_URLCONF=__name__, LOGGING=config, ALLOWED_HOSTS=["*"], DOCKERFLOW_CHECKS=[],
    INSTALLED_APPS=["dockerflow.django"], BASE_DIR=tempfile.mkdtemp(),
    MIDDLEWARE=["dockerflow.django.middleware.DockerflowMiddleware"],
)
urlpatterns = []
import django
django.setup()
from django.test import Client
from dockerflow import checks
get = Client().get
""",
    "fastapi": """
logging.config.dictConfig(config)
from dockerflow import checks
from dockerflow.fastapi import router
from dockerflow.fastapi.middleware import MozlogRequestSummaryLogger
from fastapi import FastAPI
from fastapi.testclient import TestClient
app = FastAPI()
app.include_router(router)
app.add_middleware(MozlogRequestSummaryLogger)
get = TestClient(app).get
""",
    "flask": """
logging.config.dictConfig(config)
from dockerflow import checks
from dockerflow.flask import Dockerflow
from flask import Flask
app = Flask("app")
Dockerflow(app)
get = lambda path: app.test_client().get(path).close()
""",
}
SERVED = """
@checks.register
def low():
    return [checks.Warning("low", id="app.W001")]

get("/__heartbeat__")
lines = [json.loads(line) for line in written.getvalue().splitlines()]
print(*sorted(line["Type"] for line in lines if line["Type"].startswith(("dock", "req"))))
"""


@pytest.mark.parametrize("framework", APPS)
@pytest.mark.parametrize("is_imported", [False, True])
def test_logging_configured_first_disables_nothing(framework, is_imported):
    """By default, dictConfig disables the loggers that exist."""
    if framework in {"django", "fastapi", "flask"}:
        pytest.importorskip(framework)
    imported = "import dockerflow.checks, dockerflow.asgi, dockerflow.wsgi\n" if is_imported else ""
    code = imported + CONFIGURED + APPS[framework] + SERVED
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["dockerflow.checks.registry", "request.summary"], done.stderr


def test_checks_that_the_app_runs_are_logged_whatever_was_configured_first():
    code = (
        CONFIGURED
        + "logging.config.dictConfig(config)\nfrom dockerflow import checks\n"
        + "get = lambda _: checks.run_checks(checks.get_checks().items())\n"
        + SERVED
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["dockerflow.checks.registry"], done.stderr
