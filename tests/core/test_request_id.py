"""Request ids: which are accepted, and what is made in place of the others."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerflow._request_id import choose_request_id, get_or_generate_request_id

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize("rid", ["a", "x" * 128, "trace/1;o=1", '{"a":1}'])
def test_accepted(rid):
    assert choose_request_id({"x-request-id": rid}, ["x-request-id"]) == rid


@pytest.mark.parametrize(
    "rid", ["", " ", "a b", "a\nb", "a\r\nX: y", "x" * 129, "x" * 10_000, "é", "\0"]
)
def test_replaced(rid):
    assert UUID4.fullmatch(choose_request_id({"x-request-id": rid}, ["x-request-id"]))


def test_the_first_acceptable_header_counts():
    headers = {"a": "bad one", "b": "good", "c": "late"}
    assert choose_request_id(headers, ["missing", "a", "b", "c"]) == "good"


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", True),
        (f"01-{TRACE}-00f067aa0ba902b7-01-later", True),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", False),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        ("abc", False),
    ],
)
def test_traceparent_gives_its_trace_id(value, accepted):
    assert (choose_request_id({"traceparent": value}, ["traceparent"]) == TRACE) is accepted


def test_get_or_generate_reads_names_in_any_case():
    assert get_or_generate_request_id({"X-REQUEST-id": "abc"}) == "abc"
    assert get_or_generate_request_id({"x-other": "abc"}, "X-Other") == "abc"
    assert get_or_generate_request_id({"x-other": "abc"}, ["A", "X-Other"]) == "abc"
    assert UUID4.fullmatch(get_or_generate_request_id({}))


@given(st.text())
def test_whatever_comes_an_id_is_visible_ascii(rid):
    answer = choose_request_id({"x-request-id": rid}, ["x-request-id"])
    assert re.fullmatch(r"[\x21-\x7e]{1,128}", answer)
