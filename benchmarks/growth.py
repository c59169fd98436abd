"""Whether cost grows, in one process and without a server; prints JSON.

Bare application and library take turns in each round; what counts is CPU time.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from dockerflow.asgi import DockerflowMiddleware
from dockerflow.checks import Registry
from dockerflow.config import Config
from dockerflow.logging import MozlogHandler

ROUNDS = 5
SHARE = 10
Serve = Callable[[int], Awaitable[None]]


async def receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


async def ignore(message: Any) -> None: ...


async def app(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hi"})


def scope_of(number: int = 0, headers: Any = ()) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": f"/items/{number}",
        "query_string": b"page=%d" % number,
        "root_path": "",
        "headers": list(headers),
        "client": ("192.0.2.1", number % 65536),
    }


def header_lines(application: Any, count: int) -> Serve:
    headers = [(b"x-header-%d" % number, b"value") for number in range(count)]

    async def serve(requests: int) -> None:
        for _ in range(requests):
            await application(scope_of(headers=headers), receive, ignore)

    return serve


def at_the_same_time(application: Any, count: int) -> Serve:
    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        await app(scope, receive, send)

    waits = DockerflowMiddleware(waiting) if application is not app else waiting

    async def serve(requests: int) -> None:
        for _ in range(max(1, requests // count)):
            await asyncio.gather(*(waits(scope_of(), receive, ignore) for _ in range(count)))

    return serve


def chunks(application: Any, count: int) -> Serve:
    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(count - 1):
            await send({"type": "http.response.body", "body": b"x" * 1000, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    streams = DockerflowMiddleware(streaming) if application is not app else streaming

    async def serve(number: int) -> None:
        for _ in range(max(1, number // count)):
            await streams(scope_of(), receive, ignore)

    return serve


GROWTHS = (
    ("added cost of a request, by its header lines", header_lines, (1, 10, 100), 2000),
    (
        "added cost of a request, by the requests at the same time", at_the_same_time,
        (1, 10, 100, 1000, 10000), 5000,
    ),
    (
        "added cost of a chunk, by the chunks of a streamed response", chunks,
        (1, 10, 100, 1000, 10000), 10000,
    ),
)  # fmt: skip


def added(make: Callable[[Any, int], Serve], count: int, number: int) -> float:
    """Return the microseconds that the library adds to each of so many things."""
    number = max(number, count)
    subjects = [make(app, count), make(DockerflowMiddleware(app), count)]
    rounds: list[list[float]] = []
    for _ in range(ROUNDS + 1):
        times = []
        for serve in subjects:
            gc.collect()
            started = time.process_time()
            asyncio.run(serve(number))  # type: ignore[arg-type]
            times.append((time.process_time() - started) / number * 1e6)
        rounds.append(times)
    return statistics.median(ours - bare for bare, ours in rounds[1:])


def checks(count: int) -> float:
    """Return the microseconds of a heartbeat for each of its checks, by the clock on the wall."""
    registry = Registry()
    for number in range(count):
        registry.register(lambda: None, name=f"check{number}")
    config = Config()
    heartbeats = max(1, 2000 // count)
    times = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        for _ in range(heartbeats):
            registry.run(config)
        times.append((time.perf_counter() - started) / heartbeats / count * 1e6)
    return statistics.median(times[1:])


def garbage(requests: int) -> dict[str, int]:
    """Return how many objects the collector freed while that many requests were served."""
    freed = {}
    for name, application in (("bare", app), ("ours", DockerflowMiddleware(app))):
        serve = header_lines(application, 10)
        gc.collect()
        before = sum(generation["collected"] for generation in gc.get_stats())
        asyncio.run(serve(requests))  # type: ignore[arg-type]
        gc.collect()
        freed[name] = sum(generation["collected"] for generation in gc.get_stats()) - before
    return freed


def memory_after(requests: int) -> dict[str, float]:
    """Return the MiB of this process as it serves requests of which no two are the same."""
    middleware = DockerflowMiddleware(app)
    sizes = {}

    async def serve(first: int, last: int) -> None:
        for number in range(first, last):
            text = b"%d" % number
            headers = [(b"x-request-id", b"request-" + text), (b"x-header-" + text, b"value")]
            await middleware(scope_of(number, headers), receive, ignore)

    for part in range(SHARE):
        first, last = requests * part // SHARE, requests * (part + 1) // SHARE
        asyncio.run(serve(first, last))
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        sizes[str(last)] = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return sizes


def main() -> None:
    """Measure all of it; the argument is how many requests the life of a process has."""
    summaries = logging.getLogger("request.summary")
    summaries.addHandler(MozlogHandler(stream=open(os.devnull, "w", encoding="utf-8")))  # noqa: SIM115
    summaries.setLevel(logging.INFO)
    summaries.propagate = False
    rows = {
        "a heartbeat's time for each of its checks": {
            str(count): checks(count) for count in (1, 10, 100, 1000)
        }
    }
    for title, make, counts, number in GROWTHS:
        rows[title] = {str(count): added(make, count, number) for count in counts}
    requests = int(sys.argv[1])
    results = {
        "rows": rows,
        "garbage": {"requests": 100_000, **garbage(100_000)},
        "memory": memory_after(requests),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()
