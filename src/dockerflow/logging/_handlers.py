"""Where lines go: standard output, each of them whole, whatever else happens to it."""

from __future__ import annotations

import atexit
import io
import json
import logging
import os
import stat
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, TextIO
from weakref import WeakSet

from dockerflow._core.exchange import current_exchange as exchange_context
from dockerflow._core.request_id import get_request_id, noted_request
from dockerflow.logging._mozlog import DEFAULT_NAME, MozlogFormatter

if sys.platform != "win32":
    import fcntl

_PIPE_BUF: Final = 4096 if sys.platform == "linux" else 512
"""Up to how many bytes the system writes to a pipe at once, whoever else writes to it."""

_BUSY_SECONDS: Final = 0.005
"""How long to wait before a file that takes nothing at the moment is tried again."""

_EXIT_SECONDS: Final = 5.0
"""How long lines may take to go out when the process ends."""


class _Output:
    """An open file to which lines go whole, whatever other threads and processes write to it.

    A pipe takes up to PIPE_BUF bytes at once; what is longer it mixes with what others write. So
    there every process holds a lock on it meanwhile, which costs about a microsecond.
    """

    def __init__(self, mode: int) -> None:
        self._lock = threading.RLock()
        self._lines: deque[bytes] = deque()
        self._is_shared = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        self._is_writing = False
        self._is_torn = False

    def write(self, fd: int, line: bytes) -> None:
        """Write a line.

        :raises OSError: when that can't be done.
        """
        interruption: BaseException | None = None
        with self._lock:
            lines = self._lines
            if self._is_writing:  # a signal handler logs, while its thread is at a line
                lines.append(line)
                return
            try:
                self._is_writing = True
                lines.append(line)
                if self._is_shared:
                    interruption = _lock_file(fd)
                while lines:
                    interruption = self._write_whole(fd, lines[0]) or interruption
                    lines.popleft()
            finally:
                self._is_writing = False
                lines.clear()
                if self._is_shared:
                    _unlock_file(fd)
        if interruption is not None:
            raise interruption

    def _write_whole(self, fd: int, line: bytes) -> BaseException | None:
        """Write a line to its end; return what a signal handler raised meanwhile."""
        if self._is_torn:  # the disk was full in the midst of a line, for instance
            line = b"\n" + line
        if len(line) <= _PIPE_BUF:
            written = _write_some(fd, line)
            self._is_torn = False
            if written == len(line):
                return None
            line = line[written:]
        # Unlike a loop here, this object knows what it has written when a signal handler raises.
        # One byte more: what fills the buffer may be written at once (Python 3.13).
        rest = io.BufferedWriter(io.FileIO(fd, "wb", closefd=False), len(line) + 1)
        rest.write(line)
        interruption: BaseException | None = None
        while True:
            try:
                rest.flush()
                break
            except BlockingIOError:
                time.sleep(_BUSY_SECONDS)
            except OSError:
                self._is_torn = True
                rest.raw.close()  # so that it doesn't try again
                raise
            except BaseException as error:
                if interruption is not None:  # whoever asks twice can't wait
                    self._is_torn = True
                    rest.raw.close()
                    raise
                interruption = error
        self._is_torn = False
        return interruption

    def wait(self, seconds: float) -> None:
        """Wait until no thread is at a line."""
        if self._lock.acquire(timeout=seconds):
            self._lock.release()


def _write_some(fd: int, line: bytes) -> int:
    while True:
        try:
            return os.write(fd, line)
        except BlockingIOError:
            time.sleep(_BUSY_SECONDS)


def _lock_file(fd: int) -> BaseException | None:
    """Wait for the lock; return what a signal handler raised meanwhile."""
    interruption: BaseException | None = None
    while sys.platform != "win32":
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX)
            break
        except OSError:  # the system has no locks for it
            break
        except BaseException as error:
            if interruption is not None:  # whoever asks twice can't wait
                raise
            interruption = error
    return interruption


def _unlock_file(fd: int) -> None:
    if sys.platform != "win32":
        with suppress(OSError):
            fcntl.lockf(fd, fcntl.LOCK_UN)


