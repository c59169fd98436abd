"""Where the time of a request goes: one thing more in each step, all of them in one process.

What a step costs over the one before it is that thing's cost. It needs no other way into the
library than an application has. Prints JSON.
"""

from __future__ import annotations

import gc
import io
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import cases

from dockerflow.asgi import DockerflowMiddleware
from dockerflow.logging import MozlogFormatter, get_request_id

summaries = logging.getLogger("request.summary")
Step = tuple[str, str, Callable[[], cases.Run]]


class _Null(io.TextIOBase):
    """A stream that is told, and does nothing."""

    def write(self, text: str) -> int:  # noqa: ARG002
        return 0

    def flush(self) -> None:
        pass


class _Idle(logging.Handler):
    """A handler that is told, and does nothing."""

    def handle(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        return True


class _NoFormat(logging.Formatter):
    """A formatter that gives nothing."""

    def format(self, record: logging.LogRecord) -> str:  # noqa: ARG002
        return ""


def _set(handler: logging.Handler | None) -> None:
    summaries.handlers[:] = [] if handler is None else [handler]
    summaries.setLevel(logging.WARNING if handler is None else logging.INFO)
    summaries.propagate = False


def _to(stream: Any, formatter: logging.Formatter | None = None) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter or MozlogFormatter(logger_name="bench"))
    return handler


DISCARDED = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
RID = ("X-Request-ID", "0b39c2e5-6f84-4f0a-9a62-1c3c3a4a1f0e")


async def answers_with_id(scope: Any, receive: Any, send: Any) -> None:
    """Answer as the bare application does, with a request's id as a header of its own."""
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"text/plain"),
                (b"content-length", b"2"),
                (b"x-request-id", b"0b39c2e5-6f84-4f0a-9a62-1c3c3a4a1f0e"),
            ],
        }
    )
    await send({"type": "http.response.body", "body": b"ok"})


def _drive(app: Any, headers: Any, handler: logging.Handler | None = None) -> cases.Run:
    run = cases.drive_asgi(app, headers=headers)

    def step(n: int) -> None:
        _set(handler)
        run(n)

    return step


def two_variables(n: int) -> None:
    """Set and reset two context variables, as serving a request does."""
    for _ in range(n):
        one = _ONE.set("a")
        two = _TWO.set("b")
        _ONE.reset(one)
        _TWO.reset(two)


_ONE: ContextVar[str] = ContextVar("one", default="")
_TWO: ContextVar[str] = ContextVar("two", default="")


def floor(handler: logging.Handler) -> cases.Run:
    """Log one line with a summary's fields."""
    record = cases.summary_record()
    fields = {
        name: value
        for name, value in record.__dict__.items()
        if name not in logging.makeLogRecord({}).__dict__
    }

    def run(n: int) -> None:
        _set(handler)
        info = summaries.info
        for _ in range(n):
            info("", extra=fields)

    return run


def nothing(n: int) -> None:
    for _ in range(n):
        pass


def main() -> None:
    rounds, number = int(sys.argv[1]), int(sys.argv[2])
    ours = DockerflowMiddleware(cases.bare_asgi)
    given = [*cases.HEADERS, RID]
    steps: dict[str, cases.Run] = {
        "bare": _drive(cases.bare_asgi, given),
        "with_id": _drive(answers_with_id, given),
        "around": _drive(DockerflowMiddleware(answers_with_id), given),
        "given": _drive(ours, given),
        "bare_made": _drive(cases.bare_asgi, cases.HEADERS),
        "made": _drive(ours, cases.HEADERS),
        "record": _drive(ours, cases.HEADERS, _Idle()),
        "handed": _drive(ours, cases.HEADERS, _to(_Null(), _NoFormat())),
        "format": _drive(ours, cases.HEADERS, _to(_Null())),
        "write": _drive(ours, cases.HEADERS, _to(DISCARDED)),
        "nothing": nothing,
        "variables": two_variables,
        "floor": floor(_to(DISCARDED)),
        "floor_plain": floor(logging.StreamHandler(DISCARDED)),
    }
    for run in steps.values():
        run(100)
    assert get_request_id() is None
    times: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(rounds):
        for name in steps if index % 2 == 0 else reversed(steps):
            gc.collect()
            started = time.process_time()
            steps[name](number)
            times[name].append((time.process_time() - started) / number * 1e6)
    print(json.dumps(times))


if __name__ == "__main__":
    main()
