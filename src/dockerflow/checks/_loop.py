"""The event loop that runs the caller: asyncio's, or trio's behind the same methods."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any


def _find_trio() -> Any:
    """Return trio if this is one of its tasks, else ``None``."""
    trio: Any = sys.modules.get("trio")
    if trio is not None:
        with suppress(RuntimeError, AttributeError):  # it may be half imported, by another thread
            trio.lowlevel.current_task()
            return trio
    return None


def running_loop() -> Any:
    """Return the running event loop.

    :raises RuntimeError: when there is none.
    """
    if (trio := _find_trio()) is not None:
        return _TrioLoop(trio, trio.lowlevel.current_trio_token())
    import asyncio

    return asyncio.get_running_loop()


def timeout(seconds: float) -> Any:
    """Return ``asyncio.timeout(seconds)``, or the same for trio."""
    if (trio := _find_trio()) is not None:
        return _TrioTimeout(trio.move_on_after(seconds))
    import asyncio

    return asyncio.timeout(seconds)


def interrupt(error: KeyboardInterrupt) -> None:
    """End the event loop with this error: raised in a task, asyncio would log it as lost, too."""

    def raise_() -> None:
        raise error

    if _find_trio() is None:  # trio raises the real one in the main task
        running_loop().call_soon(raise_)


def make_event() -> Any:
    """Return an event with ``set()`` and ``wait()``."""
    if (trio := _find_trio()) is not None:
        return trio.Event()
    import asyncio

    return asyncio.Event()


@dataclass(frozen=True)
class _TrioLoop:
    """What checks use of an asyncio loop, for trio's."""

    trio: Any
    token: Any

    def call_soon_threadsafe(self, function: Callable[..., object], *args: Any) -> None:
        self.token.run_sync_soon(copy_context().run, function, *args)

    def create_task(self, coroutine: Coroutine[Any, Any, object]) -> Any:
        async def run() -> None:
            await coroutine

        return self.trio.lowlevel.spawn_system_task(run, context=copy_context())

    def is_closed(self) -> bool:
        try:
            self.token.run_sync_soon(_nothing, idempotent=True)
        except self.trio.RunFinishedError:
            return True
        return False


@dataclass(frozen=True)
class _TrioTimeout:
    scope: Any

    async def __aenter__(self) -> None:
        self.scope.__enter__()

    async def __aexit__(self, *raised: object) -> None:
        self.scope.__exit__(*raised)
        if self.expired():
            raise TimeoutError

    def expired(self) -> bool:
        is_expired: bool = self.scope.cancelled_caught
        return is_expired


def _nothing() -> None: ...
