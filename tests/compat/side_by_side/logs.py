"""Logging: records of many kinds through the formatter, its subclasses, handlers and filters."""

import datetime as dt
import decimal
import io
import json
import logging
import logging.config
import sys
import uuid
from unittest import mock

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

from .observe import attempt, encode, mozlog_lines, scenario, warned


class Thing:
    def __repr__(self):
        return "a thing"


class Text:
    def __str__(self):
        return "as text"


def record(message="hello", *args, level=logging.INFO, exc_info=None, **fields):
    made = logging.LogRecord("app.views", level, "views.py", 7, message, args, exc_info)
    vars(made).update(fields)
    return made


def failure():
    try:
        raise ValueError("no", 1)
    except ValueError:
        return sys.exc_info()


MESSAGES = {
    "plain": lambda: record(),
    "arguments": lambda: record("%s of %d", "one", 2),
    "mapping": lambda: record("%(a)s", {"a": 1}),
    "empty": lambda: record(""),
    "JSON": lambda: record('{"a": 1}'),
    "an object": lambda: record(Text()),
    "a number": lambda: record(17),
    "a dict": lambda: record({"a": 1}),
    "debug": lambda: record(level=10),
    "warning": lambda: record(level=30),
    "error": lambda: record(level=40),
    "critical": lambda: record(level=50),
    "level 25": lambda: record(level=25),
    "level 5": lambda: record(level=5),
    "level 60": lambda: record(level=60),
    "exception": lambda: record(exc_info=failure()),
    "exception without message": lambda: record("", exc_info=failure()),
    "exc_info without exception": lambda: record(exc_info=(None, None, None)),
    "stack": lambda: record(stack_info="Stack (most recent call last):\n  here"),
    "logger_name": lambda: record(logger_name="other"),
    "field msg": lambda: record(custom=1),
    "field error": lambda: record(error="mine", exc_info=failure()),
    "field traceback": lambda: record(traceback="mine"),
    "field Type": lambda: record(Type="mine"),
    "field _private": lambda: record(_private=1),
    "field taskName": lambda: record(taskName="task"),
    "field rid": lambda: record(rid=None),
}
VALUES = {
    "text": "text",
    "empty text": "",
    "number": 7,
    "float": 1.5,
    "true": True,
    "none": None,
    "list": [1, 2],
    "empty list": [],
    "list of texts": ["a", "b"],
    "mixed list": [1, "a"],
    "list with none": [1, None],
    "list of dicts": [{"a": 1}],
    "dict": {"a": 1},
    "empty dict": {},
    "nested dict": {"a": {"b": {"c": 1}}},
    "dict with a number as key": {1: "a"},
    "dict with a tuple as key": {(1, 2): "a"},
    "tuple": (1, 2),
    "set": {1},
    "bytes": b"bytes",
    "uuid": uuid.UUID(int=5),
    "date": dt.date(2020, 1, 2),
    "datetime": dt.datetime(2020, 1, 2, 3, 4, 5),
    "timedelta": dt.timedelta(1),
    "decimal": decimal.Decimal("1.10"),
    "thing": Thing(),
    "class": Thing,
    "exception": ValueError("no"),
    "NaN": float("nan"),
    "infinity": float("inf"),
    "large number": 2**70,
    "umlaut": "ü",
    "JSON": '{"a": 1}',
}


def settled(line):
    """Leave out the lines of code in tracebacks, which newer Pythons mark."""
    if isinstance(line, dict) and isinstance(line.get("Fields", {}).get("traceback"), str):
        line["Fields"]["traceback"] = [
            part for part in line["Fields"]["traceback"].splitlines() if not part.startswith(" ")
        ]
    return line


@scenario
def messages():
    formatter = MozlogFormatter(logger_name="app")
    return {
        name: attempt(lambda make=make: settled(mozlog_lines(make(), formatter)))
        for name, make in MESSAGES.items()
    }


@scenario
def values():
    formatter = MozlogFormatter(logger_name="app")
    return {
        name: attempt(
            lambda value=value: mozlog_lines(record("", value=value), formatter).get("Fields", {})
        )
        for name, value in VALUES.items()
    }


@scenario
def keys_of_a_line():
    return list(json.loads(MozlogFormatter().format(record())))


@scenario
def text_of_a_line():
    line = MozlogFormatter().format(record("\xfc", a=1))
    return {"ASCII": line.isascii(), "spaces": ": " in line, "lines": line.count("\n")}


