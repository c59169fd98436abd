"""``dockerflow healthcheck``: asks a service over HTTP, or a file, whether it is well.

Only the standard library, and as little of it as there can be: Docker starts this all the time.
"""

from __future__ import annotations

import argparse
import math
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, NoReturn, Protocol, cast
from urllib.parse import quote, urlsplit

from dockerflow import __version__

HEALTHY: Final = 0
UNHEALTHY: Final = 1  # also for wrong usage: Docker reserves 2

DEFAULT_PORT: Final = 8000
DEFAULT_TIMEOUT: Final = 15.0  # a heartbeat may take 10 s, and should be able to say why it failed
POLL_SECONDS: Final = 0.25
MAX_BODY: Final = 1 << 20
MAX_LINE: Final = 500
MAX_NAME: Final = 200  # of the URL in that line, so that the reason still fits

DESCRIPTION: Final = """\
Ask a service whether it is healthy: exit code 0 if it is, else 1 and one line that says why.

TARGET is a path on this machine, such as /__heartbeat__, or an http or https URL. By default it is
/__lbheartbeat__, under $DOCKERFLOW_PATH_PREFIX if that is set: that says whether the process
answers. A container is restarted or replaced for being unhealthy, which helps against a process
that hangs, and makes things worse when a database is down. Ask /__heartbeat__, which checks the
backing services too, where nothing is restarted for it: in CI, or by hand.

Any status from 200 to 299 is healthy. Redirects are not followed. Proxy settings are not used.

  HEALTHCHECK CMD ["dockerflow", "healthcheck"]                  in a Dockerfile
  dockerflow healthcheck /__heartbeat__ --wait 60                in CI
  dockerflow healthcheck --file /tmp/beat --max-age 60           for a worker without HTTP
"""


class _UsageError(Exception):
    """The arguments, or a variable that stands in for one, can't be used; in one line."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(message.removeprefix("argument "))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        message = f"{text[:80]!r} is not a number of seconds over 0"
        raise argparse.ArgumentTypeError(message)
    return min(seconds, threading.TIMEOUT_MAX)


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text[:6]) < 1 << 16:
        return int(text)
    message = f"{text[:80]!r} is not a port from 1 to 65535"
    raise argparse.ArgumentTypeError(message)


# What `dockerflow --help` and shell completion know of this subcommand, too.
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "--port": {
        "metavar": "PORT",
        "type": _port,
        "help": f"port, if TARGET is a path; by default $PORT, else {DEFAULT_PORT}",
    },
    "--timeout": {
        "metavar": "SECONDS",
        "type": _seconds,
        "default": DEFAULT_TIMEOUT,
        "help": "how long the whole answer may take, from resolving the name to the last "
        f"byte; by default {DEFAULT_TIMEOUT:g}",
    },
    "--wait": {
        "metavar": "SECONDS",
        "type": _seconds,
        "help": "ask again until it is healthy, but not longer than this",
    },
    "--file": {
        "metavar": "PATH",
        "help": "instead of asking over HTTP, look at the age of this file",
    },
    "--max-age": {
        "metavar": "SECONDS",
        "type": _seconds,
        "help": "how old the file may be; goes with --file",
    },
}


class Outcome(NamedTuple):
    """What a look at the service gave."""

    healthy: bool
    text: str


class Probe(Protocol):
    """One look at the service. ``stage`` says what it is doing, for when it takes too long."""

    stage: str

    def run(self, timeout: float) -> Outcome:
        """Look; may raise, and may take longer than the timeout."""
        ...


class FileProbe:
    """Looks at the age of a file."""

    stage: str = "starting"

    def __init__(self, path: str, max_age: float) -> None:
        self.path = path
        self.max_age = max_age

    def run(self, timeout: float) -> Outcome:
        """See :class:`Probe`."""
        del timeout
        self.stage = "looking at the file"
        status = os.stat(self.path)  # noqa: PTH116 - pathlib takes long to import
        if not stat.S_ISREG(status.st_mode):
            return Outcome(False, "is no file")
        age = time.time() - status.st_mtime
        if age > self.max_age:
            return Outcome(False, f"is {age:.1f} s old, over {self.max_age:g} s")
        if -age > self.max_age:  # the clock was set back, so for long it would never grow old
            return Outcome(False, f"is from {-age:.1f} s in the future")
        return Outcome(True, f"is {max(age, 0):.1f} s old")


class HttpProbe:
    """Asks for a URL. Imports what it needs before any time limit runs."""

    stage: str = "starting"

    def __init__(self, url: str) -> None:
        import http.client  # noqa: PLC0415 - half of the time that this takes to start

        parts = urlsplit(url)
        self.url = url
        self.host = parts.hostname or ""
        self.port = parts.port
        path = parts.path or "/"
        target = f"{path}?{parts.query}" if parts.query else path
        self.target = quote(target, safe="/%:=&?~+!$,;'@()*[]")
        self.kind: Any = http.client.HTTPConnection
        if parts.scheme == "https":
            self.kind = http.client.HTTPSConnection

    def run(self, timeout: float) -> Outcome:
        """See :class:`Probe`."""
        started = time.monotonic()
        self.stage = "connecting"
        connection = self.kind(self.host, self.port, timeout=timeout)
        try:
            connection.connect()
            self.stage = "waiting for the answer"
            connection.request(
                "GET",
                self.target,
                headers={
                    "User-Agent": f"dockerflow-healthcheck/{__version__}",
                    "Accept": "*/*",
                    "Connection": "close",
                },
            )
            response = connection.getresponse()
            self.stage = "reading the answer"
            return self._judge(response, started)
        finally:
            connection.close()

    @staticmethod
    def _judge(response: Any, started: float) -> Outcome:
        status: int = response.status
        text = f"answered {status}"
        body: bytes = b""
        if (response.length or 0) <= MAX_BODY:
            body = response.read(MAX_BODY + 1)
        if len(body) > MAX_BODY or (not body and response.length):
            return Outcome(False, f"{text} with a body over {MAX_BODY} bytes")
        if response.length:
            return Outcome(False, f"{text}, but not with all of the body it announced")
        if 300 <= status < 400:  # noqa: PLR2004 - the redirects of RFC 9110
            where = response.getheader("Location", "nowhere")
            return Outcome(False, f"{text}, a redirect to {where}, which is not followed")
        if not 200 <= status < 300:  # noqa: PLR2004
            return Outcome(False, text + _failing(body))
        return Outcome(True, f"{text} in {(time.monotonic() - started) * 1000:.0f} ms")


def _failing(body: bytes) -> str:
    """Return the checks that a heartbeat says aren't well, if this is one."""
    import json  # noqa: PLC0415 - only where something fails

    try:
        content: Any = json.loads(body)
        checks = cast("dict[str, str]", content["checks"])
        failing = [f"{name} {status}" for name, status in checks.items() if status != "ok"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
    return ": " + ", ".join(failing) if failing else ""


def look(probe: Probe, timeout: float) -> Outcome:
    """Run the probe, and come back after ``timeout`` seconds whatever it does.

    In a thread of its own, since nothing else ends the look-up of a name, or a server that sends
    one byte a second. It is a daemon, so that it doesn't keep the process from ending.
    """
    outcomes: list[Outcome] = []

    def run() -> None:
        try:
            outcomes.append(probe.run(timeout))
        except TimeoutError:
            pass  # told below, like any other
        except Exception as error:  # noqa: BLE001 - whatever it is, it is why this isn't healthy
            system = error.strerror if isinstance(error, OSError) else None
            reason = system or f"{type(error).__name__}: {error}"
            outcomes.append(Outcome(False, f"failed while {probe.stage}: {reason}"))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout)
    if outcomes:
        return outcomes[0]
    return Outcome(False, f"took over {timeout:g} s and was still {probe.stage}")


