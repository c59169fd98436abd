"""Handlers that write each line to standard output as a whole."""
# ruff: noqa: SIM105  # contextlib.suppress takes as long as one of the system calls

from __future__ import annotations

import atexit
import errno
import io
import json
import logging
import os
import queue
import select
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import QueueListener
from types import BuiltinFunctionType
from typing import Any, Final, TextIO

from dockerflow._core.exchange import current_exchange, was_made_here
from dockerflow._core.request_id import noted_request, request_id_context
from dockerflow.logging._mozlog import DEFAULT_NAME, MozlogFormatter, exception_of
from dockerflow.logging._trace import add_span

if sys.platform != "win32":
    import fcntl
    import termios

_PIPE_BUF: Final = getattr(select, "PIPE_BUF", 512)
"""How many bytes the system writes to a pipe in one piece."""

_BUSY_SECONDS: Final = 0.005
"""How long to wait before writing again to a non-blocking file that is full."""

_ROOM_SECONDS: Final = 1.0
"""How long a long line waits for room in a pipe that other processes keep filling."""

_FLUSH_SECONDS: Final = 5.0
"""How long a flush waits for the lines of a :class:`QueuedHandler`."""

_CLOSE_SECONDS: Final = 0.1
"""How long a closed handler waits for its thread: long enough unless the reader is stuck."""

_exit_waits: Final[list[float]] = []
"""For how many seconds each flush has waited since the process began to exit; empty before."""

# From then on, the interpreter may end daemon threads at any moment.
atexit.register(_exit_waits.append, 0.0)


class _Output:
    """Writes lines to an open file, each as a whole, for the handlers and threads of one process.

    A pipe takes a line of up to PIPE_BUF bytes in one piece. A longer one could be mixed with what
    other processes write, if the pipe becomes full within it. So it waits until there is room.

    :param is_pipe: whether the file is a pipe, at the first line.
    """

    def __init__(self, *, is_pipe: bool) -> None:
        self._is_pipe = is_pipe
        self._thread_lock = threading.RLock()
        self._lines: deque[tuple[int, bytes]] = deque()
        self._torn: set[int] = set()
        """The files whose last line is incomplete."""

    def write(self, fd: int, line: bytes) -> None:
        """Write a line.

        :raises OSError: if that isn't possible.
        """
        interruption: BaseException | None = None
        with self._thread_lock:
            if self._is_pipe and len(line) <= _PIPE_BUF and not (self._lines or self._torn):
                written = 0
                try:
                    # A signal handler may run after any call. If it raised before the assignment,
                    # the line would be written twice; so there is no call in between.
                    [written] = map(os.write, (fd,), (line,))
                except BlockingIOError:
                    pass
                except BaseException as error:
                    if written == len(line) or isinstance(error, OSError):
                        raise
                    interruption = error
                if written == len(line):
                    return
                if written:  # the descriptor was given another file, as by dup2()
                    self._is_pipe = False
                    line = line[written:]
            if self._lines:  # a signal handler logs while its thread writes a line
                self._lines.append((fd, line))
                return
            try:
                self._lines.append((fd, line))
                self._write_lines(interruption)
            finally:
                self._lines.clear()

    def _write_lines(self, interruption: BaseException | None) -> None:
        while self._lines:
            interruption = self._write_in_pieces(*self._lines[0], interruption)
            self._lines.popleft()
        if interruption is not None:
            raise interruption

    def _write_in_pieces(
        self, fd: int, line: bytes, interruption: BaseException | None
    ) -> BaseException | None:
        """Write a line to its end; return what a signal handler raised during or before that.

        :raises OSError: if that isn't possible.
        """
        if fd in self._torn:
            line = b"\n" + line
        raw = io.FileIO(fd, "wb", closefd=False)
        # If it is interrupted, it knows how much it has written. It is one byte larger than the
        # line: what fills the buffer may be written immediately (Python 3.13).
        rest = io.BufferedWriter(raw, len(line) + 1)
        rest.write(line)
        is_long = len(line) > _PIPE_BUF
        has_room = not is_long
        try:
            while True:
                try:
                    if not has_room:
                        _wait_for_room(fd, len(line))
                        has_room = True
                    rest.flush()
                    break
                except BlockingIOError:
                    time.sleep(_BUSY_SECONDS)
                except BaseException as error:
                    # The disk may have become full in the middle of the line. If a signal handler
                    # raised, finish the line, but don't wait a second time.
                    if isinstance(error, OSError) or interruption is not None:
                        self._torn.add(fd)
                        raise
                    interruption = error
        finally:
            raw.close()  # else the buffer would write the rest later
            if is_long:
                _lock(fd, hold=False)
        self._torn.discard(fd)
        return interruption