@scenario
def subclasses():
    class Renamed(MozlogFormatter):
        def convert_record(self, record):
            out = super().convert_record(record)
            out["Fields"]["added"] = True
            out["Fields"].pop("secret", None)
            out["Service"] = "app"
            return out

    class Whole(MozlogFormatter):
        def convert_record(self, record):
            return {"only": record.getMessage(), "thing": Thing()}

    class ClassName(MozlogFormatter):
        logger_name = "of the class"

        def __init__(self):
            super().__init__()

    class Settings(MozlogFormatter):
        LOGGING_FORMAT_VERSION = "3.0"
        SYSLOG_LEVEL_MAP = {20: 5}
        DEFAULT_SYSLOG_LEVEL = 1
        EXCLUDED_LOGRECORD_ATTRS = {"msg", "args", "name"}

    class Scale(MozlogFormatter):
        """As applications on Google Cloud."""

        SYSLOG_LEVEL_MAP = {50: 600, 40: 500, 30: 400, 20: 200, 10: 100}
        DEFAULT_SYSLOG_LEVEL = 0

    class OwnScale(MozlogFormatter):
        def convert_record(self, record):
            out = super().convert_record(record)
            out["Severity"] = out["severity"] = Scale.SYSLOG_LEVEL_MAP.get(record.levelno, 0)
            return out

    class Nothing(MozlogFormatter):
        def convert_record(self, record):
            return None

    class Excluding(MozlogFormatter):
        EXCLUDED_LOGRECORD_ATTRS = MozlogFormatter.EXCLUDED_LOGRECORD_ATTRS | {"secret"}

    class JsonLike(MozlogFormatter):
        def is_value_jsonlike(self, value):
            return value.startswith("<")

    class Formatted(MozlogFormatter):
        def format(self, record):
            return super().format(record) + "\n"

    def line(formatter, **given):
        return attempt(lambda: mozlog_lines(record(secret="x", **given), formatter()))

    def settings(level):
        out = line(Settings, level=level)
        return {
            "version": out["EnvVersion"],
            "severity": out["Severity"],
            "standard attributes": sorted(
                set(out["Fields"]) & {"levelname", "lineno", "pathname", "threadName", "process"}
            ),
        }

    return {
        "convert_record": line(Renamed),
        "convert_record alone": line(Whole),
        "class attribute": attempt(lambda: line(ClassName)["Logger"]),
        "settings": attempt(lambda: settings(20)),
        "settings, other level": attempt(lambda: settings(30)),
        "scale": {str(level): line(Scale, level=level) for level in (50, 40, 30, 20, 10, 5)},
        "own scale": {str(level): line(OwnScale, level=level) for level in (50, 20)},
        "convert_record gives None": line(Nothing),
        "excluding": line(Excluding),
        "format": line(Formatted),
        "jsonlike left out": attempt(
            lambda: mozlog_lines(record("<x>"), JsonLike()).get("Fields", {})
        ),
        "jsonlike kept": attempt(lambda: mozlog_lines(record("{}"), JsonLike()).get("Fields", {})),
        "is_value_jsonlike": attempt(
            lambda: [MozlogFormatter().is_value_jsonlike(text) for text in ("{}", "{", "a", "[]")]
        ),
    }


@scenario
def attributes_changed():
    formatter = MozlogFormatter()
    seen = {
        "logger_name": formatter.logger_name,
        "hostname": attempt(lambda: isinstance(formatter.hostname, str)),
        "converted": attempt(lambda: sorted(formatter.convert_record(record()))),
        "converted fields": attempt(
            lambda: formatter.convert_record(record(a=[1], b={}))["Fields"]
        ),
    }

    def hostname():
        formatter.hostname = "web1"
        return mozlog_lines(record(), formatter)["Hostname"]

    def logger_name():
        formatter.logger_name = "changed"
        return mozlog_lines(record(), formatter)["Logger"]

    def excluded():
        MozlogFormatter.EXCLUDED_LOGRECORD_ATTRS.add("secret")
        return mozlog_lines(record(secret=1, other=2), formatter)["Fields"]

    def levels():
        MozlogFormatter.SYSLOG_LEVEL_MAP[25] = 5
        return mozlog_lines(record(level=25), formatter)["Severity"]

    seen["hostname changed"] = attempt(hostname)
    seen["logger_name changed"] = attempt(logger_name)
    seen["excluded, changed in place"] = attempt(excluded)
    seen["levels, changed in place"] = attempt(levels)
    seen["positional"] = attempt(lambda: MozlogFormatter(None, None, "%", "web").logger_name)
    seen["formatTime"] = attempt(lambda: isinstance(formatter.formatTime(record()), str))
    with mock.patch("socket.gethostname", return_value="patched"):
        seen["hostname patched"] = attempt(lambda: MozlogFormatter().hostname)
    return seen


@scenario
def handlers():
    stream = io.StringIO()
    handler = MozlogHandler(stream, "service")
    kept = record()
    handler.handle(kept)
    handler.handle(record("two"))
    seen = {
        "lines": [json.loads(line)["Logger"] for line in stream.getvalue().splitlines()],
        "logger_name on the record": attempt(lambda: kept.logger_name),
        "attributes": attempt(
            lambda: [handler.logger_name, handler.level, type(handler.formatter).__name__]
        ),
        "its stream": attempt(lambda: MozlogHandler().stream is sys.stdout),
        "StreamHandler": isinstance(handler, logging.StreamHandler),
        "default name": attempt(lambda: MozlogHandler().logger_name),
    }
    other = io.StringIO()
    seen["setStream"] = attempt(lambda: handler.setStream(other) and None)
    handler.handle(record())
    seen["after setStream"] = other.getvalue().count("\n")
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.handle(record("plain"))
    seen["other formatter"] = other.getvalue().splitlines()[-1]
    return seen


