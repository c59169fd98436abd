"""The page: the same for everybody, so it is made once. The script fills it from the API."""

from __future__ import annotations

import functools
from pathlib import Path
from string import Template

from links import assets

HEADERS = {
    "Cache-Control": "no-cache",
    # Nothing but what this app serves itself, and nothing inline.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@functools.cache
def render() -> str:
    """Return the page, with the hashed names of its assets."""
    template = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        style=assets.url("style.css"), script=assets.url("app.js"), icon=assets.url("icon.svg")
    )