def _wait_for_room(fd: int, length: int) -> None:
    """Wait until a pipe or socket has room for a long line, and keep those of others waiting.

    The lock is the processes'. What they write without it, short lines, could fill the pipe for
    ever, so the wait has an end.
    """
    _lock(fd, hold=True)
    end = time.monotonic() + _ROOM_SECONDS
    seconds = _BUSY_SECONDS / 32  # most readers are quick
    while not _has_room(fd, length) and time.monotonic() < end:
        time.sleep(seconds)
        seconds = min(seconds * 2, _BUSY_SECONDS)


def _lock(fd: int, *, hold: bool) -> None:
    if sys.platform != "win32":
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX if hold else fcntl.LOCK_UN)
        except OSError:  # not every kind of file has locks
            pass


def _has_room(fd: int, length: int) -> bool:
    """Whether the system takes so many bytes in one piece, as far as it tells."""
    if sys.platform == "win32":
        return True
    mode = os.fstat(fd).st_mode
    is_pipe = stat.S_ISFIFO(mode)
    if not (is_pipe or stat.S_ISSOCK(mode)):
        return True
    monkey: Any = sys.modules.get("gevent.monkey")
    make_poll = monkey.get_original("select", "poll") if monkey else getattr(select, "poll", None)
    if isinstance(make_poll, BuiltinFunctionType):  # eventlet removes it
        poll = make_poll()
        poll.register(fd, 0)
        if poll.poll(0):  # the reader is gone
            return True
    try:
        request = termios.FIONREAD if is_pipe else termios.TIOCOUTQ
        unread = int.from_bytes(fcntl.ioctl(fd, request, bytes(4)), sys.byteorder)
    except OSError:  # not every system tells
        return True
    if not (unread and is_pipe and sys.platform == "linux"):
        return not unread
    # A pipe consists of pages, and a line that doesn't fit into the last one begins a new one. So
    # two neighbours have more than a page of bytes together; the reader is within the first one.
    page = os.sysconf("SC_PAGE_SIZE")
    pages = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) // page
    return 2 * unread // page + 2 + -(-length // page) <= pages


# By process, as a child that was forked while a thread of its parent wrote must not use its lock;
# by device and inode, as two descriptors may be one pipe, and one that is full delays no other.
_outputs: dict[tuple[int, int, int], _Output] = {}
_by_descriptor: dict[tuple[int, int], _Output] = {}
"""The same by process and descriptor, as found at its first line: that saves a system call."""


def _output_of(fd: int) -> _Output:
    pid = os.getpid()
    output = _by_descriptor.get((pid, fd))
    if output is None:
        status = os.fstat(fd)
        made = _Output(is_pipe=stat.S_ISFIFO(status.st_mode))
        output = _outputs.setdefault((pid, status.st_dev, status.st_ino), made)
        _by_descriptor[pid, fd] = output
    return output


