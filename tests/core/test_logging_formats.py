"""Formats for others than mozlog's readers, the request's data, and the maximum length."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import sys
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_lines import record

from dockerflow._core.exchange import Exchange, current_exchange
from dockerflow._core.messages import Request
from dockerflow._core.settings import RequestSettings
from dockerflow._core.summary import RESERVED
from dockerflow.config import Config
from dockerflow.logging import GoogleCloudFormatter, MozlogFormatter, MozlogHandler, TextFormatter


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in os.environ:
        if name.startswith("DOCKERFLOW_") or name in {
            "NO_COLOR",
            "FORCE_COLOR",
            "TERM",
            "GOOGLE_CLOUD_PROJECT",
        }:
            monkeypatch.delenv(name)


# --- the request ---------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(headers=None, uid="", **settings):
    exchange = Exchange(RequestSettings(Config(**settings)), Request("GET", "/", "", headers or {}))
    exchange.rid = "r-1"
    exchange.extra["uid"] = uid
    exchange.enter()
    try:
        yield
    finally:
        exchange.leave()


def logged(msg="m", **extra):
    stream = io.StringIO()
    MozlogHandler(stream).emit(record(msg, **extra))
    return json.loads(stream.getvalue())["Fields"]


def test_request_and_user_on_every_line():
    assert logged() == {"msg": "m"}
    with serving(uid="u-1"):
        assert logged() == {"msg": "m", "rid": "r-1", "uid": "u-1"}
        assert logged(rid="own", uid="mine") == {"msg": "m", "rid": "own", "uid": "mine"}
    with serving():
        assert logged() == {"msg": "m", "rid": "r-1"}
    with serving(uid="u-1", summary_personal_data=False):
        assert logged() == {"msg": "m", "rid": "r-1"}
    with serving(uid=0):
        assert logged() == {"msg": "m", "rid": "r-1", "uid": 0}
    assert current_exchange.get() is None


# --- oversize ------------------------------------------------------------------------------------


@pytest.mark.parametrize("formatter", [MozlogFormatter, GoogleCloudFormatter, TextFormatter])
@pytest.mark.parametrize(
    "fields",
    [
        {"msg": "é" * 10_000},
        {"msg": "\x00\x1b" * 10_000, "a": "b"},
        {"msg": "m", "list": ["x" * 50] * 1000, "deep": {"a": {"b": "y" * 5000}}},
        {"msg": "m", **{f"key{n}": n for n in range(5000)}},
        {"msg": "m", "k" * 5000: 1},
        {"msg": "m", "truncated": 1, "x": "x" * 5000},
    ],
)  # fmt: skip
@pytest.mark.parametrize("limit", [1024, 4096])
def test_a_line_is_cut(formatter, fields, limit):
    fields = dict(fields)
    made = record(fields.pop("msg"), **fields)
    line = formatter(max_bytes=limit).format(made)
    assert len(line.encode()) + 1 <= limit
    if formatter is TextFormatter:
        assert "[Truncated]" in line
        return
    out = json.loads(line)
    inner = out.get("Fields", out)
    assert max(value for key, value in inner.items() if key.startswith("truncated")) > limit
    assert inner["msg" if "Fields" in out else "message"]
    assert len(line) > limit / 4 or len(fields) == 1
    whole = formatter(max_bytes=10**7).format(made)
    assert whole == formatter().format(made)


def test_long_names_are_cut():
    made = record("m", name="n" * 5000, logger_name="l" * 5000)
    out = json.loads(MozlogFormatter(max_bytes=1024).format(made))
    assert out["Fields"]["msg"] == "m"
    assert "[Truncated]" in out["Type"]


@pytest.mark.parametrize("value", [0, 1023, "4096", True, 1e6])
def test_wrong_max_bytes(value):
    with pytest.raises(ValueError, match="max_bytes must be"):
        MozlogFormatter(max_bytes=value)


# What a terminal takes for a command, or for the end of a line, or what changes the direction of
# the text after it.
UNSAFE = "".join(
    map(chr, (*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F),
              *range(0x2066, 0x206A)))
)  # fmt: skip


@pytest.mark.parametrize("formatter", [MozlogFormatter, GoogleCloudFormatter])
@pytest.mark.parametrize("char", UNSAFE)
def test_json_has_nothing_that_a_terminal_obeys(formatter, char):
    value = f"a{char}é"
    for limits in ({}, {"max_bytes": 1024}):
        line = formatter(**limits).format(record(value, name=value, **{value: "x"}))
        assert char not in line
        out = json.loads(line)
        assert value in out.values() or value in out["Fields"].values()
        assert out.get("Type", out.get("logger")) == value


@given(st.text(st.sampled_from([*UNSAFE, "a", "é", "漢", "\ud800", "\n"])), st.integers(1024, 3000))
def test_text_has_nothing_that_a_terminal_obeys(value, limit):
    error = ValueError(value)
    error.add_note(value)
    made = record(value * 100, name=value, exc_info=(ValueError, error, None), **{value: value})
    for use_colors in (False, True):
        line = TextFormatter(use_colors=use_colors).format(made)
        plain = re.sub("\x1b\\[[0-9;]*m", "", line) if use_colors else line
        assert not set(plain) & set(UNSAFE) - {"\n", "\t"}
        cut = TextFormatter(use_colors=use_colors, max_bytes=limit).format(made)
        assert len(cut.encode()) < limit
        assert cut == line or "\x1b" not in cut


@pytest.mark.parametrize("formatter", [MozlogFormatter, GoogleCloudFormatter, TextFormatter])
@pytest.mark.parametrize("other", ["é", "€", "\U0001f600", "\x9b", "\u202e"])
def test_a_long_line_takes_about_as_long_if_it_is_not_ascii(formatter, other):
    def seconds(text):
        made = record(text)
        return min(timeit.repeat(lambda: formatter().format(made), number=3, repeat=5))

    text = "a" * 60_000
    assert seconds(other + text) < 50 * seconds(text)  # it has been a thousandfold


# --- text ----------------------------------------------------------------------------------------


def text(made, **options):
    return TextFormatter(**options).format(made)


def test_text():
    line = text(record("paid\nnow\x1b[31m", name="app.orders", amount=1.5, who="a b", to="c"))
    first, second = line.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} INFO     app\.orders .*", first)
    assert first.endswith('paid amount=1.5 who="a b" to=c')
    assert second == r"    now\x1b[31m"
    columns = {text(record("m", name=name, x=1)).index("x=1") for name in ("a", "app.orders")}
    assert len(columns) == 1


def test_text_of_an_exception():
    try:
        raise ValueError("oh\nno")
    except ValueError:
        line = text(record("failed", exc_info=sys.exc_info(), n=1))
    first, *rest = line.splitlines()
    assert first.endswith("failed n=1")
    assert rest[0] == "    Traceback (most recent call last):"
    assert rest[-1] == r"    ValueError: oh\nno"


def test_text_of_a_summary():
    made = record(
        name="request.summary", method="GET", path="/a", code=200, t=12, rid="r", agent="", errno=0
    )
    assert text(made).split()[4:] == ["GET", "/a", "200", "12", "ms"]


def summary(path="/a", code=200, error="", method="GET", **extra):
    level = logging.ERROR if error else logging.INFO
    return record(
        name="request.summary", level=level, method=method, path=path, code=code, t=12,
        agent="Mozilla/5.0 " * 20, errno=0, lang="de,en;q=0.5", rid="r" * 36,
        **extra, **({"summary_error": error} if error else {}),
    )  # fmt: skip


def test_a_long_path_is_cut_in_the_middle():
    line = text(summary("/begin/" + "x" * 200 + "/end", uid=7))
    assert len(line) == 120
    assert re.search(r" GET /begin/x+…x+/end 200 12 ms uid=7$", line)


def test_a_long_method_is_cut():
    """As a client may send."""
    line = text(summary("/begin/" + "x" * 200 + "/end", method="M" * 60))
    assert len(line) == 120
    assert re.search(r" M{19}… /begin/x+…x+/end 200 12 ms$", line)
    assert text(summary(method="M" * 20)).endswith(" " + "M" * 20 + " /a 200 12 ms")


def test_fields_that_do_not_fit_are_left_out():
    line = text(summary("/begin/" + "x" * 200, uid="u" * 36, more="z" * 100))
    assert len(line) == 120
    assert re.search(r" GET /begin/x+…x+ 200 12 ms uid=u+…$", line)


def test_an_exceptions_text_is_never_cut():
    assert text(summary(code=500, error="boom")).endswith(" GET /a 500 12 ms: boom")
    first, second = text(summary("/" + "x" * 30, 500, "boom " * 20)).splitlines()
    assert first.endswith(" GET /" + "x" * 30 + " 500 12 ms")
    assert second.strip() == ("boom " * 20).strip()
    assert text(summary(code=500, error="a\nb")).splitlines()[1] == "    b"


@given(st.text(), st.integers(100, 599), st.dictionaries(st.text(), st.text(), max_size=4))
def test_a_summary_is_one_line_of_120_characters(path, code, extra):
    own = {key: value.replace("\n", "") for key, value in extra.items() if key not in RESERVED}
    line = text(
        summary(path, code) if set(own) & set(vars(summary())) else summary(path, code, **own)
    )
    assert len(line) <= 120
    assert len(line.splitlines()) == 1
    assert f" {code} 12 ms" in line


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("dockerflow.checks.registry", "…checks.registry"), ("a.b", "a.b"),
        ("a" * 20, "a" * 20), ("a." * 10, "a." * 10), ("a" * 21, "…" + "a" * 19), ("a." * 30, "…" + "a." * 9),
    ],
)  # fmt: skip
def test_names_stay_in_their_column(name, column):
    assert text(record("m", name=name))[33:] == f"{column:<20} m"


@pytest.mark.parametrize(
    ("code", "color"), [(204, 32), (302, 36), (404, 33), (500, 31), (100, None)]
)
def test_the_status_has_the_colour_of_its_class(code, color):
    shown = f"\x1b[{color}m{code}\x1b[0m" if color else f"{code}"
    assert f" /a {shown} 12 ms" in text(summary(code=code), use_colors=True)


def test_colours(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    assert "\x1b" not in text(record("m"))
    assert "\x1b[33m" in text(record("m", level=30), use_colors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", Terminal())
        assert "\x1b" in text(record("m"))
        assert "\x1b" not in text(record("m"), use_colors=False)
        patch.setenv("TERM", "dumb")
        assert "\x1b" not in text(record("m"))
        patch.setenv("FORCE_COLOR", "1")
        assert "\x1b" in text(record("m"))
        patch.setattr(sys, "stdout", io.StringIO())
        assert "\x1b" in text(record("m"))
        patch.setenv("NO_COLOR", "1")
        assert "\x1b" not in text(record("m"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        assert "\x1b" not in text(record("m"))


def test_text_of_anything():
    class Broken:
        def __repr__(self):
            raise RuntimeError

    line = text(record(Broken(), x=Broken(), y=float("nan"), **{"k k": None, "z z": 1}))
    assert "unprintable" in line
    assert '"z z"=1' in line


# --- Google Cloud --------------------------------------------------------------------------------


def gcp(made, **options):
    return json.loads(GoogleCloudFormatter(logger_name="site", **options).format(made))


def test_google_cloud_with_a_scale_that_it_does_not_know():
    class Own(GoogleCloudFormatter):
        SYSLOG_LEVEL_MAP = {20: 200}

    assert json.loads(Own().format(record("m")))["severity"] == "DEBUG"


def test_google_cloud():
    made = record("paid %s", 7, amount={"a": {"b": 1}}, severity="mine")
    made.created = 1_700_000_000.25
    out = gcp(made)
    assert re.fullmatch(r"2023-11-14T22:13:20\.2\d{8}Z", out.pop("time"))
    assert out == {
        "severity": "INFO",
        "message": "paid 7",
        "logger": "app",
        "serviceContext": {"service": "site"},
        "logging.googleapis.com/sourceLocation": {
            "file": "/srv/app.py", "line": "7", "function": "func",
        },
        "amount": {"a": {"b": 1}},
        "severity_": "mine",
    }  # fmt: skip
    levels = {10: "DEBUG", 25: "NOTICE", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
    assert {level: gcp(record(level=level))["severity"] for level in levels} == levels


def test_google_error_reporting():
    kind = "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent"
    try:
        raise ValueError("x")
    except ValueError:
        out = gcp(record("failed", level=40, exc_info=sys.exc_info()))
    assert out["@type"] == kind
    assert out["stack_trace"].startswith("Traceback (most recent call last):\n")
    out = gcp(record("failed", level=40))
    assert out["@type"] == kind
    assert out["context"]["reportLocation"] == {
        "filePath": "/srv/app.py", "lineNumber": 7, "functionName": "func",
    }  # fmt: skip
    assert "@type" not in gcp(record("m", level=30))


def test_google_http_request():
    out = gcp(
        record(
            "GET /a 200 1234 ms", name="request.summary", method="GET", path="/a", querystring="q=1", code=200, t=1234,
            agent="UA", remoteAddressChain=["1.2.3.4", "5.6.7.8"], rid="r", lang="",
        )
    )  # fmt: skip
    assert out["message"] == "GET /a 200 1234 ms"
    assert out["httpRequest"] == {
        "requestMethod": "GET", "requestUrl": "/a?q=1", "status": 200, "userAgent": "UA",
        "latency": "1.234s", "remoteIp": "1.2.3.4",
    }  # fmt: skip
    assert (out["rid"], out["lang"]) == ("r", "")


def test_google_http_request_of_little():
    out = gcp(
        record(
            "said", name="request.summary", method="", path="/a", code=204, t="long",
            remoteAddressChain=[],
        )
    )  # fmt: skip
    assert out["message"] == "said"
    assert out["httpRequest"] == {"requestUrl": "/a", "status": 204}


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("headers", "trace", "span", "sampled"),
    [
        ({"traceparent": f"00-{TRACE}-{SPAN}-01"}, TRACE, SPAN, True),
        ({"traceparent": f"00-{TRACE}-{SPAN}-00", "x-cloud-trace-context": "f" * 32}, TRACE, SPAN, False),
        ({"x-cloud-trace-context": f"{TRACE}/255;o=1"}, TRACE, "00000000000000ff", True),
        ({"x-cloud-trace-context": TRACE, "traceparent": "junk"}, TRACE, None, False),
    ],
)  # fmt: skip
def test_google_trace(headers, trace, span, sampled, monkeypatch):
    prefix = "logging.googleapis.com/"
    with serving(headers):
        assert gcp(record("m"), project="p")[f"{prefix}trace"] == f"projects/p/traces/{trace}"
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "e")
        out = gcp(record("m"))
    assert out[f"{prefix}trace"] == f"projects/e/traces/{trace}"
    assert (out.get(f"{prefix}spanId"), out[f"{prefix}trace_sampled"]) == (span, sampled)


@pytest.mark.parametrize("value", ["", "0" * 32, "x/1", f"{TRACE}/x"])
def test_no_google_trace(value):
    with serving({"x-cloud-trace-context": value}):
        assert not [key for key in gcp(record("m")) if "trace" in key]
