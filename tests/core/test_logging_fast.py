"""The short way through the formatter writes the lines of the long one."""

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerflow.logging import MozlogFormatter
from dockerflow.logging import _json as _log_json

texts = st.text(st.characters(max_codepoint=0x2100), max_size=20)
values = (
    texts
    | st.booleans()
    | st.none()
    | st.integers()
    | st.floats()
    | st.binary(max_size=4)
    | st.lists(st.integers(), max_size=3)
)


@pytest.mark.parametrize("has_orjson", [True, False])
@given(
    fields=st.dictionaries(texts.filter(bool), values, max_size=8),
    message=texts,
    level=st.integers(0, 60),
    name=texts,
)
def test_both_ways_write_the_same_line(has_orjson, fields, message, level, name):
    with pytest.MonkeyPatch.context() as patch:
        if not has_orjson:
            patch.setattr(_log_json, "fast_encoder", lambda: None)
            patch.setattr(_log_json, "strict_encoder", lambda: None)
        formatter = MozlogFormatter(logger_name="app")
        record = logging.makeLogRecord(
            {"msg": message, "levelno": level, "name": name, "created": 1.5, "process": 7}
        )
        for key, value in fields.items():
            record.__dict__.setdefault(key, value)
        assert formatter.format(record) == formatter._format(record)


@pytest.mark.parametrize("has_orjson", [True, False])
def test_the_short_way_is_taken_for_plain_records(monkeypatch, has_orjson):
    if not has_orjson:
        monkeypatch.setattr(_log_json, "strict_encoder", lambda: None)
    monkeypatch.setattr(MozlogFormatter, "_format", None)  # it would end in the last resort
    state = {"name": "a", "levelno": 20}
    for message in ({"msg": "plain"}, {"msg": "it is %s", "args": ("there",)}, {}):
        for extra in ({"rid": "1"}, {"code": 200, "path": "/", "is_new": True, "logger_name": "b"}):
            record = logging.makeLogRecord({**state, **message, **extra})
            assert "logging_error" not in MozlogFormatter().format(record)


def test_the_short_way_is_not_taken_past_an_override(monkeypatch):
    class Mine(MozlogFormatter):
        def convert_record(self, record):
            return {"Fields": {"mine": True}}

    class Hiding(MozlogFormatter):
        EXCLUDED_LOGRECORD_ATTRS = MozlogFormatter.EXCLUDED_LOGRECORD_ATTRS | {"secret"}

    record = logging.makeLogRecord({"name": "a", "levelno": 20, "secret": "x", "open": "y"})
    assert '"mine":true' in Mine().format(record)
    assert '"Fields":{"open":"y"}' in Hiding().format(record)

    class Careless(MozlogFormatter):
        def __init__(self):
            pass

    assert '"secret":"x"' in Careless().format(record)
    patched = MozlogFormatter()
    patched.convert_record = Mine().convert_record
    assert '"mine":true' in patched.format(record)
    assert '"secret":"x"' in MozlogFormatter().format(record)
    own = MozlogFormatter()
    own.EXCLUDED_LOGRECORD_ATTRS = Hiding.EXCLUDED_LOGRECORD_ATTRS
    own.LOGGING_FORMAT_VERSION = "3.0"
    assert '"EnvVersion":"3.0"' in own.format(record)
    assert '"Fields":{"open":"y"}' in own.format(record)
    later = MozlogFormatter()
    later.format(record)
    monkeypatch.setattr(
        MozlogFormatter, "EXCLUDED_LOGRECORD_ATTRS", Hiding.EXCLUDED_LOGRECORD_ATTRS
    )
    assert '"Fields":{"open":"y"}' in later.format(record)


@pytest.mark.parametrize("created", [-1.0, -1e250, 1e12, float("nan"), float("inf"), 9223372036.9])
def test_a_time_beyond_what_there_is_is_replaced(created):
    record = logging.makeLogRecord({"name": "a", "levelno": 20, "msg": "m"})
    record.created = created
    stamp = json.loads(MozlogFormatter().format(record))["Timestamp"]
    assert -(2**63) <= stamp < 2**63


def test_djangos_request_tells_the_id():
    from dockerflow._core.app import Core, Exchange
    from dockerflow._core.messages import Request
    from dockerflow.logging._handlers import add_context

    class Served:
        pass

    request = Served()
    request._dockerflow_exchange = Exchange(Core(), Request("GET", "/", "", {}))
    record = logging.makeLogRecord({"msg": "Not Found", "request": request})
    add_context(record)
    assert record.rid == request._dockerflow_exchange.rid

    class Hostile:
        def __getattr__(self, name):
            raise ValueError(name)

    record = logging.makeLogRecord({"msg": "Not Found", "request": Hostile()})
    add_context(record)
    assert not hasattr(record, "rid")