def wait(look_once: Callable[[float], Outcome], timeout: float, seconds: float | None) -> Outcome:
    """Look until it is healthy, for ``seconds`` in all; ``None`` looks once."""
    if seconds is None:
        return look_once(timeout)
    end = time.monotonic() + seconds
    while True:
        outcome = look_once(min(timeout, max(0.0, end - time.monotonic())))
        if outcome.healthy:
            return outcome
        if end - time.monotonic() <= POLL_SECONDS:
            return outcome
        time.sleep(POLL_SECONDS)


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dockerflow healthcheck",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("target", metavar="TARGET", nargs="?", help="a path or a URL")
    for flag, settings in OPTIONS.items():
        parser.add_argument(flag, **settings)
    return parser


def _make_probe(options: Any) -> tuple[Probe, str]:
    """Return the probe, and what to call it in the line that is printed."""
    target: str | None = options.target
    if options.file is not None or options.max_age is not None:
        if options.file is None or options.max_age is None:
            message = "--file and --max-age go together"
            raise _UsageError(message)
        if target is not None or options.port is not None:
            message = "--file takes no TARGET and no --port"
            raise _UsageError(message)
        return FileProbe(options.file, options.max_age), options.file
    if target is None:
        prefix = os.environ.get("DOCKERFLOW_PATH_PREFIX", "").rstrip("/")
        target = f"{prefix}/__lbheartbeat__"
    if target.startswith("/"):
        url = f"http://127.0.0.1:{options.port or _environment_port()}{target}"
    elif options.port is not None:
        message = "--port goes with a path; a URL has its own"
        raise _UsageError(message)
    else:
        url = target
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
        parts = None
    if parts is not None and "@" in parts.netloc:
        message = "TARGET has a user name or a password, which are not supported"
        raise _UsageError(message)
    if not usable:
        message = (
            f"TARGET is {target[:80]!r}, but takes a path that begins with / or an http(s) URL"
        )
        raise _UsageError(message)
    return HttpProbe(url), url


def _environment_port() -> int:
    port = os.environ.get("PORT")
    try:
        # Orchestrators often pass a variable that nobody filled as an empty one.
        return _port(port) if port else DEFAULT_PORT
    except argparse.ArgumentTypeError as error:
        message = f"$PORT: {error}"
        raise _UsageError(message) from None


def main(args: Sequence[str]) -> int:
    """Run the subcommand and return its exit code, 0 or 1."""
    try:
        options = _make_parser().parse_args(args)
        probe, name = _make_probe(options)
    except _UsageError as error:
        _print(f"dockerflow healthcheck: {error}; see --help", sys.stderr)
        return UNHEALTHY
    outcome = wait(lambda timeout: look(probe, timeout), options.timeout, options.wait)
    line = f"healthy: {name[:MAX_NAME]} {outcome.text}"
    if outcome.healthy:
        _print(line, sys.stdout)
        return HEALTHY
    _print(f"un{line}", sys.stderr)
    return UNHEALTHY


def _print(text: str, stream: Any) -> None:
    """Print one line, whatever a server or an argument put into it."""
    line = "".join(char if char.isprintable() else "?" for char in text)
    if len(line) > MAX_LINE:
        line = line[: MAX_LINE - 3] + "..."
    try:
        print(line, file=stream)
    except UnicodeEncodeError:
        print(line.encode("ascii", "backslashreplace").decode(), file=stream)
