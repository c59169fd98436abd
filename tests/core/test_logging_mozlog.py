"""What MozlogFormatter writes: valid mozlog, whatever is logged."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import functools
import io
import json
import logging
import os
import random
import re
import socket
import subprocess
import sys
import time
import types
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_lines import caught, check, parse, read, record

import dockerflow.logging as module
from dockerflow._core import request_id as _request_id
from dockerflow.logging import (
    GoogleCloudFormatter,
    JsonLogFormatter,
    MozlogFormatter,
    MozlogHandler,
    SafeJSONEncoder,
    TextFormatter,
    safer_format_traceback,
)

EXAMPLES = int(os.environ.get("DOCKERFLOW_TEST_EXAMPLES", "2000"))


def field(value):
    return read(record(x=value))["Fields"]["x"]


class Broken:
    def __repr__(self):
        raise RuntimeError("no")


class BrokenExit:
    def __repr__(self):
        raise RecursionError

    __str__ = __repr__


def lines_of(log):
    """Return the lines of what a function logs."""
    stream = io.StringIO()
    logger = logging.Logger("app")
    logger.addHandler(MozlogHandler(stream))
    log(logger)
    return [check(parse(line)) for line in stream.getvalue().splitlines()]


# --- the envelope --------------------------------------------------------------------------------


def test_envelope():
    made = record("hello %s", "world", n=1)
    out = read(made)
    assert out == {
        "Timestamp": int(made.created * 1e9),
        "Type": "app",
        "Logger": "Dockerflow",
        "Hostname": out["Hostname"],
        "EnvVersion": "2.0",
        "Severity": 6,
        "Pid": os.getpid(),
        "Fields": {"n": 1, "msg": "hello world"},
    }
    assert out["Hostname"]


def test_hostname(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "web-\ud800")
    formatter = MozlogFormatter()
    assert formatter.hostname == "web-\\ud800"
    formatter.hostname = "mine"
    assert read(record(), formatter)["Hostname"] == "mine"


def test_a_subclass_without_our_init():
    class Careless(MozlogFormatter):
        def __init__(self):
            pass

    assert read(record("m"), Careless())["Fields"] == {"msg": "m"}


def test_excluded_attributes(monkeypatch):
    """Apps add to the set, or replace it in a subclass or in one formatter."""
    assert isinstance(MozlogFormatter.EXCLUDED_LOGRECORD_ATTRS, set)

    class Hiding(MozlogFormatter):
        EXCLUDED_LOGRECORD_ATTRS = MozlogFormatter.EXCLUDED_LOGRECORD_ATTRS | {"secret"}

    made = record(secret="x", open="y")
    assert read(made, Hiding())["Fields"] == {"open": "y"}
    formatter = MozlogFormatter()
    assert read(made, formatter)["Fields"] == {"secret": "x", "open": "y"}
    monkeypatch.setattr(
        MozlogFormatter, "EXCLUDED_LOGRECORD_ATTRS", {*MozlogFormatter.EXCLUDED_LOGRECORD_ATTRS}
    )
    MozlogFormatter.EXCLUDED_LOGRECORD_ATTRS.add("open")
    assert read(made, formatter)["Fields"] == {"secret": "x"}


def test_class_attributes():
    assert MozlogFormatter.LOGGING_FORMAT_VERSION == "2.0"
    assert MozlogFormatter.SYSLOG_LEVEL_MAP == {50: 2, 40: 3, 30: 4, 20: 6, 10: 7}
    assert MozlogFormatter.DEFAULT_SYSLOG_LEVEL == 7
    plain = logging.LogRecord("app", 20, "", 1, "", (), None)
    assert set(plain.__dict__) <= MozlogFormatter.EXCLUDED_LOGRECORD_ATTRS
    assert module.request_id_context is _request_id.request_id_context
    assert module.get_request_id is _request_id.get_request_id
    assert module.get_or_generate_request_id is _request_id.get_or_generate_request_id


def test_jsonlike():
    formatter = MozlogFormatter()
    assert formatter.is_value_jsonlike('{"a": 1}')
    assert not formatter.is_value_jsonlike("a {b}.")
    assert not formatter.is_value_jsonlike(None)

    class Own(MozlogFormatter):
        def is_value_jsonlike(self, value):
            return super().is_value_jsonlike(value) or value == "drop"

    for message in ('{"a": 1}', "drop"):
        assert read(record(message, n=1), Own())["Fields"] == {"n": 1}
        assert read(record(message, n=1))["Fields"] == {"n": 1, "msg": message}
    assert read(record("keep", x="{}"), Own())["Fields"] == {"x": "{}", "msg": "keep"}
    assert "Fields" not in read(record(""), Own())


@pytest.mark.parametrize("base", [MozlogFormatter, TextFormatter, GoogleCloudFormatter])
def test_a_tracers_fields_are_written(base):
    """Tracers add them to each record, by a factory that may be there before us."""
    code = f"""
