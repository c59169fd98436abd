"""Reads lines of mozlog strictly, and makes the records that tests log."""

from __future__ import annotations

import json
import logging
import re
import sys
from urllib.parse import quote

import pytest

from dockerflow.logging import MozlogFormatter
from dockerflow.logging import _json as _log_json

LINE_ENDS = re.compile("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
INT64 = range(-(2**63), 2**63)

with pytest.MonkeyPatch.context() as patch:
    patch.setitem(sys.modules, "orjson", None)
    STANDARD_ENCODER = _log_json._find_encoder()


def unique(pairs):
    keys = [key for key, _ in pairs]
    assert len(keys) == len(set(keys)), f"a key twice: {keys}"
    return dict(pairs)


def no_constant(name):
    raise AssertionError(f"{name} is not JSON")


def parse(line):
    """Return what is in a line that any reader takes for one line of JSON."""
    assert not LINE_ENDS.search(line), "more than one line"
    line.encode()
    return json.loads(line, object_pairs_hook=unique, parse_constant=no_constant)


def error_in(summary):
    """Return the exception's text in the message of a summary, which begins as each does."""
    fields = vars(summary)
    begin = f"{fields['method']} {quote(fields['path'])} {fields['code']} {fields['t']} ms"
    message = summary.getMessage()
    assert message.startswith(begin), message
    return message.removeprefix(begin).removeprefix(": ")


def kind(value):
    if type(value) is bool:
        return "boolean"
    if type(value) is int:
        assert value in INT64
        return "number"
    if type(value) is float:
        return "number"
    assert type(value) is str, f"no scalar: {value!r}"
    value.encode()
    return "string"


def check_value(value, *, nested=False):
    if isinstance(value, list):
        assert value, "an empty array"
        assert len({kind(item) for item in value}) == 1, f"mixed array: {value}"
    elif isinstance(value, dict):
        assert not nested, "an object in an object"
        assert value, "an empty object"
        for item in value.values():
            check_value(item, nested=True)
    else:
        kind(value)


def check(out):
    """Return a line of mozlog, if it is one."""
    assert set(out) - {"Fields"} == {
        "Timestamp", "Type", "Logger", "Hostname", "EnvVersion", "Severity", "Pid",
    }  # fmt: skip
    assert type(out["Timestamp"]) is int
    assert out["Timestamp"] in INT64
    for key in ("Type", "Logger", "Hostname"):
        assert type(out[key]) is str
    assert re.fullmatch(r"\d+(?:\.\d+){0,2}", out["EnvVersion"])
    assert type(out["Severity"]) is int
    assert 0 <= out["Severity"] <= 7
    assert type(out["Pid"]) is int
    assert 0 <= out["Pid"] < 2**31
    if "Fields" in out:
        assert type(out["Fields"]) is dict
        assert out["Fields"]
        for value in out["Fields"].values():
            check_value(value)
    return out


def record(msg="", *args, name="app", level=logging.INFO, exc_info=None, sinfo=None, **extra):
    func = name if name == "request.summary" else "func"
    made = logging.LogRecord(name, level, "/srv/app.py", 7, msg, args, exc_info, func, sinfo)
    made.__dict__.update(extra)
    return made


def read(made, formatter=None):
    """Return what is in a record's line, whichever encoder there is."""
    formatter = formatter or MozlogFormatter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_log_json, "encode", STANDARD_ENCODER)
        check(parse(formatter.format(made)))
    return check(parse(formatter.format(made)))


def caught(raiser):
    try:
        raiser()
    except BaseException:
        return sys.exc_info()
    raise AssertionError