class MozlogHandler(logging.StreamHandler[TextIO]):
    """Writes mozlog to standard output, and each line whole.

    Lines stay whole if several threads and processes write to one pipe with this handler, if the
    pipe is non-blocking and its reader slow, and if a signal handler or the end of the process
    interrupts. A record gets the ID of the current request as ``rid``, and its user's ID as
    ``uid`` if it is known; and OpenTelemetry's current span, if there is one, as ``trace_id``,
    ``span_id`` and ``trace_flags``.

    If a pipe is full, the process waits for its reader, as with any output; use
    :class:`QueuedHandler` to avoid that. If the reader is gone or the stream closed, lines are
    dropped.

    :param stream: where to write; by default what ``sys.stdout`` is when a record is written.
    :param name: the app's name, logged as ``Logger``.
    """

    def __init__(self, stream: TextIO | None = None, name: str = DEFAULT_NAME) -> None:
        super().__init__(stream)
        # The base class replaces None by standard error.
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
        """Write the record."""
        if _exit_waits and threading.current_thread().daemon:
            return  # the thread could be ended in the middle of a line
        try:
            record.logger_name = self.logger_name
            add_context(record)
            self._send(self.format(record) + self.terminator)
        except Exception:  # noqa: BLE001  # as in the handlers of the standard library
            self.handleError(record)

    def _send(self, line: str) -> None:
        stream = self.stream
        if stream is None or getattr(stream, "closed", False):
            return
        try:
            # Other classes may do anything with what is written to them.
            fd = _descriptor(stream) if type(stream) is io.TextIOWrapper else None
            if fd is None:
                _print(stream, line)
                return
            try:
                stream.flush()  # what was printed before comes before
            except BlockingIOError:
                pass
            _output_of(fd).write(fd, line.encode("utf-8", "backslashreplace"))
        except BrokenPipeError:
            pass
        except OSError as error:
            if error.errno != errno.EBADF:
                raise

    def flush(self) -> None:
        """Flush the stream, unless it is closed."""
        if not getattr(self.stream, "closed", False):
            super().flush()


class QueuedHandler(MozlogHandler):
    """Writes from a thread, so that a slow reader of standard output delays nothing else.

    If ``queue_size`` lines are waiting, further ones are dropped: the oldest lines are kept. When
    there is room again, the number of dropped lines is logged as a warning of the logger
    ``dockerflow.logging`` with the field ``dropped``. When the process ends, waiting lines are
    written for at most five seconds, also if there are several handlers.

    Records are formatted by the thread that logs them.

    :param stream: as for :class:`MozlogHandler`.
    :param name: as for :class:`MozlogHandler`.
    :param queue_size: how many lines may wait.

    .. versionadded:: 0.1.0
    """

    # It isn't a logging.handlers.QueueHandler, since dictConfig asks for more options there.

    def __init__(
        self, stream: TextIO | None = None, name: str = DEFAULT_NAME, queue_size: int = 10_000
    ) -> None:
        super().__init__(stream, name)
        self.queue_size = queue_size
        self.dropped: int = 0
        """How many lines this process has dropped."""
        self._reported = 0
        self._listener: _Listener | None = None
        self._is_closed = False

    def _send(self, line: str) -> None:
        listener = self._running_listener()
        if listener is None and not self._is_closed:
            listener = self._start_listener()
        if listener is None:
            super()._send(line)
        elif self._is_closed or listener.lines.qsize() >= self.queue_size:
            self.dropped += 1
        else:
            listener.lines.put(line)

    def _running_listener(self) -> _Listener | None:
        """Return the listener whose thread runs in this process, if there is one."""
        listener = self._listener
        if listener is None or listener.pid != os.getpid() or listener.ended.is_set():
            return None
        return listener

    def _start_listener(self) -> _Listener | None:
        self.acquire()  # not every caller of emit() holds the lock
        try:
            if (listener := self._running_listener()) is not None:
                return listener
            self.dropped = self._reported = 0  # a forked child doesn't report its parent's
            listener = _Listener(self._write_queued)
            listener.start()
            self._listener = listener
        except RuntimeError:  # there can be no more threads
            return None
        finally:
            self.release()
        # A child of multiprocessing doesn't run what is registered with atexit.
        if (util := sys.modules.get("multiprocessing.util")) is not None:
            util.Finalize(self, self._flush_finally, exitpriority=0)
        return listener

    def _write_queued(self, line: str) -> None:
        """Write a line that waited, after the number of those that were dropped."""
        try:
            if (dropped := self.dropped - self._reported) > 0:
                self._reported += dropped
                self._write_now(self._report(dropped))
            if line:
                self._write_now(line)
        except Exception:  # noqa: BLE001  # it would end the thread
            self.handleError(logging.makeLogRecord({"msg": line}))

    def _write_now(self, line: str) -> None:
        monkey: Any = sys.modules.get("gevent.monkey")
        stream = self.stream
        if monkey and monkey.is_module_patched("threading") and type(stream) is io.TextIOWrapper:
            # The thread is a greenlet, and a write that waits would stop all of them.
            fd, size = _descriptor(stream), len(line.encode("utf-8", "backslashreplace"))
            with suppress(OSError):
                while fd is not None and not _has_room(fd, size):
                    time.sleep(_BUSY_SECONDS)
        super()._send(line)

    def _report(self, dropped: int) -> str:
        record = logging.LogRecord(
            "dockerflow.logging", logging.WARNING, __file__, 0,
            "%d log lines were dropped, as standard output was too slow", (dropped,), None,
        )  # fmt: skip
        record.__dict__.update(dropped=dropped, logger_name=self.logger_name)
        return self.format(record) + self.terminator

    def flush(self) -> None:
        """Wait until the waiting lines are written, for at most five seconds.

        After it has waited in vain, it doesn't wait again until these lines are written.
        """
        listener = self._running_listener()
        if listener is None or self._is_closed:
            super().flush()
        else:
            listener.flush()

    def _flush_finally(self) -> None:
        _exit_waits.append(0.0)
        self.flush()

    def close(self) -> None:
        """Let the thread end after the waiting lines; later lines are written without it.

        Until it has ended, as while the reader is stuck, later lines are dropped.
        """
        self.acquire()
        try:
            listener = None if self._is_closed else self._running_listener()
            self._is_closed = True
            if listener is not None:
                listener.lines.put(listener.ended)
                # A thread can't end in peace if gevent has replaced this function since its start.
                if listener.get_ident is threading.get_ident:
                    listener.enqueue_sentinel()
                listener.ended.wait(_CLOSE_SECONDS)
        finally:
            self.release()
        super().close()