import logging
class Traced(logging.LogRecord):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.traceID = "abc"
logging.setLogRecordFactory(Traced)
from dockerflow.logging import *
handler = MozlogHandler()
handler.setFormatter({base.__name__}())
logging.basicConfig(handlers=[handler], level="INFO")
logging.info("m")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.search('traceID"?[:=]"?abc', done.stdout), done.stdout


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (10, 7), (20, 6), (30, 4), (40, 3), (50, 2),
        (5, 7), (0, 7), (-3, 7), (15, 6), (21, 6), (25, 5), (29, 4), (31, 4), (35, 3), (45, 2),
        (60, 2), (10**30, 2), (25.0, 5), (float("nan"), 7), ("x", 7), (None, 7), ([], 7),
    ],
)  # fmt: skip
def test_severity(level, severity):
    assert read(record(levelno=level))["Severity"] == severity


def test_severity_map_of_a_subclass():
    class Own(MozlogFormatter):
        SYSLOG_LEVEL_MAP = {**MozlogFormatter.SYSLOG_LEVEL_MAP, 60: 0, 70: "x", 80: 2**70}
        DEFAULT_SYSLOG_LEVEL = 5

    assert read(record(levelno=60), Own())["Severity"] == 0
    assert read(record(levelno=70), Own())["Severity"] == 7
    assert read(record(levelno=80), Own())["Severity"] == 7
    assert read(record(levelno=1), Own())["Severity"] == 5


@pytest.mark.parametrize("how", ["attributes", "override"])
def test_a_subclass_with_another_scale(how):
    """Google Cloud's numbers, for example: they are written as they are."""

    class Attributes(MozlogFormatter):
        SYSLOG_LEVEL_MAP = {50: 600, 40: 500, 30: 400, 20: 200, 10: 100}
        DEFAULT_SYSLOG_LEVEL = 0

    class Override(MozlogFormatter):
        def convert_record(self, record):
            severity = Attributes.SYSLOG_LEVEL_MAP.get(record.levelno, 0)
            return {**super().convert_record(record), "Severity": severity}

    formatter = Attributes() if how == "attributes" else Override()
    written = {
        level: parse(formatter.format(record(levelno=level)))["Severity"]
        for level in (50, 40, 30, 20, 10, 1)
    }
    assert written == {50: 600, 40: 500, 30: 400, 20: 200, 10: 100, 1: 0}


@pytest.mark.parametrize("created", [float("nan"), float("inf"), 1e300, -1e250, 9.3e9, "x", None])
def test_senseless_time(created):
    out = check(parse(MozlogFormatter().format(record(created=created))))
    assert out["Timestamp"] > 10**18


@pytest.mark.parametrize("process", [None, "x", 2**31, -1, True])
def test_senseless_process(process):
    assert read(record(process=process))["Pid"] == os.getpid()


def test_odd_names():
    assert read(record(name=7))["Type"] == "7"
    assert read(record(name="a\ud800"))["Type"] == "a\\ud800"
    assert read(record(logger_name=Broken()))["Logger"].startswith("<unprintable")


