"""Bottle."""

from collections.abc import Iterator
from typing import Any

from bottle import Bottle, HTTPResponse

from apps import BROKEN, CHUNKS, CORS


def root() -> str:
    return "hello"


def fail() -> str:
    raise ValueError(BROKEN)


def status_500() -> HTTPResponse:
    return HTTPResponse("oh", 500, CORS)


def stream() -> Iterator[bytes]:
    yield from CHUNKS


def make_wsgi() -> Any:
    app = Bottle()
    app.route("/", callback=root)
    app.route("/fail", callback=fail)
    app.route("/status/500", callback=status_500)
    app.route("/stream", callback=stream)
    return app
