"""Start a command, keep its output, and leave none of its processes behind."""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final, TypeVar, cast

import psutil

from dockerflow.verify.evidence import CouldNotRunError, hide_credential, printable
from dockerflow.verify.mozlog import ERROR, message_of

MAX_LOG: Final = 4 << 20
"""How much of stdout and of stderr is kept, in bytes; the rest is read and discarded."""
KILL_SECONDS: Final = 10.0
CLEANUP_SECONDS: Final = 3.0
"""How long what a command left behind, such as a container engine's helper, may take to end."""
# What starts the app (npm start) keeps a log about itself.
_is_of_package_manager = re.compile(
    r"/_logs/[^/]*-debug-\d+\.log$|/\.?(?:npm|yarn|pnpm)-[^/]*\.log[^/]*$"
).search
# From linux/prctl.h.
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_GET_CHILD_SUBREAPER: Final = 37

_Reply = TypeVar("_Reply")


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


class Output:
    """Reads a pipe to its end in a thread, and keeps the first bytes."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(OSError, ValueError):
            while chunk := os.read(self._pipe.fileno(), 1 << 16):
                self._kept += chunk[: MAX_LOG - len(self._kept)]

    def lines_after(self, seconds: float) -> list[str]:
        """Wait for the pipe's end, at most so many seconds; return the lines that aren't empty."""
        self._thread.join(seconds)
        lines = bytes(self._kept).decode("utf-8", "replace").splitlines()
        return [line for line in lines if line.strip()]

    def close(self) -> None:
        """Wait until all was read; nobody may write any more."""
        self._thread.join(5)
        if not self._thread.is_alive():
            self._pipe.close()

    def lines(self) -> list[bytes]:
        """Return the lines, without one that may have been cut off."""
        lines = bytes(self._kept).split(b"\n")
        if len(self._kept) == MAX_LOG or not lines[-1]:
            lines.pop()
        return lines


class Process:
    """A started command with all processes that descend from it; made by :func:`started`.

    :raises CouldNotRunError: when it can't be started.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self.port: int = free_port()
        self.where: str = shlex.join(command)
        variables = [
            f"{name}={shlex.quote(hide_credential(name, value))}" for name, value in environ.items()
        ]
        self.start: str = " ".join([*variables, f"PORT={self.port}", self.where])
        self._before = {child.pid for child in psutil.Process().children(recursive=True)}
        try:
            # In its own process group, so that signals for it and for us don't mix.
            self._popen = subprocess.Popen(  # noqa: S603 - the user asked to start it
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
        self.stdout: Output = Output(cast("IO[bytes]", self._popen.stdout))
        self.stderr: Output = Output(cast("IO[bytes]", self._popen.stderr))

    @property
    def exit_code(self) -> int | None:
        """The exit code of the command itself, once it has ended."""
        return self._popen.poll()

    def _tree(self) -> list[psutil.Process]:
        """Return every descendant, also those that left the session."""
        children = psutil.Process().children(recursive=True)
        return [process for process in children if process.pid not in self._before]

    def in_containers(self) -> list[psutil.Process]:
        """Return the descendants that run in a container."""
        here = _pid_namespace("self")
        return [process for process in self._tree() if _pid_namespace(process.pid) != here]

    def _app(self) -> list[psutil.Process]:
        """Return the app's processes: those in a container, if any, and not the engine's."""
        return self.in_containers() or self._tree()

    def _table(self) -> list[tuple[int, int, str]]:
        """Return the pid, the parent's pid and the command line of each of the app's processes."""
        # Zombies have no command line.
        return _ask(
            self._app(), lambda p: (p.pid, p.ppid(), _command_line(p.cmdline() or [p.name()]))
        )

    def processes(self) -> list[str]:
        """Return the command line of each of the app's processes.

        A server's master and its only worker, a copy of it, count as one.
        """
        found = self._table()
        commands = {pid: command for pid, _, command in found}
        parents = [parent for _, parent, _ in found]
        return [
            printable(command, 100)
            for _, parent, command in found
            if parents.count(parent) > 1 or commands.get(parent) != command
        ]

    def reachable_host(self) -> str | None:
        """Return the host at which $PORT can be reached, for URLs."""
        for host, in_url in (("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")):
            try:
                socket.create_connection((host, self.port), timeout=1).close()
            except OSError:
                continue
            return in_url
        return None

    def url(self, port: int, addresses: Sequence[str]) -> str | None:
        """Return the URL of a port that is listened on; None if it can't be reached."""
        address = addresses[0]
        if address in ("0.0.0.0", "::"):  # noqa: S104 - seen, not bound
            return f"http://127.0.0.1:{port}"
        return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"

    def listening(self) -> dict[int, list[str]]:
        """Return the TCP ports that its processes listen on, each with the addresses.

        Those of a container with its own network are missing.
        """
        ports: dict[int, list[str]] = {}
        for connection in chain(*_ask(self._tree(), lambda p: p.net_connections("tcp"))):
            if connection.status == psutil.CONN_LISTEN:
                ports.setdefault(connection.laddr.port, []).append(str(connection.laddr.ip))
        return ports

    def log_files(self) -> list[str] | None:
        """Return the files it writes to whose names are those of logs; None if it can't be seen."""
        files = chain(*_ask(self._app(), lambda p: p.open_files()))
        written = {file.path for file in files if getattr(file, "mode", "r") != "r"}
        return sorted(filter(is_log, written))

    def terminate(self) -> None:
        """Send SIGTERM to the command itself, as an engine does to a container's first process."""
        self._popen.terminate()

    def wait(self, seconds: float) -> bool:
        """Wait for the command to end; return whether it did within so many seconds."""
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_words(self) -> str:
        """Return why it ended, as far as its output shows, in one line."""
        outputs = [output.lines_after(0.5) for output in (self.stderr, self.stdout)]
        last_lines = [lines[-1] for lines in outputs if lines]
        last_messages = [message_of(line) or line for line in last_lines]
        reasons = [*filter(None, map(_last_error, outputs)), *last_messages, "it wrote nothing"]
        return printable(reasons[0], 500)  # an engine has the reason at its end

    def stop(self, grace: float) -> None:
        """Send SIGTERM and wait for at most ``grace`` seconds; :meth:`kill` ends the rest.

        The signal goes to the process group, so that a shell's children get it, too. An engine
        passes it to its container, and removes that before it ends (``podman run --rm``).
        """
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGTERM)
        has_ended = self.wait(grace)
        if not has_ended and (contained := self.in_containers()):
            # An engine removes a container that has ended. Killed itself, it would leave it behind.
            _ask(contained, lambda p: p.kill())
            has_ended = self.wait(CLEANUP_SECONDS)
        if has_ended:
            psutil.wait_procs(self._tree(), timeout=CLEANUP_SECONDS)

    def kill(self) -> None:
        """Kill all processes that are left, and wait for them."""
        end = time.monotonic() + KILL_SECONDS
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(KILL_SECONDS)
        # All are stopped before any is killed: those that keep forking would make new ones.
        while time.monotonic() < end and (left := self._tree()):
            _ask(left, lambda p: p.suspend())
            _ask(left, lambda p: p.kill())
            psutil.wait_procs(left, timeout=0.2)
        self.stdout.close()
        self.stderr.close()


