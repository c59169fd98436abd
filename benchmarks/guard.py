"""Fails when a request costs far more than a log line written by hand: make bench-guard.

The bound is wide, so that a busy machine doesn't matter; a sleep of 0.3 ms in each summary does.
What the library really costs is measured by run.py.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from dockerflow.asgi import DockerflowMiddleware as ASGIMiddleware
from dockerflow.logging import MozlogHandler
from dockerflow.wsgi import DockerflowMiddleware as WSGIMiddleware

BOUND = 6.0  # lines by hand: in November 2026 a request cost about 2, and 20 with the sleep
REQUESTS = 500
ROUNDS = 40
LINE = "GET /items/42 200 1 ms curl/8.14.1 5b0c6f0e-3b0e-4b0e-8b0e-3b0e4b0e8b0e"

logger = logging.getLogger("request.summary")


def by_hand() -> float:
    """Return the seconds of a line whose text is ready."""
    started = time.perf_counter()
    for _ in range(REQUESTS):
        logger.info(LINE)
    return (time.perf_counter() - started) / REQUESTS


def wsgi() -> float:
    """Return the seconds of a request to a WSGI application."""

    def app(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]

    def ignore(*_: object) -> None: ...

    ours = WSGIMiddleware(app)
    started = time.perf_counter()
    for _ in range(REQUESTS):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/items/42", "HTTP_USER_AGENT": "curl/8"}
        body: Any = ours(environ, ignore)
        list(body)
        getattr(body, "close", ignore)()
    return (time.perf_counter() - started) / REQUESTS


def asgi() -> float:
    """Return the seconds of a request to an ASGI application."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello"})

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def ignore(_message: Any) -> None: ...

    ours: Any = ASGIMiddleware(app)

    async def ask() -> float:
        started = time.perf_counter()
        for _ in range(REQUESTS):
            headers = [(b"user-agent", b"curl/8")]
            scope = {"type": "http", "method": "GET", "path": "/items/42", "headers": headers}
            await ours(scope, receive, ignore)
        return (time.perf_counter() - started) / REQUESTS

    return asyncio.run(ask())


def ratio(request: Callable[[], float]) -> float:
    """Return how many lines by hand a request costs, by the best of rounds that take turns."""
    rounds = [(request(), by_hand()) for _ in range(ROUNDS)]
    return min(ours for ours, _ in rounds) / min(theirs for _, theirs in rounds)


def main() -> None:
    """Print the ratios; exit with 1 if one of them is over the bound."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        logger.addHandler(MozlogHandler(stream=nowhere))
        logger.setLevel(logging.INFO)
        logger.propagate = False
        ratios = {request.__name__: ratio(request) for request in (wsgi, asgi)}
    for name, value in ratios.items():
        print(f"{name}: a request costs {value:.1f} log lines, at most {BOUND:.0f}")
    sys.exit(max(ratios.values()) > BOUND)


if __name__ == "__main__":
    main()