# --- the name of the app -------------------------------------------------------------------------


def test_logger_name():
    class Own(MozlogFormatter):
        logger_name = "own"

    assert read(record(), MozlogFormatter(logger_name="a"))["Logger"] == "a"
    assert read(record(), MozlogFormatter(None, None, "%", "a"))["Logger"] == "a"
    assert read(record(), Own())["Logger"] == "own"
    assert read(record(), Own(logger_name="a"))["Logger"] == "a"
    assert read(record(logger_name="handler"), Own())["Logger"] == "handler"
    assert read(record(logger_name="Dockerflow"), Own())["Logger"] == "own"


# --- fields --------------------------------------------------------------------------------------


def test_no_fields():
    assert "Fields" not in read(record())
    assert "Fields" not in read(record(lang=None, taskName=None))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", ""), (0, 0), (True, True), (False, False), (-0.0, -0.0), (1.5, 1.5),
        # objects
        ({"a": 1, "b": None}, {"a": 1}),
        ({"a": {"b": {"c": 1}}, "d": 2}, {"a.b.c": 1, "d": 2}),
        ({"a.b": 1, "a": {"b": 2}}, {"a.b": 1, "a.b_": 2}),
        ({"a": {}, "b": []}, {"a": "{}", "b": "[]"}),
        ({}, "{}"), ({"a": None}, "{}"), ({"a": {"b": None}}, "{}"),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.OrderedDict(b=1, a=[{"c": 1}]), {"b": 1, "a": ['{"c":1}']}),
        ({1: 1, "1": 2, (1, 2): 3, None: 4, b"\xff": 5, "\ud800": 6},
         {"1": 1, "1_": 2, "(1, 2)": 3, "None": 4, "\\xff": 5, "\\ud800": 6}),
        # arrays
        ([], "[]"), ((), "[]"), (set(), "[]"),
        ([1, 2.5], [1, 2.5]), (("a", "b"), ["a", "b"]), ([True, False], [True, False]),
        ([1, True], ["1", "true"]), ([1, None], ["1", "null"]), ([None], ["null"]),
        ([1, "a", 2.5, [1, "é"], {"k": None}], ["1", "a", "2.5", '[1,"é"]', '{"k":null}']),
        ([[1], [2]], ["[1]", "[2]"]),
        ({30, 1, 2}, [1, 2, 30]), (frozenset("cab"), ["a", "b", "c"]),
        (collections.deque([1]), [1]),
        ([1.0, float("nan")], ["1.0", "NaN"]),
        # numbers
        (float("nan"), "NaN"), (float("inf"), "Infinity"), (float("-inf"), "-Infinity"),
        (2**63 - 1, 2**63 - 1), (2**63, str(2**63)), (-(2**63), -(2**63)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        (enum.IntEnum("E", {"A": 3}).A, 3), (decimal.Decimal("1.10"), "1.10"),
        (1e16, 1e16), (1e-7, 1e-7), (5e-324, 5e-324), (1.7976931348623157e308, 1.7976931348623157e308),
        # texts
        (b"a\xff", "a\\xff"), (bytearray(b"\xc3\xa9"), "é"), (memoryview(b"a"), "a"),
        ("a\ud800b", "a\\ud800b"), ("\U0001f600", "\U0001f600"), ('\0\x1f\x7f"\\/\n\r', '\0\x1f\x7f"\\/\n\r'),
        ("\x85\u2028\u2029", "\x85\u2028\u2029"),
        (enum.StrEnum("S", {"A": "é"}).A, "é"),
        (dt.datetime(2020, 1, 2, 3, 4, 5), "2020-01-02T03:04:05"),
        (dt.date(2020, 1, 2), "2020-01-02"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (ValueError("x"), "ValueError('x')"),
        (Broken(), "<unprintable Broken object>"), (BrokenExit(), "<unprintable BrokenExit object>"),
    ],
)  # fmt: skip
def test_field(value, expected):
    got = field(value)
    assert got == expected
    assert repr(got) == repr(expected)