def applied(config):
    stream = io.StringIO()
    with mock.patch("sys.stdout", stream):
        logging.config.dictConfig(config)
        logging.getLogger("app").info("configured", extra={"a": 1})
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@scenario
def dict_config():
    base = {"version": 1, "disable_existing_loggers": False}
    loggers = {"loggers": {"app": {"handlers": ["h"], "level": "DEBUG", "propagate": False}}}
    stream = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}
    by_formatter = {
        "formatters": {"json": {"()": "dockerflow.logging.MozlogFormatter", "logger_name": "x"}},
        "handlers": {"h": stream},
    }
    deprecated = {
        "formatters": {"json": {"()": "dockerflow.logging.JsonLogFormatter", "logger_name": "y"}},
        "handlers": {"h": stream},
    }
    by_class = {
        "formatters": {"json": {"class": "dockerflow.logging.MozlogFormatter"}},
        "handlers": {"h": stream},
    }
    by_handler = {"handlers": {"h": {"class": "dockerflow.logging.MozlogHandler", "name": "z"}}}
    filtered = {
        "filters": {"rid": {"()": "dockerflow.logging.RequestIdLogFilter"}},
        "formatters": {"json": {"()": "dockerflow.logging.MozlogFormatter"}},
        "handlers": {"h": {**stream, "filters": ["rid"]}},
    }
    request_id_context.set("abc")
    with warned() as categories:
        seen = {
            name: attempt(lambda given=given: applied({**base, **loggers, **given}))
            for name, given in {
                "formatter": by_formatter, "deprecated": deprecated, "class": by_class,
                "handler": by_handler, "filter": filtered,
            }.items()
        }  # fmt: skip
    return {**seen, "warned": categories}


INI = """
[loggers]
keys = root
[handlers]
keys = out
[formatters]
keys = json
[logger_root]
level = INFO
handlers = out
[handler_out]
class = dockerflow.logging.MozlogHandler
args = (sys.stdout, "ini")
formatter = json
[formatter_json]
class = dockerflow.logging.MozlogFormatter
"""


@scenario
def file_config():
    stream = io.StringIO()
    with mock.patch("sys.stdout", stream):
        logging.config.fileConfig(io.StringIO(INI), disable_existing_loggers=False)
        logging.getLogger("app").info("configured", extra={"a": 1})
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@scenario
def deprecated_formatter():
    with warned() as categories:
        formatter = JsonLogFormatter(logger_name="old")
    return {
        "warned": categories,
        "line": json.loads(formatter.format(record()))["Logger"],
        "subclass": issubclass(JsonLogFormatter, MozlogFormatter),
    }


@scenario
def helpers():
    filtered = record()
    passed = RequestIdLogFilter().filter(filtered)
    other = record(rid="own")
    request_id_context.set("abc")
    RequestIdLogFilter().filter(other)
    lines = safer_format_traceback(*failure()).splitlines()
    return {
        "filter": [passed, filtered.rid],
        "filter replaces": other.rid,
        "filter by name": attempt(lambda: bool(RequestIdLogFilter("other").filter(record()))),
        "traceback": [line for line in lines if not line.startswith(" ")],
        "encoder": attempt(
            lambda: json.dumps(
                {"a": Thing(), "b": {1}, "c": uuid.UUID(int=5), "d": dt.date(2020, 1, 2)},
                cls=SafeJSONEncoder,
            )
        ),
        "encoder options": attempt(
            lambda: json.dumps({"b": Thing(), "a": "ü"}, cls=SafeJSONEncoder, sort_keys=True,
                               indent=1, ensure_ascii=False)
        ),
        "encoder's default": attempt(lambda: SafeJSONEncoder().default(Thing())),
        "context": encode(request_id_context.get()),
        "context's name": request_id_context.name,
    }  # fmt: skip


@scenario
def request_ids():
    return {
        "given": get_or_generate_request_id({"x-request-id": "abc"}),
        "other header": get_or_generate_request_id({"x-trace": "abc"}, "x-trace"),
        "by name": get_or_generate_request_id({"x-trace": "abc"}, header_name="x-trace"),
        "header None": get_or_generate_request_id({"x-request-id": "abc"}, None),
        "other case": get_or_generate_request_id({"X-Request-ID": "abc"}),
        "other case of the setting": get_or_generate_request_id({"x-trace": "abc"}, "X-Trace"),
        "missing": get_or_generate_request_id({}),
        "empty": get_or_generate_request_id({"x-request-id": ""}),
        "with spaces": get_or_generate_request_id({"x-request-id": "a b"}),
        "long": get_or_generate_request_id({"x-request-id": "a" * 200}),
        "not ASCII": get_or_generate_request_id({"x-request-id": "ü"}),
    }
