"""Request ids: which are accepted, and what is made in place of the others."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dockerflow._core.request_id import (
    choose_request_id,
    generate_request_id,
    get_or_generate_request_id,
    note_request,
    noted_request,
)
from dockerflow._core.settings import RequestSettings
from dockerflow.config import Config

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize("rid", ["a", "x" * 128, "XyzX", "trace/1;o=1", '{"a":1}'])
def test_accepted(rid):
    assert choose_request_id({"x-request-id": rid}, ["x-request-id"]) == rid


@pytest.mark.parametrize(
    "rid", ["", " ", "a b", "a\nb", "a\r\nX: y", "x" * 129, "x" * 10_000, "é", "\0"]
)
def test_replaced(rid):
    assert UUID4.fullmatch(choose_request_id({"x-request-id": rid}, ["x-request-id"]))


@pytest.mark.parametrize(("space", "accepted"), [(" \t", True), ("\n", False), ("\x0c", False)])
def test_only_what_http_takes_for_space_is_left_out(space, accepted):
    headers = {"x-request-id": f"{space}abc{space}"}
    assert (choose_request_id(headers, ["x-request-id"]) == "abc") is accepted


def test_every_bit_that_may_be_random_is():
    made = [generate_request_id() for _ in range(2000)]
    assert all(UUID4.fullmatch(rid) for rid in made)
    for position in range(36):
        digits = {rid[position] for rid in made}
        fixed = {8: "-", 13: "-", 14: "4", 18: "-", 19: "89ab", 23: "-"}
        assert digits == {*fixed.get(position, "0123456789abcdef")}, position
    # The two bits of the variant's digit are those of no other digit.
    for position in (17, 20):
        assert len({rid[position] + rid[19] for rid in made}) == 64


def test_an_exception_says_from_which_request_it_escaped():
    class RefusesError(Exception):
        def __getattribute__(self, name):
            raise RuntimeError(name)

    error = ValueError()
    assert noted_request(error) == (None, None)
    note_request(error, "rid-1", 7)
    assert noted_request(error) == ("rid-1", 7)
    note_request(RefusesError(), "rid-1", 7)
    for nothing in (RefusesError(), None, object()):
        assert noted_request(nothing) == (None, None)


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
@example("a\r\nSet-Cookie: b=c")
@example("a\n")
@example("a\r")
@example("a\x85b")
@example("a\u2028b")
def test_whatever_comes_an_id_is_visible_ascii(rid):
    answer = choose_request_id({"x-request-id": rid}, ["x-request-id"])
    assert re.fullmatch(r"[\x21-\x7e]{1,128}", answer)


def choose(rid, name="x-request-id", **config):
    settings = RequestSettings(Config(**config))
    headers = {} if rid is None else {name: rid}
    return choose_request_id(
        headers, settings.id_headers, settings.accepts_id, settings.generate_id
    )


def test_without_functions_of_the_app():
    assert choose("abc") == "abc"
    assert UUID4.fullmatch(choose("a b"))
    assert UUID4.fullmatch(choose(None))


def test_the_apps_validator_and_generator():
    seen = []

    def validate(rid):
        seen.append(rid)
        return rid in ("good", TRACE)

    own = {"request_id_validator": validate, "request_id_generator": lambda: "made"}
    assert [choose(rid, **own) for rid in ("good", "bad", "a b", "", None)] == [
        "good", "made", "made", "made", "made",
    ]  # fmt: skip
    assert seen == ["good", "bad"]
    trace = {"name": "traceparent", "request_id_header_name": "traceparent"}
    assert choose(f"00-{TRACE}-00f067aa0ba902b7-01", **trace, **own) == TRACE
    assert choose(f"00-{TRACE[::-1]}-00f067aa0ba902b7-01", **trace, **own) == "made"


@pytest.mark.parametrize("made", ["", "a b", "a\r\nb: c", "x" * 129, "é", None, 5, b"abc"])
def test_what_is_no_id_is_made_again_by_ours(made, caplog):
    settings = RequestSettings(Config(request_id_generator=lambda: made))
    assert UUID4.fullmatch(settings.generate_id())
    assert UUID4.fullmatch(settings.generate_id())
    [record] = caplog.records
    assert record.getMessage() == "request_id_generator failed; this is logged once"
    assert str(record.exc_info[1]) == (
        f"{made!r} is not a string of 1 to 128 visible ASCII characters"
    )


@pytest.mark.parametrize("error", [ValueError("100% broken"), SystemExit(1)])
def test_a_validator_that_raises_refuses_and_is_logged_once(error, caplog):
    def validate(rid):
        if rid != "good":
            raise error
        return True

    settings = RequestSettings(Config(request_id_validator=validate))
    assert [bool(settings.accepts_id(rid)) for rid in ("good", "bad", "bad", "good")] == [
        True, False, False, True,
    ]  # fmt: skip
    [record] = caplog.records
    assert record.name == "dockerflow"
    assert record.getMessage() == "request_id_validator failed; this is logged once"
    assert record.exc_info[1] is error


def test_interruptions_are_not_failures():
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        choose("abc", request_id_validator=interrupt)
    with pytest.raises(KeyboardInterrupt):
        choose(None, request_id_generator=interrupt)
