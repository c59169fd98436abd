"""The heartbeat as a page: for whom, and what it shows."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockerflow._core import endpoints as _endpoints
from dockerflow._core import heartbeat_page as _heartbeat_page
from dockerflow.checks import CheckResults

RESULTS = CheckResults(
    {"b": {"status": "error", "level": 40, "messages": {"x.E001": "é & <script>", "y": "2"}}},  # type: ignore[dict-item]
    {"<a>": "ok", "b": "error", "c": "odd"},
    40,
    {"<a>": 0.0123, "b": 1.5},
    {"b": 12.34},
)


class Page(HTMLParser):
    """Which elements there are, and what stands in the cells and the heading."""

    VOID = frozenset(("meta", "link"))

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.elements: set[str] = set()
        self.texts: dict[str, list[str]] = {}
        self.feed(content.decode())
        self.close()
        assert not self.stack

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.elements.add(tag)
        if tag not in self.VOID:
            self.stack.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in self.stack:
            self.texts[tag][-1] += data


def render(results: CheckResults, *, accept: str | None = "text/html", details: bool = True):
    return _endpoints.heartbeat(
        results, failed_status_code=500, show_details=details, accept=accept
    )


@pytest.mark.parametrize(
    ("accept", "is_html"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/html", True),
        ("Text/HTML ; charset=utf-8; Q=0.3", True),
        ("text/*", True),
        ("application/json;q=0.4, text/html;q=0.5", True),
        ("application/json;q=0, */*", True),
        ("application/*;q=0.1, */*;q=0.2", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("application/json, text/html;q=0.9", False),
        ("text/html;q=0, */*", False),
        ("text/html;q=0", False),
        ("text/plain, image/*", False),
        ("text/html;q=high", False),
        ("text/html;q=nan", False),
        (",;,=;q", False),
    ],
)
def test_who_gets_it(accept: str, is_html: bool) -> None:
    response = render(RESULTS, accept=accept)
    headers = dict(response.headers)
    expected = "text/html; charset=utf-8" if is_html else "application/json"
    assert headers["Content-Type"] == expected
    assert headers["Vary"] == "Accept"
    assert response.status == 500


@given(st.text())
def test_any_header_has_an_answer(accept: str) -> None:
    assert _heartbeat_page.is_preferred(accept) in {True, False}


def test_nothing_changes_without_the_setting() -> None:
    response = render(RESULTS, accept=None)
    headers = dict(response.headers)
    assert headers["Content-Type"] == "application/json"
    assert "Vary" not in headers


def test_what_it_shows() -> None:
    response = render(RESULTS)
    page = Page(response.body)
    assert page.texts["h1"] == ["Heartbeat: error"]
    assert page.texts["title"] == ["Heartbeat: error"]
    assert page.texts["th"][4:] == ["<a>", "b", "c"]
    assert page.texts["td"] == [
        "ok", "12.3 ms", "",
        "error", "1500.0 ms, 12.3 s ago", "é & <script> x.E0012 y",
        "odd", "", "",
    ]  # fmt: skip
    assert dict(response.headers)["Server-Timing"]


def test_it_runs_and_loads_nothing() -> None:
    response = render(RESULTS)
    page = Page(response.body)
    assert not page.elements & {"script", "img", "iframe", "form", "object"}
    assert not re.search(rb"https?:|url\(|@import|\son\w+=", response.body)
    headers = dict(response.headers)
    digest = b64encode(sha256(page.texts["style"][0].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_details_are_hidden_where_the_json_hides_them() -> None:
    response = render(RESULTS, details=False)
    page = Page(response.body)
    assert page.texts["h1"] == ["Heartbeat: error"]
    assert page.texts["body"][0].split() == ["Heartbeat:", "error"]
    assert "Server-Timing" not in dict(response.headers)


def test_without_checks() -> None:
    response = render(CheckResults({}, {}, 0, {}))
    assert response.status == 200
    assert Page(response.body).texts["p"] == ["There are no checks."]


@given(st.text(), st.text(st.characters(exclude_categories=())))
def test_any_text_is_shown(name: str, text: str) -> None:
    details = {name: {"status": "info", "level": 20, "messages": {"id": text}}}
    response = render(CheckResults(details, {name: "info"}, 20, {name: 0.1}))  # type: ignore[arg-type]
    page = Page(response.body)
    assert page.elements == {
        "html", "head", "meta", "link", "title", "style", "body", "h1", "span", "table", "thead",
        "tbody", "tr", "th", "td", "ul", "li", "code",
    }  # fmt: skip
