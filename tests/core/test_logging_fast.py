"""The short way through the formatter writes the lines of the long one."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerflow import _log_json
from dockerflow.logging import MozlogFormatter

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
        formatter = MozlogFormatter(logger_name="app")
        record = logging.makeLogRecord(
            {"msg": message, "levelno": level, "name": name, "created": 1.5, "process": 7}
        )
        for key, value in fields.items():
            record.__dict__.setdefault(key, value)
        quick = formatter._quick(record)
        assert quick is None or quick == formatter._format(record)


def test_the_short_way_is_taken():
    plain = {"name": "a", "levelno": 20, "msg": "", "code": 200, "path": "/", "is_new": True}
    record = logging.makeLogRecord(plain)
    assert MozlogFormatter()._quick(record) is not None

    class Mine(MozlogFormatter):
        def convert_record(self, record):
            return super().convert_record(record)

    assert Mine()._quick(record) is None


def test_djangos_request_tells_the_id():
    from dockerflow._core import Core, Exchange
    from dockerflow._http import Request
    from dockerflow._log_handlers import add_context

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
