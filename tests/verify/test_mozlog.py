"""Lines are judged by the schema, and quickly, however many there are."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from verify_helpers import LINE

from dockerflow.verify import mozlog
from dockerflow.verify.evidence import Log


def judge(*lines: object) -> list[mozlog.Line]:
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return mozlog.judge(Log("x", texts))


def test_many_lines():
    started = time.monotonic()
    judged = judge(*[{**LINE, "Timestamp": n} for n in range(10_000)])
    assert time.monotonic() - started < 4
    assert len(judged) == 10_000
    assert not any(line.error for line in judged)
    assert all(line.error for line in judge(*[{**LINE, "Timestamp": "x"}] * 2000))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.sampled_from(
        [-(2**63) - 1, -(2**63), -(2**31) - 1, -(2**31), -1, 0, 7, 8, 2**31 - 1, 2**31, 2**63 - 1, 2**63]
    ) | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(["", "2.0", "2.x", "request.summary"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abt"), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
CHANGES = st.dictionaries(st.sampled_from([*LINE, "other"]), VALUES, max_size=2)


@settings(max_examples=40, deadline=None)
@given(st.lists(CHANGES, min_size=2, max_size=4), CHANGES)
def test_lines_of_one_shape_are_judged_alike(changes, fields):
    """What was learnt of one line must hold for the others that look the same."""
    lines = [{**LINE, **change} for change in changes]
    lines.append({**LINE, "Fields": {**LINE["Fields"], **fields}})
    together = judge(*lines, *reversed(lines))
    for line in together:
        assert bool(line.error) == bool(judge(line.content)[0].error)


@pytest.mark.parametrize(
    ("line", "is_mozlog"),
    [
        (b"", False),
        (b"hello", False),
        (b"[]", False),
        (b"{", False),
        (b"{'Timestamp': 1}", False),
        (b'{"Timestamp": 1', True),
        (b'{"Timestamp": NaN}', True),
        (b'{"level": "info"}', False),
        (b'{"Type": "x", "Pid": 1}', False),
        (b'{"Fields": {}}', True),
        (b"{" * 100_000, False),
        (b'{"Timestamp":' + b"[" * 100_000, True),
    ],
)
def test_what_a_line_is(line, is_mozlog):
    judged = judge(line)
    assert len(judged) == is_mozlog
    assert all(found.error for found in judged)
