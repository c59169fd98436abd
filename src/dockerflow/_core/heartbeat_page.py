"""The heartbeat as a web page, with the same content as its JSON. No I/O."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html import escape
from typing import Final

from dockerflow.checks.messages import level_to_text
from dockerflow.checks.runner import CheckResults

_STYLE: Final = """
:root { background: canvas; color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
h1 { font-size: 1.5rem }
table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid #8886; padding: .5rem; text-align: left; vertical-align: top }
td:nth-child(3) { white-space: nowrap }
ul { list-style: none; margin: 0; padding: 0 }
code { overflow-wrap: anywhere }
@media (max-width: 36rem) {
  tr { border-bottom: 1px solid #8886; display: grid; grid-template-columns: 1fr 5rem 5.5rem }
  th, td { border: 0; overflow-wrap: anywhere }
  td:nth-child(3) { white-space: normal }
  td:nth-child(4) { grid-column: 1 / -1; padding-top: 0 }
  th:nth-child(4), td:nth-child(4):empty { display: none }
}
.good { color: light-dark(#11651f, #6fd184) }
.odd { color: light-dark(#7a4d00, #f0b64f) }
.bad { color: light-dark(#b3001b, #ff8f94) }
"""
_CLASSES: Final = {
    "ok": "good", "debug": "good", "info": "good",
    "warning": "odd", "error": "bad", "critical": "bad",
}  # fmt: skip
_HASH: Final = b64encode(sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)

CONTENT_TYPE: Final = "text/html; charset=utf-8"
HEADERS: Final = (
    # The page loads and runs nothing, even if a check's message contains HTML.
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
)


def is_preferred(accept: str) -> bool:
    """Whether an Accept header prefers this page to JSON; a tie is JSON's.

    https://www.rfc-editor.org/rfc/rfc9110#name-accept
    """
    weights = dict(_ranges(accept))
    everything = weights.get("*/*", 0.0)
    html = weights.get("text/html", weights.get("text/*", everything))
    return html > weights.get("application/json", weights.get("application/*", everything))


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    """Return each media range and its weight; those with an invalid weight are left out."""
    for item in accept.lower().split(","):
        media_range, *parameters = (part.strip() for part in item.split(";"))
        weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            yield media_range, float(weight)
        except ValueError:
            continue


def render(results: CheckResults, *, show_details: bool) -> bytes:
    """Return the page.

    :param show_details: whether it has more than the overall status.
    """
    status = level_to_text(results.level)
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>Heartbeat: {status}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>Heartbeat: {_mark(status)}</h1>\n"
        f"{_table(results) if show_details else ''}</body>\n</html>\n"
    )
    # A check's name may contain a lone surrogate, which UTF-8 can't encode.
    return page.encode(errors="replace")


def _table(results: CheckResults) -> str:
    if not results.statuses:
        return "<p>There are no checks.</p>\n"
    rows = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{_mark(status)}</td>'
        f"<td>{_time(results, name)}</td><td>{_messages(results, name)}</td></tr>"
        for name, status in results.statuses.items()
    )
    head = "".join(
        f'<th scope="col">{text}</th>' for text in ("Check", "Status", "Duration", "Messages")
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n"


def _mark(status: str) -> str:
    return f'<span class="{_CLASSES.get(status, "odd")}">{escape(status)}</span>'


def _time(results: CheckResults, name: str) -> str:
    if name not in results.durations:
        return ""
    text = f"{results.durations[name] * 1000:.1f} ms"
    if name in results.ages:
        text += f", {results.ages[name]:.1f} s ago"
    return text


def _messages(results: CheckResults, name: str) -> str:
    if name not in results.details:
        return ""
    messages: dict[str, str] = results.details[name]["messages"]
    items = "".join(
        f"<li>{escape(text)} <code>{escape(key)}</code></li>" for key, text in messages.items()
    )
    return f"<ul>{items}</ul>"
