"""Where checks run: a bounded pool of threads, and an event loop for async ones under WSGI.

Threads here are daemons and are never joined: a check that hangs keeps neither a heartbeat
waiting nor the process from exiting, unlike with concurrent.futures' own executor.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

MAX_THREADS: Final = 64
IDLE_SECONDS: Final = 30.0


class _Forkable(Protocol):
    def start_afresh(self) -> None: ...


_forkables: weakref.WeakSet[_Forkable] = weakref.WeakSet()


def start_afresh_after_fork(forkable: _Forkable) -> None:
    """Have a forked child forget, by ``start_afresh()``, the threads that only its parent has.

    Locks are forgotten too: another thread of the parent's may have held one.
    """
    _forkables.add(forkable)


def _start_all_afresh() -> None:
    for forkable in list(_forkables):
        forkable.start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_all_afresh)


Job = Callable[[], Callable[[], None] | None]
"""What a thread does, without raising. What it returns is called once the thread counts as free."""


class ThreadPool:
    """At most ``max_threads`` daemon threads, started when needed and ended when idle."""

    def __init__(self, max_threads: int = MAX_THREADS, idle_seconds: float = IDLE_SECONDS) -> None:
        self.max_threads = max_threads
        self.idle_seconds = idle_seconds
        self.start_afresh()
        start_afresh_after_fork(self)

    def start_afresh(self) -> None:
        """Forget all jobs and threads."""
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._free = 0  # how many of them look for a job next

    def submit(self, job: Job) -> None:
        """Run ``job`` in one of the threads, as soon as one is free."""
        with self._changed:
            self._jobs.append(job)
            if self._free >= len(self._jobs):
                self._changed.notify()
                return
            if self._threads >= self.max_threads:
                return
            self._threads += 1
            self._free += 1
        try:
            threading.Thread(target=self._work, name="dockerflow-check", daemon=True).start()
        except RuntimeError:  # no more threads to be had, or the interpreter is shutting down
            with self._changed:
                self._threads -= 1
                self._free -= 1

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._jobs:
                    if not self._changed.wait(self.idle_seconds) and not self._jobs:
                        self._threads -= 1
                        self._free -= 1
                        return
                self._free -= 1
                job = self._jobs.popleft()
            tell = job()
            with self._changed:
                self._free += 1
            # Only now: who is told may ask for the next job at once, and needs no other thread.
            if tell is not None:
                tell()
            del job, tell  # they hold the check's result; don't keep that while idle


class LoopThread:
    """An event loop in a daemon thread, for async checks where no loop of the app's own runs."""

    def __init__(self) -> None:
        self.start_afresh()
        start_afresh_after_fork(self)

    def start_afresh(self) -> None:
        """Forget the loop and its thread."""
        self._lock = threading.Lock()
        self._loop: AbstractEventLoop | None = None

    def get(self) -> AbstractEventLoop:
        """Return the loop, started on first use."""
        import asyncio

        with self._lock:
            if self._loop is None or self._loop.is_closed():
                loop = asyncio.new_event_loop()
                thread = threading.Thread(
                    target=loop.run_forever, name="dockerflow-loop", daemon=True
                )
                try:
                    thread.start()
                except BaseException:  # no more threads to be had: the next check tries again
                    loop.close()
                    raise
                self._loop = loop
            return self._loop


thread_pool = ThreadPool()
loop_thread = LoopThread()
