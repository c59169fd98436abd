"""Which paths are ours, and what each endpoint answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerflow._core import endpoints as _endpoints
from dockerflow.checks import CheckResults

OK = CheckResults({}, {"a": "ok"}, 0, {"a": 0.0123})
BAD = CheckResults(
    {"b": {"status": "error", "level": 40, "messages": {"x.E001": "é"}}},
    {"a": "ok", "b": "error"},
    40,
    {"a": 0.001, "b": 1.5},
)


def headers_of(response: Any) -> dict[str, str]:
    headers = dict(response.headers)
    assert len(headers) == len(response.headers)
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Length"] == str(len(response.body))
    return headers


def test_paths() -> None:
    assert _endpoints.paths() == {
        "/__version__": "version",
        "/__version__/": "version",
        "/__heartbeat__": "heartbeat",
        "/__heartbeat__/": "heartbeat",
        "/__lbheartbeat__": "lbheartbeat",
        "/__lbheartbeat__/": "lbheartbeat",
    }
    assert _endpoints.path_of("version") == "/__version__"
    prefixed = _endpoints.paths("/x", error_endpoint=True)
    assert all(path.startswith("/x/__") for path in prefixed)
    assert prefixed["/x/__error__"] == prefixed["/x/__error__/"] == "error"
    assert len(prefixed) == 8


@pytest.mark.parametrize(
    ("path", "mount_point", "below"),
    [
        ("/a/__version__", "/a", "/__version__"),
        ("/a/__version__", "/a/", "/__version__"),
        ("/__version__", "/a", "/__version__"),
        ("/ab/__version__", "/a", "/ab/__version__"),
        ("/a/__version__", "", "/a/__version__"),
        ("/a/__version__", "/", "/a/__version__"),
        ("//__version__", "/", "//__version__"),
        ("/X/__version__", "/X", "/__version__"),
    ],
)
def test_path_below_a_mount_point(path: str, mount_point: str, below: str) -> None:
    assert _endpoints.path_below(path, mount_point) == below


def test_fixed_answers() -> None:
    assert _endpoints.LBHEARTBEAT.status == 200
    assert _endpoints.LBHEARTBEAT.body == b""
    headers_of(_endpoints.LBHEARTBEAT)
    assert _endpoints.METHOD_NOT_ALLOWED.status == 405
    assert headers_of(_endpoints.METHOD_NOT_ALLOWED)["Allow"] == "GET, HEAD"
    assert (
        _endpoints.METHOD_NOT_ALLOWED.body
        == b'{"error":"this endpoint supports only GET and HEAD"}'
    )
    assert headers_of(_endpoints.METHOD_NOT_ALLOWED)["Content-Type"] == "application/json"
    assert headers_of(_endpoints.LBHEARTBEAT)["Content-Type"] == "text/plain; charset=utf-8"
    assert _endpoints.LBHEARTBEAT_JSON.status == 200
    assert headers_of(_endpoints.LBHEARTBEAT_JSON)["Content-Type"] == "application/json"


def test_version() -> None:
    found = _endpoints.version(b' {"a":1}\n', None)
    assert (found.status, found.body) == (200, b' {"a":1}\n')
    missing, broken = _endpoints.version(None, None), _endpoints.version(None, 'is "odd"')
    assert (missing.status, broken.status) == (404, 500)
    assert missing.body == b'{"error":"there is no version.json"}'
    assert json.loads(broken.body) == {"error": 'is "odd"'}
    for response in (found, missing, broken):
        assert headers_of(response)["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("results", "code", "status", "text"),
    [
        (OK, 503, 200, "ok"),
        (OK._replace(level=30), 503, 200, "warning"),
        (BAD, 500, 500, "error"),
        (BAD, 503, 503, "error"),
        (BAD._replace(level=50), 500, 500, "critical"),
    ],
)
def test_heartbeat(results: CheckResults, code: int, status: int, text: str) -> None:
    shown = _endpoints.heartbeat(results, failed_status_code=code, show_details=True)
    assert shown.status == status
    assert json.loads(shown.body) == {
        "status": text,
        "checks": results.statuses,
        "details": results.details,
    }
    assert headers_of(shown)["Server-Timing"].startswith("a;dur=")
    hidden = _endpoints.heartbeat(results, failed_status_code=code, show_details=False)
    assert hidden.status == status
    assert json.loads(hidden.body) == {"status": text}
    assert "Server-Timing" not in headers_of(hidden)


def test_heartbeat_without_checks() -> None:
    response = _endpoints.heartbeat(
        CheckResults({}, {}, 0, {}), failed_status_code=500, show_details=True
    )
    assert response.status == 200
    assert json.loads(response.body) == {"status": "ok", "checks": {}, "details": {}}
    assert "Server-Timing" not in headers_of(response)


def test_heartbeat_tells_the_age_of_results() -> None:
    results = OK._replace(ages={"a": 3.0})
    response = _endpoints.heartbeat(results, failed_status_code=500, show_details=True)
    assert headers_of(response)["Server-Timing"] == 'a;dur=12.3;desc="age 3.0 s"'


def test_payloads_are_compact_and_strict() -> None:
    assert _endpoints.dump({"a": [1, "é"]}) == b'{"a":[1,"\\u00e9"]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        _endpoints.dump(float("nan"))


def test_server_timing() -> None:
    assert _endpoints.server_timing({"Aa9.-": 0.0}) == "Aa9.-;dur=0.0"
    assert _endpoints.server_timing({"a": 0.0123, "b c,é": 1.5}) == "a;dur=12.3, b_c__;dur=1500.0"
    assert _endpoints.server_timing({"": 0.0}) == "_;dur=0.0"
    assert _endpoints.server_timing({}) == ""
    assert (
        _endpoints.server_timing({"a": 0.1, "b": 0.1}, {"b": 12.34})
        == 'a;dur=100.0, b;dur=100.0;desc="age 12.3 s"'
    )


@given(st.dictionaries(st.text(), st.floats(0, 1e6), max_size=30))
def test_server_timing_is_always_a_header(durations: dict[str, float]) -> None:
    text = _endpoints.server_timing(durations)
    assert text.isascii()
    assert text.isprintable()
    assert text.count(";dur=") == len(durations)


def test_server_timing_is_bounded() -> None:
    text = _endpoints.server_timing({f"check{number}": 1.0 for number in range(1000)})
    assert 4000 < len(text) <= 4096
    assert _endpoints.server_timing({"x" * 9999: 1.0}) == ""
    room = 4096 - len(";dur=0.0, ")
    assert _endpoints.server_timing({"x" * room: 0.0}) == "x" * room + ";dur=0.0"
    assert _endpoints.server_timing({"x" * (room + 1): 0.0}) == ""
