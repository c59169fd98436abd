"""Graceful shutdown: the heartbeat tells load balancers that this process is about to exit.

After SIGTERM the heartbeat is 503 for ``Config.drain_seconds`` while everything else is served as
before. Only then does the server get the signal and stop accepting connections: by then, load
balancers send no more requests.
"""

from __future__ import annotations

import _thread
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from dockerflow.config import Config

logger: logging.Logger = logging.getLogger("dockerflow")

_UWSGI: Final = "uWSGI stops its workers without a SIGTERM that they could delay"
_HYPERCORN: Final = (
    "Hypercorn's master stops its workers without a signal that they could delay. With "
    "--workers 0 it serves without a master"
)
_OTHER_THREAD: Final = (
    "this server calls the app outside of the main thread. Call dockerflow.drain.install() "
    "there, such as in gunicorn's post_worker_init"
)
_NOT_REPLACEABLE: Final = "this server handles SIGTERM in a way that can't be delayed"


@dataclass
class _State:
    """How SIGTERM is delayed, and the state of draining."""

    seconds: float = 0.0
    is_at_loop: bool = False  # whether an event loop calls the handler
    notify: Callable[[], object] | None = None
    # A fork copies these: each has the ID of the process for which it holds.
    draining_pid: int | None = None
    signalled_pid: int | None = None
    was_signalled_again: bool = False
    has_warned: bool = False


_state = _State()


@dataclass(frozen=True)
class _Handler:
    """Handles SIGTERM: drains, and only then does what ``previous`` does.

    An app may put its own handler before this one, and this may be put before that one again.
    """

    previous: Any

    def __call__(self, *args: Any) -> None:  # an event loop passes none
        if _begin():
            return
        if callable(self.previous):
            self.previous(*args)
        elif self.previous is not signal.SIG_IGN:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)


def drain() -> None:
    """Make the heartbeat of this process 503 from now on. Nothing else changes.

    .. versionadded:: 0.1.0
    """
    _state.draining_pid = os.getpid()


def is_draining() -> bool:
    """Whether this process is draining.

    .. versionadded:: 0.1.0
    """
    return _state.draining_pid == os.getpid()


def install(seconds: float | None = None) -> bool:
    """Drain on SIGTERM, and forward the signal to the server only after ``seconds``.

    The middlewares do this themselves where they can. Call it where the server runs them outside
    of the main thread: in the main thread, once the server has set its own handler, such as in
    gunicorn's ``post_worker_init``. A second SIGTERM ends the wait.

    :param seconds: how long to wait; by default ``Config.drain_seconds``. 0 means off.
    :returns: whether SIGTERM now drains. If it can't, a warning is logged once.
    :raises ConfigError: when ``seconds`` is neither 0 nor a number greater than 0.

    .. versionadded:: 0.1.0
    """
    config = Config() if seconds is None else Config(drain_seconds=seconds)
    return config.drain_seconds > 0 and _install(config.drain_seconds)


def install_once(seconds: float, *, only_over_a_server: bool = False) -> None:
    """Install draining for a driver, which may call this again and again.

    :param seconds: the setting ``drain_seconds``; 0 means off.
    :param only_over_a_server: do nothing yet if no server has set a handler.
    """
    current = signal.getsignal(signal.SIGTERM)
    # A loop's handler can only be delayed once the loop runs.
    has_server = callable(current) and not _belongs_to_loop(current)
    if seconds and not is_draining() and (has_server or not only_over_a_server):
        _install(seconds)


def install_at_loop(seconds: float, stop: Callable[[], object]) -> None:
    """Install draining where the server handles SIGTERM by the running event loop.

    :param seconds: the setting ``drain_seconds``; 0 means off.
    :param stop: what the server does at the signal; not every loop, such as uvloop's, has a way
        to look it up.
    """
    if not seconds or is_draining():
        return
    _state.seconds = min(seconds, threading.TIMEOUT_MAX)
    _handle_at_loop(_running_loop(), stop)