def test_huge_integer():
    assert field(10**5000) == hex(10**5000)


def test_keys_of_fields():
    made = record()
    made.__dict__.update({1: "a", "1": "b", (1, 2): "c", "é": "d", "\ud800": "e", "": "f"})
    assert read(made)["Fields"] == {
        "1": "a", "1_": "b", "(1, 2)": "c", "é": "d", "\\ud800": "e", "": "f",
    }  # fmt: skip


def test_cycles():
    items: list = [1]
    items.append(items)
    assert field(items) == ["1", "[Circular]"]
    mapping: dict = {"a": 1}
    mapping["self"] = mapping
    mapping["in"] = {"deep": [mapping]}
    assert field(mapping) == {"a": 1, "self": "[Circular]", "in.deep": ["[Circular]"]}
    shared = [1]
    assert field({"a": shared, "b": shared}) == {"a": [1], "b": [1]}


def test_depth_is_bounded():
    deep: dict = {}
    for _ in range(100_000):
        deep = {"a": deep}
    assert field(deep) == {".".join("a" * 16): "[Truncated]"}
    nested: list = []
    for _ in range(100_000):
        nested = [nested]
    assert "[Truncated]" in field(nested)[0]
    while deep:  # one by one: freeing so deep a thing at once is hard on some interpreters
        deep = deep["a"]


def test_size_is_bounded():
    wide: list = [0]
    for _ in range(14):
        wide = [wide] * 10
    assert "[Truncated]" in MozlogFormatter().format(record(x=wide))

    class Endless(list):
        def __iter__(self):
            while True:
                yield 1

    got = field(Endless())
    assert got[-1] == "[Truncated]"


def test_containers_that_fail():
    class Bad(dict):
        def items(self):
            raise RuntimeError

        def __repr__(self):
            return "bad"

    class Worse(collections.abc.Mapping):
        def __getitem__(self, key):
            raise RuntimeError

        def __iter__(self):
            return iter("ab")

        def __len__(self):
            return 2

        __repr__ = __getitem__

    class Pretends:
        @property
        def __class__(self):
            raise RuntimeError

    assert field(Bad(a=1)) == "bad"
    assert field(Worse()) == "<unprintable Worse object>"
    assert "Pretends" in field(Pretends())


def test_broken_metaclass():
    class Meta(type):
        def __getattribute__(cls, name):
            raise RuntimeError

    class Odd(metaclass=Meta):
        __repr__ = Broken.__repr__

    assert "unprintable" in field(Odd())


class Proxy:
    """A wrapped method, as agents put in place of one."""

    def __call__(self):
        return "x"


def test_a_getmessage_of_the_records_own_is_no_field():
    """New Relic's agent puts a wrapped method on each record."""
    record = logging.makeLogRecord({"msg": "x"})
    record.getMessage = Proxy()
    assert json.loads(MozlogFormatter().format(record))["Fields"] == {"msg": "x"}


def test_functions_among_the_attributes_are_left_out():
    """New Relic leaves bound methods in records."""
    made = record("m", function=caught, built_in=len, kind=dict)
    made._original = made.getMessage
    made.getMessage = types.MethodType(lambda self: f"{self._original()}!", made)
    made.partial = functools.partial(len)
    assert read(made)["Fields"] == {"kind": "<class 'dict'>", "msg": "m!"}
    assert field([len]) == ["<built-in function len>"]