# By device and inode: two file descriptors, of two handlers, may be one file.
_outputs: dict[tuple[int, int], _Output] = {}
_queued: WeakSet[QueuedHandler] = WeakSet()
_is_exiting = False
_is_closed = False


def _write_line(fd: int, line: bytes) -> None:
    if _is_closed and threading.current_thread() is not threading.main_thread():
        return  # such a thread could be ended in the midst of a line
    status = os.fstat(fd)
    key = (status.st_dev, status.st_ino)
    output = _outputs.get(key)
    if output is None:
        output = _outputs.setdefault(key, _Output(status.st_mode))
    output.write(fd, line)


class MozlogHandler(logging.StreamHandler[TextIO]):
    """Writes mozlog to standard output, and each line whole.

    That holds also where several threads and processes write to one pipe, as long as they do it
    by this handler; where the pipe is non-blocking and its reader slow; and where a signal
    handler or the end of the process comes in between. A record gets the id of the request that
    is being served as ``rid``, and its user's id as ``uid`` if it is known.

    A full pipe makes the process wait for its reader, as any output does; :class:`QueuedHandler`
    doesn't.

    :param stream: where to write. If none is given it is whatever ``sys.stdout`` is when a
        record is written.
    :param name: the app's name, logged as ``Logger``.
    """

    def __init__(self, stream: TextIO | None = None, name: str = DEFAULT_NAME) -> None:
        self._stream = stream
        super().__init__(stream)
        # The base class has put standard error in the place of no stream.
        self._stream = stream
        self.logger_name = name
        self.formatter: logging.Formatter | None = MozlogFormatter()

    @property
    def stream(self) -> Any:
        """The stream that is written to."""
        return sys.stdout if self._stream is None else self._stream

    @stream.setter
    def stream(self, stream: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; one that nobody can read, the stream being closed, is dropped."""
        record.logger_name = self.logger_name
        add_context(record)
        try:
            self._send(self.format(record) + self.terminator)
        except Exception:  # noqa: BLE001  # this is what the logging package does about it
            self.handleError(record)

    def _send(self, line: str) -> None:
        stream = self.stream
        if stream is None or getattr(stream, "closed", False):
            return
        # What is no plain file of text may do anything else with what is written to it.
        if type(stream) is io.TextIOWrapper:
            with suppress(BlockingIOError):
                stream.flush()  # what was printed before comes before
            try:
                fd = stream.fileno()
            except (OSError, ValueError):  # it is in memory only
                pass
            else:
                _write_line(fd, line.encode("utf-8", "backslashreplace"))
                return
        try:
            stream.write(line)
        except UnicodeEncodeError:
            stream.write(_ascii(line))
        stream.flush()

    def flush(self) -> None:
        """Flush the stream, unless it is closed."""
        if not getattr(self.stream, "closed", False):
            super().flush()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Report what went wrong, but for a reader that is gone."""
        error = sys.exc_info()[1]
        if isinstance(error, BrokenPipeError) or getattr(self.stream, "closed", False):
            return
        super().handleError(record)


class QueuedHandler(MozlogHandler):
    """Writes from a thread of its own, so that a slow reader of standard output delays nobody.

    When ``queue_size`` lines wait already, a further one is dropped: what led to the trouble is
    kept. How many were dropped is logged, as a warning of the logger ``dockerflow.logging`` with
    the field ``dropped``, when there is room again; the attribute ``dropped`` has the sum. When
    the process ends, what waits is written, for at most five seconds.

    Records are formatted by the thread that logs them, so that they say what was true then.

    :param stream: as for :class:`MozlogHandler`.
    :param name: as for :class:`MozlogHandler`.
    :param queue_size: how many lines may wait.

    .. versionadded:: 0.1.0
    """

    def __init__(
        self, stream: TextIO | None = None, name: str = DEFAULT_NAME, queue_size: int = 10_000
    ) -> None:
        super().__init__(stream, name)
        self.queue_size = queue_size
        self.dropped: int = 0
        self._reported = 0
        self._is_stuck = False
        self.start_anew()
        _queued.add(self)

    def start_anew(self) -> None:
        """Forget what waits, in a forked child: its parent writes it."""
        # A signal handler may log in the midst of anything; this kind of queue can take that.
        self._lines: SimpleQueue[str | threading.Event] = SimpleQueue()
        self._worker: threading.Thread | None = None

    def _send(self, line: str) -> None:
        if self._is_stuck or self._lines.qsize() >= self.queue_size:
            self.dropped += 1
            return
        if _is_exiting:  # nobody may be left who writes what waits
            super()._send(line)
            return
        self._lines.put(line)
        if self._worker is None:
            self._start()

    def _start(self) -> None:
        self._worker = worker = threading.Thread(
            target=self._work, args=(self._lines,), name="dockerflow-logs", daemon=True
        )
        try:
            worker.start()
        except RuntimeError:  # no more threads, or the interpreter ends
            self._worker = None
            while not self._lines.empty():
                self._take(self._lines.get())
            return
        # What multiprocessing forks doesn't run what is registered with atexit.
        if (util := sys.modules.get("multiprocessing.util")) is not None:
            util.Finalize(self, self.flush, exitpriority=0)

    def _work(self, lines: SimpleQueue[str | threading.Event]) -> None:
        while True:
            self._take(lines.get())

    def _take(self, item: str | threading.Event) -> None:
        try:
            if self.dropped != self._reported:
                self._report()
            if isinstance(item, str):
                super()._send(item)
        except Exception:  # noqa: BLE001  # nobody is there to catch it
            self.handleError(logging.makeLogRecord({"msg": item}))
        if not isinstance(item, str):
            item.set()

    def _report(self) -> None:
        dropped = self.dropped
        new, self._reported = dropped - self._reported, dropped
        record = logging.LogRecord(
            "dockerflow.logging", logging.WARNING, __file__, 0,
            "%d log lines were dropped, as standard output was too slow", (new,), None,
        )  # fmt: skip
        record.__dict__.update(dropped=new, logger_name=self.logger_name)
        super()._send(self.format(record) + self.terminator)

    def flush(self) -> None:
        """Wait until what waits is written, for at most five seconds."""
        worker = self._worker
        if worker is not None and worker.is_alive() and worker is not threading.current_thread():
            done = threading.Event()
            self._lines.put(done)
            # Once it was too slow when the process ends, it isn't waited for again.
            if not self._is_stuck and not done.wait(_EXIT_SECONDS):
                self._is_stuck = _is_exiting
        else:
            super().flush()


def add_context(record: logging.LogRecord) -> None:
    """Put the request's id and its user's into a record that has none."""
    fields = record.__dict__
    rid = get_request_id()
    if rid is not None and fields.get("rid") is None:
        fields["rid"] = rid
    elif rid is None and "request" in fields:
        # Django logs a 404 after its last middleware; the record has the request.
        with suppress(Exception):  # it may be anything
            fields.setdefault("rid", fields["request"]._dockerflow_exchange.rid)  # noqa: SLF001
    elif rid is None and isinstance(record.exc_info, tuple):
        rid, uid = noted_request(record.exc_info[1])
        if rid is not None:
            fields.setdefault("rid", rid)
            if uid:
                fields.setdefault("uid", uid)
    exchange = exchange_context.get()
    if exchange is not None and fields.get("uid") is None and (uid := exchange.uid):
        fields["uid"] = uid


def _ascii(line: str) -> str:
    """Escape what is not ASCII, in a way that is right in JSON."""
    return "".join(char if char.isascii() else json.dumps(char)[1:-1] for char in line)


def _begin_child() -> None:
    # What another thread of the parent is at is the parent's.
    _outputs.clear()
    for handler in _queued:
        handler.start_anew()


def _at_exit() -> None:
    global _is_exiting, _is_closed  # noqa: PLW0603  # there is one process
    _is_exiting = True
    for handler in list(_queued):
        handler.flush()
    _is_closed = True
    for output in list(_outputs.values()):
        output.wait(_EXIT_SECONDS)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_child)
atexit.register(_at_exit)
