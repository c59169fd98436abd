"""Start a command, keep what it writes, and leave none of its processes behind."""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, Final

import psutil

from dockerflow.verify.evidence import CouldNotRunError, Log, printable

MAX_LOG: Final = 4 << 20
"""How much of stdout and of stderr is kept, in bytes; the rest is read and thrown away."""
KILL_SECONDS: Final = 10.0
_ERROR: Final = 3  # the syslog level that mozlog has
_PR_SET_CHILD_SUBREAPER: Final = 36  # from linux/prctl.h


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def _pid_namespace(pid: int | str) -> str | None:
    """Return which namespace of Linux's a process is in; one elsewhere is in a container."""
    with suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115 - what it names is no path
    return None


class Output:
    """Reads one pipe to its end in a thread, and keeps the first bytes of it."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self.kept: bytearray = bytearray()
        self.dropped: bool = False
        self._pipe = pipe
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError, ValueError):
            while chunk := os.read(self._pipe.fileno(), 1 << 16):
                room = MAX_LOG - len(self.kept)
                self.kept += chunk[:room]
                self.dropped = self.dropped or len(chunk) > room

    def settle(self, seconds: float) -> None:
        """Wait for what is still to be read, but not for whoever keeps the pipe open."""
        self._thread.join(seconds)

    def finish(self) -> None:
        """Wait until all was read, now that all who could write are gone."""
        self._thread.join(5)
        if not self._thread.is_alive():
            self._pipe.close()

    def log(self, where: str, stream: str, reproduce: str) -> Log:
        """Return the lines; one that was cut off at the end is left out."""
        lines = bytes(self.kept).split(b"\n")
        if self.dropped or not lines[-1]:
            lines.pop()
        return Log(where, stream, lines, reproduce, self.dropped)


class Process:
    """A started command with all the processes that come of it; made by :func:`started`."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self.port: int = free_port()
        self.where: str = shlex.join(command)
        self.start: str = " ".join(
            [
                *(f"{name}={shlex.quote(value)}" for name, value in environ.items()),
                f"PORT={self.port}",
                self.where,
            ]
        )
        self._before = {child.pid for child in psutil.Process().children(recursive=True)}
        try:
            # A group of its own, so that no signal meant for it or for us reaches the other.
            self._popen = subprocess.Popen(  # noqa: S603 - starting it is what is asked for
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **environ, "PORT": str(self.port)},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
            raise CouldNotRunError(f"{self.where} can't be started: {reason}") from None
        assert self._popen.stdout is not None  # noqa: S101 - it is a pipe
        assert self._popen.stderr is not None  # noqa: S101 - it is a pipe
        self.stdout: Output = Output(self._popen.stdout)
        self.stderr: Output = Output(self._popen.stderr)

    @property
    def exit_code(self) -> int | None:
        """The exit code of the command itself, once it has ended."""
        return self._popen.poll()

    def tree(self) -> list[psutil.Process]:
        """Return every process that came of the command, also those that left its session."""
        return [
            process
            for process in psutil.Process().children(recursive=True)
            if process.pid not in self._before
        ]

    def _app(self) -> list[psutil.Process]:
        """Return the processes of the app: if some run in a container, none of the engine's own."""
        tree, here = self.tree(), _pid_namespace("self")
        return [process for process in tree if _pid_namespace(process.pid) != here] or tree

    def processes(self) -> list[str]:
        """Return the command line of each of the app's processes.

        A server's master and its only worker, which is a copy of it, count as one.
        """
        seen: dict[int, tuple[int, list[str]]] = {}
        lines: list[str] = []
        for process in self._app():
            with suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE:
                    seen[process.pid] = process.ppid(), process.cmdline() or [process.name()]
        parents = [parent for parent, _ in seen.values()]
        for parent, command in seen.values():
            if parents.count(parent) > 1 or seen.get(parent, (0, []))[1] != command:
                lines.append(printable(shlex.join(command), 100))
        return lines

    def listening(self) -> dict[int, str]:
        """Return the TCP ports that its processes listen on, each with a host to reach it at."""
        ports: dict[int, str] = {}
        for process in self.tree():
            with suppress(psutil.Error):
                for connection in process.net_connections("tcp"):
                    if connection.status == psutil.CONN_LISTEN:
                        address = str(connection.laddr.ip)
                        if address in ("0.0.0.0", "::"):  # noqa: S104 - seen, not bound
                            address = "127.0.0.1"
                        ports[connection.laddr.port] = f"[{address}]" if ":" in address else address
        return ports

    def log_files(self) -> list[str]:
        """Return the files that it writes to and that are logs by their names."""
        found: set[str] = set()
        for process in self._app():
            with suppress(psutil.Error):
                found.update(
                    file.path
                    for file in process.open_files()
                    if getattr(file, "mode", "r") != "r"
                    and (".log" in os.path.basename(file.path) or "/log/" in file.path)  # noqa: PTH119
                )
        return sorted(found)

    def terminate(self) -> None:
        """Send SIGTERM to the command itself, as an engine does to a container's first process."""
        with suppress(ProcessLookupError):
            self._popen.terminate()

    def wait(self, seconds: float) -> bool:
        """Return whether the command ended within so many seconds."""
        try:
            self._popen.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_words(self) -> str:
        """Return the error that it wrote last, else its last line, for a message."""
        written: list[list[str]] = []
        for output in (self.stderr, self.stdout):
            output.settle(0.5)
            lines = bytes(output.kept).decode("utf-8", "replace").splitlines()
            written.append([line for line in lines if line.strip()])
        # Why it ended, else the last that it wrote to stderr, else to stdout.
        for said in (*map(_reason, written), *(lines[-1] for lines in written if lines)):
            if said is not None:
                return printable(said, 200)
        return "it wrote nothing"

    def kill(self) -> None:
        """End whatever is left, and wait for it."""
        end = time.monotonic() + KILL_SECONDS
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(KILL_SECONDS)
        # Who forks without end is stopped first, so that nothing new comes while all are killed.
        while time.monotonic() < end and (left := self.tree()):
            for action in (psutil.Process.suspend, psutil.Process.kill):
                for process in left:
                    with suppress(psutil.Error):
                        action(process)
            psutil.wait_procs(left, timeout=0.2)
        self.stdout.finish()
        self.stderr.finish()