# --- messages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "fields"),
    [
        (record('{"a": 1}'), {"msg": '{"a": 1}'}),
        (record({"a": 1}), {"msg": "{'a': 1}"}),
        (record("%s %d", "a", "b"), {"msg": "%s %d", "args": ["a", "b"]}),
        (record("%(a)s", 1), {"msg": "%(a)s", "args": [1]}),
        (record("%(b)s", {"a": {"c": 1}}), {"msg": "%(b)s", "args": {"a.c": 1}}),
        (record("%s", Broken()), {"msg": "%s", "args": ["<unprintable Broken object>"]}),
        (record("no place", 1), {"msg": "no place", "args": [1]}),
        (record("100%"), {"msg": "100%"}),
        (record(b"\xffa"), {"msg": "\\xffa"}),
        (record("\ud800"), {"msg": "\\ud800"}),
        (record(Broken()), {"msg": "<unprintable Broken object>"}),
        (record(None), {"msg": "None"}),
        (record("", a=1), {"a": 1}),
    ],
)
def test_message(made, fields):
    assert read(made)["Fields"] == fields


def test_field_called_msg():
    class Own(MozlogFormatter):
        EXCLUDED_LOGRECORD_ATTRS = MozlogFormatter.EXCLUDED_LOGRECORD_ATTRS - {"msg"}

    assert read(record("a %s", 1), Own())["Fields"] == {"msg": "a 1", "msg_": "a %s"}


def test_fields_named_as_the_formatters():
    info = caught(lambda: 1 / 0)
    fields = read(record("m", exc_info=info, error="mine", traceback=1, error_=2))["Fields"]
    assert fields["error"].startswith("ZeroDivisionError")
    assert fields["error_"] == 2
    assert fields["error__"] == "mine"
    assert fields["traceback_"] == 1


def test_names_that_the_line_does_not_have_are_free():
    """The standard library refuses those of a record's attributes itself."""
    own = {"error": "a", "rid": "b", "stack": "c", "truncated": 1, "dropped": 2}
    assert read(record("m", **own))["Fields"] == {"msg": "m", **own}
    with pytest.raises(KeyError, match="msg"):
        logging.getLogger("app").error("m", extra=dict.fromkeys(["msg"]))


# --- exceptions ----------------------------------------------------------------------------------


