"""Observers are told of each execution and each heartbeat."""

from __future__ import annotations

import functools
import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from checking import (
    PATIENCE,
    Probe,
    Runner,
    both,
    probes,
    run,
)

from dockerflow import checks
from dockerflow.checks import Observation, Registry

SKIPPED, TIMED_OUT = "dockerflow.checks.I001", "dockerflow.checks.E002"


def ok() -> None: ...


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = Registry()
    yield registry
    registry.close()


@pytest.fixture
def seen(registry: Registry) -> list[Observation]:
    """What an observer saw; complete after ``registry.close()``."""
    seen: list[Observation] = []
    assert registry.observe(seen.append) == seen.append
    return seen


@both
@probes
def test_observers(
    runner: Runner, kind: type[Probe], registry: Registry, seen: list[Observation]
) -> None:
    registry.register(kind(), name="good", ttl=60)
    registry.register(kind(checks.Error("e", id="x.E1")), name="bad", critical=False)
    registry.register(kind(), name="skipped", requires="bad")
    runner(registry)
    registry.close()
    assert {o.name for o in seen[:2]} == {"good", "bad"}
    by_name = {o.name: o for o in seen}
    assert by_name["good"][:4] == ("check", "good", "ok", 0)
    assert by_name["bad"][:4] == ("check", "bad", "error", 40)
    assert by_name["skipped"][:4] == ("check", "skipped", "info", 20)
    assert [message.id for message in by_name["bad"].messages] == ["x.E1"]
    assert seen[-1][:4] == ("heartbeat", "heartbeat", "warning", 30)
    assert [message.id for message in seen[-1].messages] == ["x.E1", SKIPPED]
    assert all(0 <= o.duration < PATIENCE for o in seen)
    seen.clear()
    runner(registry)
    registry.close()
    names = [o.name for o in seen]
    assert names == ["bad", "skipped", "heartbeat"], "a result that is reused is observed once"


def test_observers_that_fail(
    registry: Registry, seen: list[Observation], caplog: pytest.LogCaptureFixture
) -> None:
    registry.register(ok)

    @registry.observe
    def fail(_: Observation) -> None:
        raise SystemExit("broken observer")

    assert run(registry).level == 0
    registry.close()
    assert [o.name for o in seen] == ["ok", "heartbeat"]
    assert caplog.text.count("SystemExit: broken observer") == 2


async def aobserve(_: Observation) -> None: ...


class AsyncObserver:
    async def __call__(self, _: Observation) -> None: ...


@pytest.mark.parametrize("observer", [5, aobserve, functools.partial(aobserve), AsyncObserver()])
def test_what_could_not_observe_is_refused(registry: Registry, observer: Any) -> None:
    """An async observer would never run, as nothing awaits it."""
    with pytest.raises(TypeError, match="a function with one argument that isn't async, not"):
        registry.observe(observer)


@both
def test_a_hung_observer_holds_up_nothing_and_lets_no_memory_grow(
    runner: Runner, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """Observations beyond the bound are dropped, with one logged line."""
    released = threading.Event()
    observed = 0

    @registry.observe
    def hang(_: Observation) -> None:
        nonlocal observed
        observed += 1
        released.wait(PATIENCE)

    for number in range(600):
        registry.register(ok, name=str(number))
    try:
        started = time.monotonic()
        for _ in range(3):
            assert runner(registry).level == 0
        assert time.monotonic() - started < PATIENCE / 2
        assert caplog.text.count("Observers are too slow") == 1
    finally:
        released.set()
    registry.close()
    # The one that hung, those that waited, and perhaps some that threads added in the same moment.
    assert 1001 <= observed < 1100


def test_observers_cannot_change_the_payload(registry: Registry) -> None:
    changed = threading.Event()

    @registry.observe
    def change(observation: Observation) -> None:
        for message in observation.messages:
            message.msg, message.id, message.level = "changed", "changed", 0
        changed.set()

    @registry.register(ttl=60)
    def check() -> checks.CheckMessage:
        return checks.Error("m", id="i")

    @registry.register
    def slow() -> None:
        assert changed.wait(PATIENCE)

    for _ in range(2):
        assert run(registry).details["check"] == {
            "status": "error", "level": 40, "messages": {"i": "m"},
        }  # fmt: skip


def test_a_check_that_hangs_is_observed_once(registry: Registry, seen: list[Observation]) -> None:
    released = threading.Event()
    registry.register(lambda: released.wait(PATIENCE) and None, name="hung", timeout=0.05)
    for _ in range(5):
        run(registry)
    released.set()
    registry.close()
    (observation,) = [o for o in seen if o.kind == "check"]
    assert observation.messages[0].id == TIMED_OUT


def test_closing_again_and_again_beside_a_hung_observer_lets_nothing_grow(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dockerflow.checks.registry.CLOSING_SECONDS", 0.001)
    released = threading.Event()
    registry.observe(lambda _: released.wait(PATIENCE))
    registry.register(ok)
    try:
        run(registry)
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(1000):
            registry.close()
        gc.collect()
        assert len(gc.get_objects()) < before + 500
    finally:
        released.set()


def test_close_waits_for_observers_but_not_for_hung_ones(registry: Registry) -> None:
    released = threading.Event()
    registry.observe(lambda _: released.wait(PATIENCE))
    registry.register(ok)
    run(registry)
    started = time.monotonic()
    registry.close()
    assert time.monotonic() - started < PATIENCE / 2
    released.set()
