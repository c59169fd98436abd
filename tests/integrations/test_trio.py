"""trio is an event loop like asyncio: checks run on it, and end in their time."""

import json
import signal
import sys
import time
from contextvars import ContextVar
from typing import Any

import pytest

from dockerflow import checks, drain
from dockerflow.asgi import DockerflowMiddleware
from dockerflow.config import Config

trio = pytest.importorskip("trio")
colour = ContextVar("colour", default="none")


async def get(app: Any, path: str = "/__heartbeat__") -> tuple[int, Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    await app(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"] or b"null")


def make_app(registry: checks.Registry, **settings: Any) -> Any:
    return DockerflowMiddleware(None, config=Config(**settings), registry=registry)


def test_async_checks_run_on_trio_with_the_callers_context() -> None:
    registry = checks.Registry()
    seen = []

    @registry.register
    async def later() -> None:
        await trio.sleep(0.01)
        seen.append(colour.get())

    @registry.register
    def sync() -> None:
        seen.append(colour.get())

    async def main() -> None:
        colour.set("red")
        async with trio.open_nursery() as nursery:  # they share a run
            for _ in range(5):
                nursery.start_soon(get, app)
        results.append(await get(app))

    results: list[Any] = []
    app = make_app(registry)
    for _ in range(2):  # the second time in another event loop
        trio.run(main)
    healthy = {"status": "ok", "checks": {"later": "ok", "sync": "ok"}, "details": {}}
    assert results == [(200, healthy)] * 2
    assert set(seen) == {"red"}


def test_broken_checks_are_contained() -> None:
    registry = checks.Registry()

    @registry.register
    async def hung() -> None:
        await trio.sleep_forever()

    @registry.register
    async def exits() -> None:
        sys.exit("no config")

    @registry.register
    async def interrupts() -> None:
        raise KeyboardInterrupt

    @registry.register
    async def asyncios() -> None:
        raise RuntimeError("no running event loop")

    async def main() -> None:
        results.append(await get(app))
        await trio.sleep(0.1)  # trio would raise what escaped from a check by now

    results: list[Any] = []
    app = make_app(registry, check_timeout=0.3)
    started = time.monotonic()
    trio.run(main)
    assert time.monotonic() - started < 5
    [(status, payload)] = results
    assert status == 500
    ids = {name: [*detail["messages"]] for name, detail in payload["details"].items()}
    raised = ["dockerflow.checks.E001"]
    assert ids == {
        "hung": ["dockerflow.checks.E002"], "exits": raised, "interrupts": raised, "asyncios": raised,
    }  # fmt: skip


def test_checks_in_the_background() -> None:
    registry = checks.Registry()
    runs = []
    enough: Any = None

    @registry.register(interval=0.02)
    async def later() -> None:
        await trio.sleep(0)
        runs.append(1)
        if len(runs) > 3:
            enough.set()

    async def main() -> None:
        nonlocal enough
        enough = trio.Event()
        assert (await get(app))[0] == 200
        with trio.fail_after(30):
            await enough.wait()

    app = make_app(registry)
    for _ in range(2):  # the first loop's end doesn't end them for good
        runs.clear()
        trio.run(main)
    registry.close()


def test_sigterm_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "_state", drain._State())
    app = make_app(checks.Registry(), drain_seconds=0.5)
    before = signal.getsignal(signal.SIGTERM)

    async def main() -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:  # as Hypercorn has it
            statuses.append((await get(app))[0])
            signal.raise_signal(signal.SIGTERM)
            statuses.append((await get(app))[0])
            with trio.fail_after(30):
                await anext(signals)

    statuses: list[int] = []
    try:
        trio.run(main)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert statuses == [200, 503]