def test_exception():
    def fail():
        raise ValueError("a\nforged line\x1b[31m é")

    fields = read(record("m", exc_info=caught(fail)))["Fields"]
    assert fields["error"] == repr(ValueError("a\nforged line\x1b[31m é"))
    lines = fields["traceback"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: a\\nforged line\\x1b[31m é"
    assert any("in fail" in line for line in lines)


def test_exc_info_with_nothing_in_flight():
    [line] = lines_of(lambda logger: logger.error("m", exc_info=True))
    assert line["Fields"] == {"msg": "m"}


@pytest.mark.parametrize("info", [True, 1, "junk", (1, 2), (None, None, None), (), [1]])
def test_junk_exc_info(info):
    assert read(record("m", exc_info=info))["Fields"] == {"msg": "m"}


def test_odd_exc_info():
    exc = ValueError("x")
    assert read(record("m", exc_info=exc))["Fields"]["traceback"] == "ValueError: x\n"
    fields = read(record("m", exc_info=(ValueError, None, None)))["Fields"]
    assert fields["error"] == "<class 'ValueError'>"
    assert read(record("m", exc_info=(1, 2, 3)))["Fields"]["error"] == "2"


def test_exc_text_of_another_process():
    fields = read(record("m", exc_text="Traceback\nValueError: x\n"))["Fields"]
    assert fields == {
        "msg": "m",
        "error": "ValueError: x",
        "traceback": "Traceback\nValueError: x\n",
    }


def test_chain_notes_and_groups():
    def fail():
        try:
            try:
                raise KeyError("first")
            except KeyError as error:
                raise ValueError("second") from error
        except ValueError:
            try:
                raise TypeError("third")
            except TypeError as error:
                error.add_note("a note\nforged")
                raise ExceptionGroup("group", [error, OSError("fourth")])  # noqa: B904

    text = read(record("m", exc_info=caught(fail)))["Fields"]["traceback"]
    for part in ("KeyError: 'first'", "ValueError: second", "TypeError: third", "OSError: fourth",
                 "a note\\nforged", "ExceptionGroup: group (2 sub-exceptions)",
                 "direct cause", "During handling"):  # fmt: skip
        assert part in text, part
    assert text.index("'first'") < text.index("second")


def test_suppressed_context():
    def fail():
        try:
            raise KeyError("hidden")
        except KeyError:
            raise ValueError("shown") from None

    text = safer_format_traceback(*caught(fail))
    assert "hidden" not in text
    assert "shown" in text


def test_exceptions_without_end():
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    text = safer_format_traceback(ValueError, one, None)
    assert text.count("ValueError: one") == text.count("ValueError: two") == 1
    chain = ValueError("0")
    for number in range(1, 5000):
        following = ValueError(str(number))
        following.__cause__ = chain
        chain = following
    text = safer_format_traceback(ValueError, chain, None)
    assert "ValueError: 4999" in text
    assert "[Truncated]" in text
    group = ExceptionGroup("g", [ValueError(str(n)) for n in range(1000)])
    for _ in range(100):
        group = ExceptionGroup("g", [group])
    assert len(safer_format_traceback(type(group), group, None)) < 100_000
    text = safer_format_traceback(ValueError, ValueError("long" * 100_000), None)
    assert len(text) < 100_000


def test_broken_exceptions():
    class Bad(Exception):  # noqa: N818
        def __str__(self):
            raise RuntimeError

        __repr__ = __str__

    fields = read(record("m", exc_info=caught(lambda: (_ for _ in ()).throw(Bad()))))["Fields"]
    assert fields["error"] == "<unprintable Bad object>"
    assert fields["traceback"].endswith("Bad: <exception str() failed>\n")

    class Worse(Bad):
        @property
        def __cause__(self):
            raise RuntimeError

    assert "unprintable" in safer_format_traceback(Worse, Worse(), None)
    assert safer_format_traceback(None, None, None) == ""


def test_deep_recursion():
    def fail():
        fail()

    info = caught(fail)
    assert info[0] is RecursionError
    text = read(record("m", exc_info=info))["Fields"]["traceback"]
    assert "RecursionError" in text
    assert len(text) < 100_000


def test_near_the_recursion_limit():
    formatter, lines = MozlogFormatter(), []

    def dive():
        try:
            dive()
        finally:
            lines.append(formatter.format(record("deep", x={"a": [1, {"b": 2}]})))

    # The innermost frames have no room for a call; the others must get their line.
    with pytest.raises(RecursionError):
        dive()
    assert len(lines) > 100
    for line in set(lines):
        assert parse(line)["Fields"]["msg"] in {"deep", "<unprintable record>"}


def test_stack():
    [line] = lines_of(lambda logger: logger.error("m", stack_info=True))
    assert "test_stack" in line["Fields"]["stack"]


# --- overrides of convert_record -----------------------------------------------------------------


def test_override():
    class Own(MozlogFormatter):
        def convert_record(self, record):
            out = super().convert_record(record)
            out["Fields"]["when"] = dt.date(2020, 1, 2)
            out["extra"] = {"a": {"b": float("nan")}}
            out["nothing"] = None
            del out["Hostname"]
            return out

    out = parse(Own().format(record()))
    assert out["Fields"] == {"when": "2020-01-02"}
    assert out["extra"] == {"a.b": "NaN"}
    assert "nothing" not in out
    assert "Hostname" not in out


def test_override_whose_fields_are_not_its_own():
    shared = {"a": 1, "text": "x" * 3000}

    class Own(MozlogFormatter):
        def convert_record(self, record):
            return {"Fields": self.fields}

    formatter = Own(max_bytes=1024)
    formatter.fields = types.MappingProxyType(shared)
    assert parse(formatter.format(record()))["Fields"]["a"] == 1
    formatter.fields = shared
    assert parse(formatter.format(record()))["Fields"]["truncated"] > 3000
    assert shared == {"a": 1, "text": "x" * 3000}


def test_override_with_odd_values():
    class Own(MozlogFormatter):
        def convert_record(self, record):
            return {
                "Timestamp": None, "Type": 3, "Logger": b"l", "Hostname": Broken(),
                "EnvVersion": "x", "Severity": "x", "Pid": "x", "Fields": [1, 2],
            }  # fmt: skip

    out = read(record(level=40), Own())
    assert (out["Type"], out["Logger"], out["EnvVersion"]) == ("3", "l", "2.0")
    assert (out["Severity"], out["Pid"]) == (3, os.getpid())
    assert out["Fields"] == {"Fields": [1, 2]}


@pytest.mark.parametrize("returned", [None, [], "x", 1, Broken()])
def test_override_that_returns_no_dict(returned):
    class Own(MozlogFormatter):
        def convert_record(self, record):
            return returned

    fields = read(record("m", a=1), Own())["Fields"]
    assert fields["msg"] == "m"
    assert fields["a"] == 1
    assert fields["logging_error"].startswith("convert_record returned")


def test_override_that_raises():
    class Own(MozlogFormatter):
        def convert_record(self, record):
            raise KeyError("gone")

    fields = read(record("m", a=1, logging_error="mine"), Own())["Fields"]
    assert fields == {
        "a": 1,
        "msg": "m",
        "logging_error": "mine",
        "logging_error_": "KeyError('gone')",
    }


def test_last_resort():
    made = record("the %s", "text")
    del made.process, made.stack_info, made.levelno
    out = parse(MozlogFormatter().format(made))
    assert out["Fields"]["msg"] == "the %s"
    assert "text" in out["Fields"]["args"]
    assert out["Type"] == "app"
    parse(MozlogFormatter().format(None))  # type: ignore[arg-type]

    class Odd(logging.LogRecord):
        def __getattribute__(self, name):
            raise RuntimeError

    line = MozlogFormatter().format(Odd.__new__(Odd))
    assert "unprintable" in parse(line)["Fields"]["msg"]


# --- the alias and the encoder -------------------------------------------------------------------


def test_json_log_formatter():
    with pytest.warns(DeprecationWarning, match="MozlogFormatter"):
        formatter = JsonLogFormatter(logger_name="old")
    assert isinstance(formatter, MozlogFormatter)
    assert read(record(), formatter)["Logger"] == "old"


def test_encoder():
    value = {(1, 2): float("nan"), "b": b"\xff", "n": None, "d": {"e": {"f": Broken()}}}
    expected = {
        "(1, 2)": "NaN",
        "b": "\\xff",
        "n": None,
        "d": {"e": {"f": "<unprintable Broken object>"}},
    }
    assert json.loads(json.dumps(value, cls=SafeJSONEncoder)) == expected
    stream = io.StringIO()
    json.dump(value, stream, cls=SafeJSONEncoder)
    assert json.loads(stream.getvalue()) == expected
    assert json.loads(json.dumps("\ud800", cls=SafeJSONEncoder)) == "\\ud800"
    assert SafeJSONEncoder().default(1j) == "1j"


# --- generated records ---------------------------------------------------------------------------


TEXTS = [
    "", "a", "hello world", "é", "\ud800", "\U0001f600", "\n", "\r\n", "\0", "\u2028", '"', "\\",
    "{}", '{"a": 1}', "%s", "%d %s", "%(a)s", "\x7f", "\x85", "NaN", "null",
]  # fmt: skip
KEYS = ["a", "b", "user.id", "", "é", "\ud800", "error", "args_", "traceback", "stack", "rid",
        "t", "msg_", "Fields", "Severity", "x y", "\n", "lang", "status", "taskname"]  # fmt: skip
LEVELS = [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 100, -1]
OBJECTS = [Broken(), BrokenExit(), object(), len, ValueError("v"), uuid.UUID(int=5), 1j, range(3),
           decimal.Decimal("NaN"), dt.date(2020, 1, 1), float("nan"), float("inf"), -0.0,
           1e16, 1e-7, 2**63, -(2**63), 2**64, 10**30, b"\xff\x00", bytearray(b"a"), Ellipsis]  # fmt: skip
LOOP: list = [1]
LOOP.append({"loop": LOOP})


def random_value(rng, depth=0):  # noqa: PLR0911
    pick = rng.random()
    if pick < 0.3:
        return rng.choice(TEXTS)
    if pick < 0.45:
        return rng.randint(-(2**66), 2**66) >> rng.randint(0, 66)
    if pick < 0.55:
        return rng.choice([None, True, False])
    if pick < 0.65:
        return rng.uniform(-1, 1) * 10 ** rng.randint(-10, 20)
    if pick < 0.8 or depth > 3:
        return rng.choice(OBJECTS)
    if pick < 0.82:
        return LOOP
    size = rng.choice([0, 1, 2, 3])
    if pick < 0.9:
        return rng.choice([list, tuple, collections.deque])(
            random_value(rng, depth + 1) for _ in range(size)
        )
    keys = [*KEYS, 1, None, (1, "a"), b"\xff", 1.5, True]
    return {rng.choice(keys): random_value(rng, depth + 1) for _ in range(size)}


INFOS = [
    caught(lambda: 1 / 0),
    caught(lambda: {}["\ud800"]),
    (None, None, None),
    (ValueError, ExceptionGroup("g", [ValueError("a\nb")]), None),
    None,
]


def assert_written(made, extra):
    out = read(made)
    fields = out.get("Fields", {})
    assert "logging_error" not in fields
    for key, value in extra.items():
        name = key.encode("utf-8", "backslashreplace").decode()
        assert value is None or value is len or name in fields, (key, fields)
        if type(value) in (bool, int) and -(2**63) <= value < 2**63:
            taken = {name, name + "_", name + "__"}
            assert any(fields.get(one) == value for one in taken), (key, fields)


def test_random_records():
    rng = random.Random(20240607)
    for _ in range(EXAMPLES):
        extra = {rng.choice(KEYS): random_value(rng) for _ in range(rng.choice([0, 1, 1, 2, 3]))}
        args = tuple(random_value(rng, 3) for _ in range(rng.choice([0, 0, 0, 1, 2])))
        made = record(
            rng.choice(TEXTS) if rng.random() < 0.9 else random_value(rng, 3),
            *args,
            level=rng.choice(LEVELS),
            exc_info=rng.choice(INFOS) if rng.random() < 0.05 else None,
            sinfo="Stack" if rng.random() < 0.05 else None,
            **extra,
        )
        assert_written(made, extra)


characters = st.characters(codec=None)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(characters), st.binary(),
    st.datetimes(), st.decimals(), st.complex_numbers(), st.integers(0, len(OBJECTS) - 1).map(lambda index: OBJECTS[index]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner),
        st.dictionaries(st.one_of(st.text(characters), st.integers(), st.binary()), inner),
        st.frozensets(st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.binary())),
    ),
    max_leaves=12,
)
own = set(record().__dict__) | {"taskName", "message", "asctime", "logger_name"}


@settings(deadline=None)
@given(
    msg=values,
    args=st.lists(values, max_size=3),
    level=st.integers(-100, 200),
    extra=st.dictionaries(
        st.text(characters).filter(lambda key: key not in own), values, max_size=4
    ),
)
def test_any_record(msg, args, level, extra):
    made = record(msg, *args, level=level)
    made.__dict__.update(extra)
    assert_written(made, extra)


def test_thousands_of_keys_with_one_text_are_kept_without_delay() -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise ValueError

    value = {Unprintable(): number for number in range(5000)}
    record = logging.makeLogRecord({"msg": "", "value": value})
    started = time.process_time()
    fields = json.loads(MozlogFormatter().format(record))["Fields"]
    assert sorted(fields["value"].values()) == list(range(5000))
    assert time.process_time() - started < 5  # ten minutes, if each key tried those before it