def install_in_parent(seconds: float, notify: Callable[[], object]) -> None:
    """Install draining in a process whose children serve the requests.

    :param seconds: the setting ``drain_seconds``; 0 means off.
    :param notify: makes the children drain; called in the signal handler.
    """
    _state.notify = notify
    install_once(seconds)


def _install(seconds: float) -> bool:
    if "uwsgi" in sys.modules:
        return _warn(_UWSGI)
    _state.seconds = min(seconds, threading.TIMEOUT_MAX)
    try:
        return _delay_at_loop(_running_loop()) or _delay_in_process()
    except ValueError:  # not the main thread; gevent, patched late, doesn't know which one it is
        return _state.is_at_loop or _warn(_OTHER_THREAD)


def _delay_at_loop(loop: Any) -> bool:
    """Delay the handler that an asyncio loop has for SIGTERM, as under Hypercorn and Sanic."""
    # It is called instead of the process's handler. asyncio has no public way to read it.
    handles: Any = getattr(loop, "_signal_handlers", None)
    handle: Any = handles.get(signal.SIGTERM) if hasattr(handles, "get") else None
    if handle is None:
        return False
    callback, arguments = handle._callback, handle._args  # noqa: SLF001
    if not isinstance(callback, _Handler):
        _handle_at_loop(loop, partial(callback, *arguments))
    return True


def _handle_at_loop(loop: Any, previous: Callable[[], object]) -> None:
    _state.is_at_loop = True
    loop.add_signal_handler(signal.SIGTERM, _Handler(previous))


def _delay_in_process() -> bool:
    current = signal.getsignal(signal.SIGTERM)
    if isinstance(current, _Handler):
        return True
    if current is None or _belongs_to_loop(current):
        return _state.is_at_loop or _warn(_NOT_REPLACEABLE)
    if current is signal.SIG_DFL and _is_hypercorns_worker():
        return _warn(_HYPERCORN)
    handler = _Handler(current)
    signal.signal(signal.SIGTERM, handler)
    if signal.getsignal(signal.SIGTERM) is not handler:  # mod_wsgi ignores signal.signal()
        return _warn(_NOT_REPLACEABLE)
    # As gunicorn does: let system calls of running requests continue.
    if hasattr(signal, "siginterrupt"):
        signal.siginterrupt(signal.SIGTERM, False)
    return True


def _begin() -> bool:
    """Start draining; return False if the server should get the signal now."""
    if _state.signalled_pid == os.getpid():
        _state.was_signalled_again = True
        return False
    _state.signalled_pid = os.getpid()
    _state.was_signalled_again = False
    drain()
    if _state.notify is not None:
        try:
            _state.notify()
        except OSError:
            logger.exception("Not all processes could be notified to drain")
    try:
        # Thread.start() waits for the thread. A signal may arrive in gevent's hub, which can't.
        _thread.start_new_thread(_signal_again_later, ())
    except RuntimeError:  # no thread can be started
        return False
    return True


def _signal_again_later() -> None:
    time.sleep(_state.seconds)
    # By a signal, because handlers may only be called in the main thread.
    if not _state.was_signalled_again:
        os.kill(os.getpid(), signal.SIGTERM)


def _is_hypercorns_worker() -> bool:
    multiprocessing: Any = sys.modules.get("multiprocessing")
    is_child = multiprocessing is not None and multiprocessing.parent_process() is not None
    return is_child and "hypercorn" in sys.modules


def _belongs_to_loop(handler: Any) -> bool:
    """Whether asyncio or uvloop set this handler because their loop handles the signal itself."""
    module = getattr(handler, "__module__", None) or ""
    return module.partition(".")[0] in {"asyncio", "uvloop"}


def _running_loop() -> Any:
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _warn(reason: str) -> bool:
    """Log why draining isn't possible, once. Return False."""
    if not _state.has_warned:
        _state.has_warned = True
        logger.warning("drain_seconds has no effect: %s", reason)
    return False