@contextmanager
def started(command: Sequence[str], environ: Mapping[str, str]) -> Generator[Process]:
    """Start a command for a while; afterwards nothing of it runs any more.

    Whatever other child this process gets meanwhile is taken for one of the command's.
    """
    with _adopting():
        process = None
        try:
            with _uninterrupted():
                process = Process(command, environ)
            yield process
        finally:
            if process is not None:
                with _uninterrupted():
                    process.kill()


@contextmanager
def _uninterrupted() -> Generator[None]:
    """Have what signals raise wait: in the midst of a start or an end, processes would be left."""
    before: dict[int, Any] = {}
    came: list[int] = []
    if threading.current_thread() is threading.main_thread():
        for which in (signal.SIGINT, signal.SIGTERM):
            # What is ignored, or left to the system, stays so for the command, too.
            if callable(handler := signal.getsignal(which)):
                before[which] = handler
                signal.signal(which, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in came:
            signal.raise_signal(number)


@contextmanager
def _adopting() -> Generator[None]:
    """Make processes whose parent ends ours, so that a daemon can't get away (Linux only)."""
    if sys.platform != "linux":
        yield
        return
    prctl = ctypes.CDLL(None).prctl
    before = ctypes.c_int()
    prctl(_PR_SET_CHILD_SUBREAPER + 1, ctypes.byref(before), 0, 0, 0)
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, before.value, 0, 0, 0)


def _reason(lines: Sequence[str]) -> str | None:
    """Return why a command ended, as far as its lines say: servers write more while they end."""
    said: str | None = None
    is_in_traceback = False
    for line in lines:
        if line.startswith("Traceback ("):
            is_in_traceback = True
        elif is_in_traceback:
            if not line[0].isspace():
                said, is_in_traceback = line, False
        elif text := _logged_error(line):
            said = text
    return said


def _logged_error(line: str) -> str | None:
    """Return what a line of mozlog says, if it is an error."""
    try:
        match json.loads(line):
            case {"Severity": int(severity), "Fields": {"msg": str(text), **rest}} if (
                severity <= _ERROR
            ):
                return f"{text}: {rest['error']}" if "error" in rest else text
            case _:
                return None
    except (ValueError, RecursionError):
        return None
