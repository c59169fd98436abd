"""What a request.summary record says."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
import time
import types
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerflow._core.exchange import Exchange
from dockerflow._core.messages import Request
from dockerflow._core.settings import RequestSettings
from dockerflow._core.summary import Outcome, redact, summarise, summary_text
from dockerflow.asgi import DockerflowMiddleware
from dockerflow.config import Config
from dockerflow.logging import MozlogFormatter

REQUEST = Request("GET", "/a/é", "q=1&token=s3", {"user-agent": "UA", "accept-language": "de"})


def summary(
    outcome: Outcome, request: Request = REQUEST, **given: Any
) -> tuple[int, str, dict[str, Any]]:
    names = {row.name for row in Config.table()}
    config = Config(**{name: value for name, value in given.items() if name in names})
    options = {"seconds": 0.0, "rid": "r", "extra": {}}
    options |= {name: value for name, value in given.items() if name not in names}
    return summarise(request, outcome, config, **options)


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
    empty = Request("GET", "/", "", {})
    _, _, fields = summary(Outcome(200), empty, summary_log_querystring=True)
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
        (Outcome(None, SystemExit(1)), logging.ERROR, "SystemExit", 500, 500),
        (Outcome(None, SystemExit("no config")), logging.ERROR, "no config", 500, 500),
        (Outcome(None), logging.INFO, "", 500, 500),
        (Outcome(None, client_gone=True), logging.INFO, "", 499, 0),
        (Outcome(None, ValueError("x"), client_gone=True), logging.INFO, "", 499, 0),
        (Outcome(None, client_gone=True, handled=ValueError("x")), logging.INFO, "", 499, 0),
        (Outcome(200, client_gone=True), logging.INFO, "", 200, 0),
        (Outcome(200, ValueError("x"), client_gone=True), logging.ERROR, "x", 200, 500),
        (Outcome(None, asyncio.CancelledError()), logging.INFO, "", 499, 0),
        (Outcome(200, asyncio.CancelledError()), logging.INFO, "", 200, 0),
        (Outcome(None, GeneratorExit()), logging.INFO, "", 499, 0),
    ],
)
def test_outcomes(outcome: Outcome, level: int, message: str, code: int, errno: int) -> None:
    got_level, got_message, fields = summary(outcome)
    assert (got_level, got_message) == (level, message)
    assert (fields["code"], fields["errno"]) == (code, errno)


def test_an_outcome_is_a_status_until_more_is_known() -> None:
    outcome = Outcome(204)
    assert (outcome.status, outcome.exception, outcome.handled) == (204, None, None)
    assert outcome.client_gone is False
    escaped, handled = ValueError("escaped"), ValueError("handled")
    assert summary(Outcome(200, escaped))[1] == "escaped"
    assert summary(Outcome(500, handled=handled))[1] == "handled"
    assert summary(Outcome(None, client_gone=True))[2]["code"] == 499


def test_text_for_people() -> None:
    fields = summary(Outcome(200), seconds=0.0061)[2]
    assert summary_text(fields) == "GET /a/%C3%A9 200 6 ms"
    assert summary_text(fields | {"t": NoTextError()}) == "GET /a/%C3%A9 200 NoTextError ms"
    assert summary_text({}) == "- - - - ms"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/a/b-c_d.~1;v=1,2:@!$&'()*+", "/a/b-c_d.~1;v=1,2:@!$&'()*+"),
        ("/50% off?#", "/50%%20off%3F%23"),
        ("/x 200 1 ms\nGET /forged", "/x%20200%201%20ms%0AGET%20/forged"),
        ("/\x1b[31m\r\u2028\ud800\x7f", "/%1B%5B31m%0D%E2%80%A8%ED%A0%80%7F"),
    ],
)
def test_no_path_forges_another_text(path: str, shown: str) -> None:
    assert (
        summary_text({"method": "GET", "path": path, "code": 200, "t": 6})
        == f"GET {shown} 200 6 ms"
    )


@pytest.mark.property
@given(st.text(), st.text(), st.text())
def test_a_text_is_one_line_with_its_parts_in_their_places(
    method: str, path: str, error: str
) -> None:
    text = summary_text({"method": method, "path": path, "code": 500, "t": 6}, error)
    assert text.isprintable()
    shown_method, shown_path, code, rest = text.split(" ", 3)
    assert (code, rest[:4]) == ("500", "6 ms")
    assert unquote(shown_method) == (unquote(method) or "-")
    assert unquote(shown_path) == (unquote(path) or "-")
    assert rest[4:] == (f": {error}" if error.isprintable() and error else rest[4:])
    assert bool(error) == rest[4:].startswith(": ")


def test_the_record_of_a_summary(summaries: list[logging.LogRecord]) -> None:
    """It has a message for any formatter, and names no file of the library as its module."""
    exchange = Exchange(RequestSettings(Config()), REQUEST)
    with pytest.raises(ValueError, match="100%"), exchange:
        raise ValueError("100% of\nit")
    [record] = summaries
    assert record.getMessage() == f"GET /a/%C3%A9 500 {vars(record)['t']} ms: 100% of\\nit"
    assert (record.module, record.funcName) == ("dockerflow", "request.summary")
    line = json.loads(MozlogFormatter().format(record))
    assert line["Fields"] == exchange.fields() | {
        "code": 500, "errno": 500, "msg": "100% of\nit", "t": vars(record)["t"],
    }  # fmt: skip


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


def test_a_field_that_is_none_is_left_out() -> None:
    extra = {"agent": None, "own": None, "lang": "de"}
    _, _, fields = summary(Outcome(200), extra=extra)
    assert "agent" not in fields
    assert "own" not in fields
    assert fields["lang"] == "de"


@pytest.mark.parametrize("route", [None, "", b"/x", 5, object()])
def test_a_route_that_is_no_text_is_left_out(route: Any) -> None:
    assert "route" not in summary(Outcome(200), route=route, summary_log_route=True)[2]
    assert summary(Outcome(200), route="/x", summary_log_route=True)[2]["route"] == "/x"
    assert "route" not in summary(Outcome(200), route="/x")[2]


def test_querystring() -> None:
    fields = summary(Outcome(200), summary_log_querystring=True, summary_redacted_keys=("q",))[2]
    assert fields["querystring"].startswith("q=[redacted]&token=")
    assert "[redacted]" not in fields["querystring"].partition("&")[2]
    assert "querystring" not in summary(Outcome(200))[2]
    fields = summary(Outcome(200), summary_log_querystring=True)[2]
    assert fields["querystring"] == "q=1&token=[redacted]"


REDACTED_PINS = (
    "otp=[redacted]&pin=[redacted]&user-pin=[redacted]&loginPin=[redacted]&smsOTP=[redacted]"
)


@pytest.mark.parametrize(
    ("query", "redacted"),
    [
        ("", ""),
        ("a=1&b=2", "a=1&b=2"),
        ("password=x", "password=[redacted]"),
        ("PassWord=x&a=1", "PassWord=[redacted]&a=1"),
        ("a=1;api_key=x;b", "a=1;api_key=[redacted];b"),
        ("pass%77ord=x", "password=[redacted]"),
        ("access_token=a=b=c", "access_token=[redacted]"),
        ("token=", "token=[redacted]"),
        ("token", "token"),
        ("code=1&state=2", "code=[redacted]&state=2"),
        ("secret[]=1&secret[]=2", "secret[]=[redacted]&secret[]=[redacted]"),
        ("&&=&=x", "&&=&=x"),
        ("q=caf%C3%A9+x%ff%zz", "q=café+x\ufffd%zz"),
        ("otp=1&%70in=2&user-pin=3&loginPin=4&smsOTP=5", REDACTED_PINS),
        ("shipping=1&hotplate=2&inside=3&state=4", "shipping=1&hotplate=2&inside=3&state=4"),
        ("bearer=1&nonce=2&csrfmiddlewaretoken=3", "bearer=[redacted]&nonce=[redacted]&csrfmiddlewaretoken=[redacted]"),
        ("client_assertion=1&SAMLResponse=2", "client_assertion=[redacted]&SAMLResponse=[redacted]"),
        ("apiKey=1&X-Amz-Signature=2&connect.sid=3", "apiKey=[redacted]&X-Amz-Signature=[redacted]&connect.sid=[redacted]"),
        ("token=a%26b%3Dc", "token=[redacted]"),
        ("token%3Dabc", "token=[redacted]"),
        ("a=1%26token%3D2&b=3", "a=1&token=[redacted]&b=3"),
        ("next=%2Flogin%3Ftoken%3Dabc%23x", "next=/login?token=[redacted]#x"),
        ("x=postgresql://u:pw@h/db", "x=postgresql://[redacted]@h/db"),
        ("x=postgresql%3A%2F%2Fu%3Ap%26%3F%2F%40w%40h", "x=postgresql://[redacted]@h"),
        ("x=https://secret@host/a@b", "x=https://[redacted]@host/a@b"),
        ("x=https://host/a@b&mail=me@example.org", "x=https://host/a@b&mail=me@example.org"),
    ],
)  # fmt: skip
def test_redact(query: str, redacted: str) -> None:
    assert redact(query) == redacted


@given(st.text(), st.text())
def test_redact_any(query: str, value: str) -> None:
    redact(query)
    assert redact(f"a=1&session={quote(value)}&b=2") == "a=1&session=[redacted]&b=2"
    url = quote(f"redis://user:{value}S3CRET{value}@host")
    assert "S3CRET" not in redact(f"url={url}&b=2")


@pytest.mark.parametrize(
    "part", ["a=://", "A", "aA", "=", "&", "a=&", "@", "x=//:@", "%", "a%3f", "?"]
)
def test_a_long_query_string_takes_no_longer_for_its_length(part: str) -> None:
    started = time.process_time()
    redact(part * 50_000)
    assert time.process_time() - started < 5  # minutes, if it weren't linear


def test_redacted_keys_by_setting() -> None:
    assert redact("pin=1&token=2", ("pin",)) == "pin=[redacted]&token=2"
    assert redact("token=2", ()) == "token=2"


def test_addresses() -> None:
    on = {"summary_log_addresses": True, "peer": "10.0.0.1"}
    assert summary(Outcome(200), **on)[2]["remoteAddressChain"] == ["10.0.0.1"]
    unknown = summary(Outcome(200), summary_log_addresses=True)[2]
    assert unknown["remoteAddressChain"] is None
    request = Request("GET", "/", "", {"x-forwarded-for": "1.2.3.4, ,5.6.7.8"})
    fields = summary(Outcome(200), request, **on)[2]
    assert fields["remoteAddressChain"] == ["1.2.3.4", "5.6.7.8", "10.0.0.1"]
    # A server that trusts the header makes an address in it the peer.
    fields = summary(Outcome(200), request, **on | {"peer": "1.2.3.4"})[2]
    assert fields["remoteAddressChain"] == ["1.2.3.4", "5.6.7.8"]


def test_no_personal_data() -> None:
    extra = {"uid": "u", "email": "e", "own": 1, "querystring": "email=e"}
    on = {"summary_log_addresses": True, "summary_log_querystring": True, "peer": "10.0.0.1"}
    fields = summary(Outcome(200), extra=extra, summary_personal_data=False, **on)[2]
    assert fields["own"] == 1
    assert not fields.keys() & {"uid", "email", "remoteAddressChain", "querystring"}


def served(
    config: Config, path: str = "/", status: int = 200, scope: dict[str, Any] | None = None
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["dockerflow.summary"]["late"] = lambda: "now"
        scope["dockerflow.summary"]["broken"] = lambda: 1 / 0
        scope["route"] = type("Route", (), {"path": "/{name}"})()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def nothing(message: Any = None) -> Any: ...

    scope = {"type": "http", "path": path, "method": "GET", "headers": [], **(scope or {})}
    asyncio.run(DockerflowMiddleware(app, config=config)(scope, nothing, nothing))


def test_the_route_is_there_by_setting_only(summaries: list[logging.LogRecord]) -> None:
    served(Config())
    served(Config(summary_log_route=True))
    first, second = (record.__dict__ for record in summaries)
    assert "route" not in first
    assert second["route"] == "/{name}"


def test_fields_from_functions(
    summaries: list[logging.LogRecord], caplog: pytest.LogCaptureFixture
) -> None:
    config = Config(summary_fields=lambda scope: {"tenant": scope["tenant"], "late": "early"})
    served(config, scope={"tenant": "t"})
    served(config)  # the function fails
    first, second = (record.__dict__ for record in summaries)
    assert (first["tenant"], first["late"]) == ("t", "now")
    assert second["late"] == "now"
    assert "tenant" not in second
    assert "broken" not in first
    texts = [record.getMessage() for record in caplog.records if record.name == "dockerflow"]
    assert "summary_fields failed" in texts
    assert "The field broken of a summary failed" in texts


def test_addresses_by_setting(summaries: list[logging.LogRecord]) -> None:
    scope = {"client": ("10.0.0.1", 1), "headers": [(b"x-forwarded-for", b"1.2.3.4")]}
    served(Config(), scope=scope)
    served(Config(summary_log_addresses=True), scope=scope)
    served(Config(summary_log_addresses=True, summary_personal_data=False), scope=scope)
    chains = [record.__dict__.get("remoteAddressChain") for record in summaries]
    assert chains == [None, ["1.2.3.4", "10.0.0.1"], None]


def test_sampling(summaries: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    shares = iter([0.2, 0.3, 0.9, 0.0])
    monkeypatch.setattr(random, "random", lambda: next(shares))
    config = Config(summary_sample_rate=0.25)
    for path in ("/a", "/b", "/c", "/d"):
        served(config, path)
    served(config, "/e", 404)
    served(config, "/f", 500)
    assert [record.__dict__["path"] for record in summaries] == ["/a", "/d", "/e", "/f"]


def test_summaries_are_hidden_from_sentry(
    monkeypatch: pytest.MonkeyPatch, summaries: list[Any]
) -> None:
    ignored: list[str] = []
    sdk = types.SimpleNamespace(ignore_logger=ignored.append)
    monkeypatch.setitem(sys.modules, "sentry_sdk.integrations.logging", sdk)
    served(Config(), status=500)
    assert not ignored

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError

    scope = {"type": "http", "path": "/", "method": "GET", "headers": []}
    with pytest.raises(ValueError, match="^$"):
        asyncio.run(DockerflowMiddleware(broken)(scope, None, None))  # type: ignore[arg-type]
    assert len(summaries) == 2
    assert ignored == ["request.summary"]
