"""Where checks run in this process: a limited number of threads, and an event loop.

Threads here are daemons and are never joined, so that a check that hangs delays neither a
heartbeat nor the end of the process, unlike with :mod:`concurrent.futures`.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

MAX_THREADS: Final = 64

T = TypeVar("T")
Job = Callable[[], object]


class PerProcess(Generic[T]):
    """A value that each process makes for itself when it first uses it.

    A forked process has none of its parent's threads, and another thread may have held a lock.
    Servers that fork in C run no after-fork hooks, so the process is looked up at each use.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._by_pid: dict[int, T] = {}
        self._locks: dict[int, AbstractContextManager[Any]] = {}

    def get(self) -> T:
        """Return this process's value. Raises what making it raises; the next use tries again."""
        pid = os.getpid()
        if pid not in self._by_pid:
            # setdefault is atomic. The collector may come back here while the value is made.
            with self._locks.setdefault(pid, threading.RLock()):
                if pid not in self._by_pid:
                    self._by_pid.setdefault(pid, self._make())
        return self._by_pid[pid]


class Workers:
    """Runs jobs in at most ``max_threads`` threads at a time; further jobs wait in a queue.

    A thread ends when no job is waiting. Jobs must not raise.
    """

    def __init__(self, max_threads: int = MAX_THREADS, name: str = "dockerflow-check") -> None:
        self.max_threads = max_threads
        self._name = name
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._threads = 0

    @property
    def waiting(self) -> int:
        """How many jobs wait for a thread."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether no job waits or runs."""
        return not self._threads

    def join(self, seconds: float) -> None:
        """Wait until no job waits or runs, for so many seconds at most."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_idle, seconds)

    def submit(self, *jobs: Job) -> None:
        """Run jobs as soon as there are threads for them.

        Several together are cheaper: a thread may have done the quick ones before the next one
        is started.

        :raises RuntimeError: when the system can't start a thread, and none is running.
        """
        with self._changed:
            self._waiting.extend(jobs)
        while True:
            with self._changed:
                if not self._waiting or self._threads >= self.max_threads:
                    return
                job = self._waiting.popleft()
                self._threads += 1
            try:
                threading.Thread(
                    target=self._work, args=(job,), name=self._name, daemon=True
                ).start()
            except RuntimeError:
                with self._changed:
                    self._threads -= 1
                    self._waiting.appendleft(job)
                    if self._threads:  # these do the rest
                        return
                    for job in jobs:
                        with suppress(ValueError):
                            self._waiting.remove(job)
                raise

    def _work(self, job: Job) -> None:
        while True:
            job()
            with self._changed:
                if not self._waiting:
                    self._threads -= 1
                    self._changed.notify_all()
                    return
                job = self._waiting.popleft()


def _start_loop() -> AbstractEventLoop:
    import asyncio

    loop = asyncio.new_event_loop()
    try:
        threading.Thread(target=loop.run_forever, name="dockerflow-loop", daemon=True).start()
    except RuntimeError:
        loop.close()
        raise
    return loop


def _make_lock() -> AbstractContextManager[Any]:
    # Reentrant, since the collector may end an abandoned execution at any time.
    return threading.RLock()


lock: Final = PerProcess(_make_lock)
"""Guards the few assignments that change a registry or a check. Nothing waits or calls out while
it is held."""

workers: Final = PerProcess(Workers)
background_loop: Final = PerProcess(_start_loop)
"""An event loop in a thread, for async checks where the caller runs none."""