class _Listener(QueueListener):
    """The thread that writes a handler's lines, in the process that has started it."""

    def __init__(self, write: Callable[[str], None]) -> None:
        # Unlike queue.Queue, it can be used by a signal handler that interrupts itself.
        self.lines: queue.SimpleQueue[Any] = queue.SimpleQueue()
        super().__init__(self.lines)
        self.pid = os.getpid()
        self.get_ident = threading.get_ident
        self.ended = threading.Event()
        self._write = write
        self._late: threading.Event | None = None

    def handle(self, record: Any) -> None:
        """Write a line, or set the event that somebody waits for."""
        if isinstance(record, str):
            self._write(record)
        else:
            self._write("")
            record.set()

    def flush(self) -> None:
        """Wait until the lines are written, unless that has been in vain already."""
        if self._late is None or self._late.is_set():
            written = threading.Event()
            self.lines.put(written)
            started = time.monotonic()
            self._late = None if written.wait(_FLUSH_SECONDS - sum(_exit_waits)) else written
            if _exit_waits:
                _exit_waits.append(time.monotonic() - started)


def add_context(record: logging.LogRecord) -> None:
    """Add the current span, and the IDs of the current request and its user, to a record.

    Outside of a request, they are those of the request that the record's exception escaped from.
    """
    add_span(record)
    fields = record.__dict__
    if fields.get("rid") is not None and fields.get("uid") is not None:  # a summary's, for example
        return
    exchange, rid, uid = current_exchange.get(), request_id_context.get(), None
    if rid is not None and not was_made_here(record, exchange):
        exchange = rid = None
    if exchange is not None:
        uid = exchange.uid
    if rid is None and record.exc_info:
        rid, uid = noted_request(exception_of(record)[1])
    if rid is not None and fields.get("rid") is None:
        fields["rid"] = rid
    if uid not in (None, "") and fields.get("uid") is None:
        fields["uid"] = uid


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):  # it is in memory only
        return None


def _print(stream: TextIO, line: str) -> None:
    try:
        stream.write(line)
    except UnicodeEncodeError:  # JSON has a way to write it in ASCII
        stream.write("".join(c if c.isascii() else json.dumps(c)[1:-1] for c in line))
    stream.flush()
