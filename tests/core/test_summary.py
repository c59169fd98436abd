"""What a request.summary record says."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerflow._http import Request
from dockerflow._summary import Outcome, redact, summarise

REQUEST = Request("GET", "/a/é", "q=1&token=s3", {"user-agent": "UA", "accept-language": "de"})


def summary(outcome: Outcome, **options: Any) -> tuple[int, str, dict[str, Any]]:
    return summarise(REQUEST, outcome, **{"seconds": 0.0, "rid": "r", "extra": {}, **options})


def test_all_fields() -> None:
    assert summary(Outcome(200), seconds=1.2349) == (
        logging.INFO,
        "",
        {
            "agent": "UA",
            "code": 200,
            "errno": 0,
            "lang": "de",
            "method": "GET",
            "path": "/a/é",
            "rid": "r",
            "t": 1234,
            "uid": "",
        },
    )


def test_unknown_is_empty_never_none() -> None:
    _, _, fields = summarise(
        Request("GET", "/", "", {}), Outcome(200), seconds=0, rid="r", extra={}, querystring=True
    )
    assert (fields["agent"], fields["lang"], fields["uid"], fields["querystring"]) == ("",) * 4
    assert None not in fields.values()


class NoTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("outcome", "level", "message", "code", "errno"),
    [
        (Outcome(200), logging.INFO, "", 200, 0),
        (Outcome(404), logging.INFO, "", 404, 0),
        (Outcome(499), logging.INFO, "", 499, 0),
        (Outcome(500), logging.INFO, "", 500, 500),
        (Outcome(503), logging.INFO, "", 503, 503),
        (Outcome(503, ValueError("x")), logging.ERROR, "x", 503, 503),
        (Outcome(200, ValueError("x")), logging.ERROR, "x", 200, 500),
        (Outcome(None, ValueError("x")), logging.ERROR, "x", 500, 500),
        (Outcome(None, ValueError()), logging.ERROR, "ValueError", 500, 500),
        (Outcome(None, NoTextError()), logging.ERROR, "NoTextError", 500, 500),
        (Outcome(None, SystemExit(3)), logging.ERROR, "3", 500, 500),
        (Outcome(None), logging.INFO, "", 500, 500),
        (Outcome(None, client_gone=True), logging.INFO, "", 499, 0),
        (Outcome(200, client_gone=True), logging.INFO, "", 200, 0),
        (Outcome(None, asyncio.CancelledError()), logging.INFO, "", 499, 0),
        (Outcome(200, asyncio.CancelledError()), logging.INFO, "", 200, 0),
        (Outcome(None, GeneratorExit()), logging.INFO, "", 499, 0),
    ],
)
def test_outcomes(outcome: Outcome, level: int, message: str, code: int, errno: int) -> None:
    got_level, got_message, fields = summary(outcome)
    assert (got_level, got_message) == (level, message)
    assert (fields["code"], fields["errno"]) == (code, errno)


def test_extra_fields() -> None:
    extra = {"errno": 7, "uid": "u", "code": 1, "own": [1], 5: "five"}
    _, _, fields = summary(Outcome(404), extra=extra)
    assert (fields["errno"], fields["uid"], fields["own"], fields["5"]) == (7, "u", [1], "five")
    assert fields["code"] == 404, "the status that was really sent"
    assert summary(Outcome(503), extra={"errno": 7})[2]["errno"] == 7


def test_reserved_names() -> None:
    reserved = [*logging.makeLogRecord({}).__dict__, "message", "asctime"]
    _, _, fields = summary(Outcome(200), extra=dict.fromkeys(reserved, "x"))
    assert not set(fields) & set(reserved)
    assert all(fields[name + "_"] == "x" for name in reserved)
    # logging itself takes them
    logging.getLogger("t").makeRecord("t", 20, "f", 1, "", (), None, extra=fields)


def test_querystring() -> None:
    assert "querystring" not in summary(Outcome(200))[2]
    fields = summary(Outcome(200), querystring=True)[2]
    assert fields["querystring"] == "q=1&token=[redacted]"


@pytest.mark.parametrize(
    ("query", "redacted"),
    [
        ("", ""),
        ("a=1&b=2", "a=1&b=2"),
        ("password=x", "password=[redacted]"),
        ("PassWord=x&a=1", "PassWord=[redacted]&a=1"),
        ("a=1;api_key=x;b", "a=1;api_key=[redacted];b"),
        ("pass%77ord=x", "pass%77ord=[redacted]"),
        ("access_token=a=b=c", "access_token=[redacted]"),
        ("token=", "token=[redacted]"),
        ("token", "token"),
        ("code=1&state=2", "code=[redacted]&state=2"),
        ("secret[]=1&secret[]=2", "secret[]=[redacted]&secret[]=[redacted]"),
        ("&&=&=x", "&&=&=x"),
        ("q=%ff%zz", "q=%ff%zz"),
    ],
)
def test_redact(query: str, redacted: str) -> None:
    assert redact(query) == redacted


@given(st.text(), st.text(st.characters(blacklist_characters="&;")))
def test_redact_any(query: str, value: str) -> None:
    redact(query)
    assert redact(f"a=1&session={value}&b=2") == "a=1&session=[redacted]&b=2"
