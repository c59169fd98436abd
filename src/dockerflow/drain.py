"""Drain: tell load balancers, by the heartbeat, that this process is about to end.

After SIGTERM the heartbeat is 503 for ``Config.drain_seconds`` while all else goes on. Only then
does the server get the signal, and stops accepting connections: by then nobody sends any.
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
from types import FrameType
from typing import Any

from dockerflow.config import Config, ConfigError

logger: logging.Logger = logging.getLogger("dockerflow")


class _Drain:
    """What this process knows of its own end."""

    def __init__(self) -> None:
        self.is_draining = False
        self.seconds = 0.0
        self.has_begun = False
        self.is_over = False
        self.was_told = False
        self.previous: Any = signal.SIG_DFL
        self.loop_callback: tuple[Any, tuple[Any, ...]] | None = None
        self.tell_others: Callable[[], object] | None = None

    def begin(self) -> bool:
        """Drain; return whether that is new, so that the signal has to wait."""
        if self.has_begun:
            self.is_over = True
            return False
        self.has_begun = self.is_draining = True
        if self.tell_others is not None:
            try:
                self.tell_others()
            except Exception:
                logger.exception("Not all processes could be told to drain")
        try:
            # Not threading's start(), which waits: a signal may come in gevent's hub, which can't.
            _thread.start_new_thread(self._end_later, ())
        except RuntimeError:  # no more threads to be had: end without delay
            return False
        return True

    def _end_later(self) -> None:
        time.sleep(self.seconds)
        # The signal once more, as a handler may only be called in the main thread.
        if not self.is_over:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self.begin():
            return
        if callable(self.previous):
            self.previous(signum, frame)
        elif self.previous is not signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    def on_loop_signal(self) -> None:
        if not self.begin() and self.loop_callback is not None:
            callback, arguments = self.loop_callback
            callback(*arguments)


_drain = _Drain()


def drain() -> None:
    """Have the heartbeat answer 503 from now on, in this process. Nothing else changes.

    .. versionadded:: 0.1.0
    """
    _drain.is_draining = True


def is_draining() -> bool:
    """Whether this process drains.

    .. versionadded:: 0.1.0
    """
    return _drain.is_draining


def install(seconds: float | None = None) -> bool:
    """Drain on SIGTERM, and give the server the signal only after ``seconds``.

    To be called in the main thread once the server has set its own handler. The middlewares do so
    by themselves where they can; where a server runs them in other threads only, call it in the
    server's own hook, such as gunicorn's ``post_worker_init``. A second SIGTERM ends the wait.

    :param seconds: how long to wait; by default ``Config.drain_seconds``, where 0 is for off.
    :returns: whether SIGTERM drains now.
    :raises ConfigError: when ``seconds`` isn't a number of seconds or 0.

    .. versionadded:: 0.1.0
    """
    config = Config() if seconds is None else Config(drain_seconds=seconds)
    return _install(config.drain_seconds)


def install_once(seconds: float, *, only_over_a_server: bool = False) -> None:
    """Install what the settings ask for, as the drivers do; say so once if that can't be.

    :param only_over_a_server: leave it for later where no server has set a handler yet.
    """
    if not seconds or _drain.is_draining:
        return
    if threading.current_thread() is not threading.main_thread():
        if signal.getsignal(signal.SIGTERM) != _drain.on_signal and _drain.loop_callback is None:
            _tell(
                "drain_seconds has no effect: this server calls the app outside of the main "
                "thread. Call dockerflow.drain.install() there, such as in gunicorn's "
                "post_worker_init"
            )
        return
    if only_over_a_server and not callable(signal.getsignal(signal.SIGTERM)):
        return
    try:
        _install(seconds)
    except (ConfigError, ValueError, OSError) as error:
        _tell(f"drain_seconds has no effect: {error}")


def install_at_loop(seconds: float, stop: Callable[[], object]) -> None:
    """Install what the settings ask for where a server had the running loop take SIGTERM.

    :param stop: what the server does at the signal. Unlike asyncio's own loop, uvloop's can't be
        asked for that.
    """
    if not seconds or _drain.is_draining:
        return
    _drain.seconds = min(seconds, threading.TIMEOUT_MAX)
    _drain.loop_callback = stop, ()
    _running_loop().add_signal_handler(signal.SIGTERM, _drain.on_loop_signal)


def install_in_parent(seconds: float, tell_others: Callable[[], object]) -> None:
    """Install what the settings ask for in a process whose children serve the requests.

    :param tell_others: has the children drain; called in the signal's handler.
    """
    _drain.tell_others = tell_others
    install_once(seconds)


def _install(seconds: float) -> bool:
    if not seconds:
        return False
    _drain.seconds = min(seconds, threading.TIMEOUT_MAX)
    loop = _running_loop()
    # Such as hypercorn and Sanic: what is registered at the loop is called whatever handler the
    # process has. Public ways to ask the loop for it there are none.
    handles: Any = getattr(loop, "_signal_handlers", None)
    handle: Any = handles.get(signal.SIGTERM) if hasattr(handles, "get") else None
    if loop is not None and handle is not None:
        if handle._callback != _drain.on_loop_signal:  # noqa: SLF001
            _drain.loop_callback = handle._callback, handle._args  # noqa: SLF001
            loop.add_signal_handler(signal.SIGTERM, _drain.on_loop_signal)
        return True
    current = signal.getsignal(signal.SIGTERM)
    if current == _drain.on_signal:
        return True
    if current is None or (loop is not None and _is_of_loop(current)):
        _tell("drain_seconds has no effect: this server's way to take SIGTERM can't be delayed")
        return False
    _drain.previous = current
    signal.signal(signal.SIGTERM, _drain.on_signal)
    # As gunicorn has it: system calls of requests under way go on.
    if hasattr(signal, "siginterrupt"):
        signal.siginterrupt(signal.SIGTERM, False)
    return True


def _is_of_loop(handler: Any) -> bool:
    """Whether it is what asyncio or uvloop set while their loop itself takes the signal."""
    module = getattr(handler, "__module__", None) or ""
    return module.partition(".")[0] in {"asyncio", "uvloop"}


def _running_loop() -> Any:
    # Without importing asyncio: where it isn't loaded, no loop runs.
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _tell(text: str) -> None:
    if not _drain.was_told:
        _drain.was_told = True
        logger.warning("%s", text)