def is_log(path: str) -> bool:
    """Whether a file's name is that of a log."""
    is_named_so = ".log" in Path(path).name or "/log/" in path
    return is_named_so and not _is_of_package_manager(path)


def _ask(
    processes: Iterable[psutil.Process], question: Callable[[psutil.Process], _Reply]
) -> list[_Reply]:
    """Return the replies of the processes that still exist."""
    replies: list[_Reply] = []
    for process in processes:
        with suppress(psutil.Error):
            replies.append(question(process))
    return replies


@contextmanager
def started(start: Callable[[], Process], *, grace: float = 10.0) -> Generator[Process]:
    """Start a command or a container; at the end of the ``with``, stop it and kill what is left.

    Any other child process started in between is treated as one of the command's.

    :param grace: seconds from SIGTERM to SIGKILL.
    """
    with _adopting_orphans():
        process = None
        try:
            with _signals_deferred():
                process = start()
            yield process
        finally:
            if process is not None:
                try:
                    process.stop(grace)  # an interruption ends the wait
                finally:
                    with _signals_deferred():
                        process.kill()


@contextmanager
def _signals_deferred() -> Generator[None]:
    """Defer SIGINT and SIGTERM: in the middle of a start or an end, processes would be left."""
    received: list[int] = []
    handlers: dict[int, Any] = {}
    for deferred in (signal.SIGINT, signal.SIGTERM):
        # A signal that is ignored or left to the system must stay so for the command.
        if callable(handler := signal.getsignal(deferred)):
            handlers[deferred] = handler
            signal.signal(deferred, lambda number, _: received.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)


@contextmanager
def _adopting_orphans() -> Generator[None]:
    """Become the parent of processes whose parent ends, so that no daemon escapes (Linux only)."""
    if sys.platform != "linux":
        yield
        return
    prctl = ctypes.CDLL(None).prctl
    before = ctypes.c_int()
    prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, before.value, 0, 0, 0)


def _pid_namespace(pid: int | str) -> str | None:
    """Return a process's PID namespace, which is another one in a container (Linux only)."""
    with suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    return None


def _command_line(words: Sequence[str]) -> str:
    """Return a command line; a title that the process has set, as it is."""
    given = [word for word in words if word]
    return given[0] if len(given) == 1 else shlex.join(words)


def _last_error(lines: Sequence[str]) -> str | None:
    """Return the last exception or logged error in the output: servers write more at their end."""
    found: str | None = None
    is_in_traceback = False
    for line in lines:
        if line.startswith("Traceback ("):
            is_in_traceback = True
        elif is_in_traceback:
            if not line[0].isspace():
                found, is_in_traceback = line, False
        elif message := message_of(line, limit=ERROR):
            found = message
    return found
