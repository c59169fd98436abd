"""``dockerflow healthcheck``: checks a service over HTTP, or the age of a file.

It needs the standard library only, so that it runs in images without the extra ``cli``.
"""

from __future__ import annotations

import argparse
import math
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final, NamedTuple, NoReturn, cast
from urllib.parse import quote, urlsplit

from dockerflow import __version__
from dockerflow.cli._exit import FAILED, OK
from dockerflow.config import Config, Secret, parse_seconds
from dockerflow.heartbeat_file import file_age
from dockerflow.version import parse_json

DEFAULT_PORT: Final = 8000
DEFAULT_TIMEOUT: Final = 15.0  # a heartbeat may take 10 s, and then reports why it failed
POLL_SECONDS: Final = 0.25
MAX_BODY: Final = 1 << 20
MAX_LINE: Final = 500
MAX_NAME: Final = 200  # of the URL in that line, so that the reason still fits

DESCRIPTION: Final = """\
Check whether a service is healthy: exit code 0 if it is, otherwise 1 and one line with the reason.

TARGET is a path on this machine, such as /__heartbeat__, an http or https URL, or a Unix socket:
unix:/run/app.sock, or unix:/run/app.sock:/__heartbeat__ with a path. The default path is
/__lbheartbeat__, below $DOCKERFLOW_PATH_PREFIX if that is set; it tells whether the process is up.
Unhealthy containers are restarted or replaced. That helps if a process hangs, but makes things
worse if a database is down. So use /__heartbeat__, which also checks the backing services, only
where nothing is restarted because of it: in CI, or by hand.

If $DOCKERFLOW_HEARTBEAT_SECRET is set, a heartbeat on this machine is requested with it, so that
the reason has the names of failing checks.

Any status from 200 to 299 is healthy. Redirects are not followed. Proxy settings are not used.

  HEALTHCHECK CMD ["dockerflow", "healthcheck"]                  in a Dockerfile
  dockerflow healthcheck /__heartbeat__ --wait 60                in CI
  dockerflow healthcheck --file /tmp/beat --max-age 60           for a worker without HTTP
"""


def _seconds(text: str) -> float:
    try:
        return min(parse_seconds(text), threading.TIMEOUT_MAX)
    except ValueError:
        message = f"must be a number of seconds greater than 0, not {text[:80]!r}"
        raise argparse.ArgumentTypeError(message) from None


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text[:6]) < 1 << 16:
        return int(text)
    message = f"must be a port from 1 to 65535, not {text[:80]!r}"
    raise argparse.ArgumentTypeError(message)


# Also read by the click group, for `dockerflow --help` and shell completion.
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
        "help": "time limit of the whole request, from resolving the name to the last byte; "
        f"by default {DEFAULT_TIMEOUT:g}",
    },
    "--wait": {
        "metavar": "SECONDS",
        "type": _seconds,
        "help": "retry until it is healthy, for at most this long",
    },
    "--file": {
        "metavar": "PATH",
        "help": "check the age of this file, which a worker touches, instead of making a request",
    },
    "--max-age": {
        "metavar": "SECONDS",
        "type": _seconds,
        "help": "how old the file may be; required with --file",
    },
}


class Outcome(NamedTuple):
    """The outcome of one probe."""

    is_healthy: bool
    text: str


def check_file(path: str, max_age: float) -> Outcome:
    """Check that a file was touched at most ``max_age`` seconds ago."""
    try:
        age = file_age(path)
    except (OSError, ValueError) as error:
        return Outcome(False, f"can't be read: {_reason(error)}")
    if age <= max_age:
        return Outcome(True, f"is {age:.1f} s old")
    if math.isinf(age):
        return Outcome(False, "does not exist, or its time is in the future")
    return Outcome(False, f"is {age:.1f} s old, over {max_age:g} s")


def _reason(error: Exception) -> str:
    system = error.strerror if isinstance(error, OSError) else None
    return system or f"{type(error).__name__}: {error}"


class UnixConnection(HTTPConnection):
    """A connection by a Unix socket."""

    def __init__(self, path: str, *, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock: socket.socket = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass
class HttpProbe:
    """Requests a URL, or ``unix:SOCKET:/PATH``."""

    url: str
    stage: str = "starting"
    """What it is doing, for the message when it takes too long."""

    def run(self, timeout: float) -> Outcome:
        """Return whether the response is good; raises OSError, ValueError or HTTPException.

        :param timeout: seconds for each step; all of them may take longer.
        """
        started = time.monotonic()
        connection, path = _connection(self.url, timeout)
        self.stage = "connecting"
        with closing(connection):
            connection.connect()
            self.stage = "waiting for the response"
            target = quote(path, safe="/%:=&?~+!$,;'@()*[]")
            headers = {"User-Agent": f"dockerflow-healthcheck/{__version__}", "Connection": "close"}
            # No other machine gets to know the secret.
            if "/__heartbeat__" in path and connection.host in ("localhost", "127.0.0.1", "::1"):
                secret: Secret | None = vars(Config)["heartbeat_secret"].from_environment()
                if secret is not None:
                    headers["Authorization"] = f"Bearer {secret.reveal()}"
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            self.stage = "reading the response"
            return _judge(response, started)


def _connection(url: str, timeout: float) -> tuple[HTTPConnection, str]:
    """Return a connection to be opened, and the path to request."""
    if url.startswith("unix:"):
        name, _, rest = url.removeprefix("unix:").partition(":/")
        return UnixConnection(name, timeout=timeout), f"/{rest}"
    parts = urlsplit(url)
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    # With the brackets of an IPv6 address, whose end would else be the port.
    return kind(parts.netloc, timeout=timeout), path


def _judge(response: HTTPResponse, started: float) -> Outcome:
    text = f"responded with {response.status}"
    body = response.read(MAX_BODY + 1)
    if len(body) > MAX_BODY:
        return Outcome(False, f"{text} with a body over {MAX_BODY} bytes")
    if response.length:
        return Outcome(False, f"{text}, but the body is shorter than announced")
    match response.status // 100:
        case 2:
            return Outcome(True, f"{text} in {(time.monotonic() - started) * 1000:.0f} ms")
        case 3:
            location = response.getheader("Location", "nowhere")
            return Outcome(False, f"{text}, a redirect to {location}, which is not followed")
        case _:
            return Outcome(False, text + _failing_checks(body))


def _failing_checks(body: bytes) -> str:
    """Return the names and statuses of a heartbeat's failing checks; "" for other bodies."""
    try:
        content: Any = parse_json(body)
        checks = cast("dict[str, str]", content["checks"])
        failing = [f"{name} {status}" for name, status in checks.items() if status != "ok"]
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
    return ": " + ", ".join(failing) if failing else ""


def run_with_timeout(probe: HttpProbe, timeout: float) -> Outcome:
    """Run the probe, and return after ``timeout`` seconds even if it hangs.

    It runs in a thread, since nothing else ends resolving a name, or a server that sends a byte a
    second. The thread is a daemon, so that it doesn't keep the process alive.
    """
    outcomes: list[Outcome] = []

    def run() -> None:
        try:
            outcomes.append(probe.run(timeout))
        except TimeoutError:
            pass  # reported below
        except (OSError, ValueError, HTTPException) as error:
            outcomes.append(Outcome(False, f"failed while {probe.stage}: {_reason(error)}"))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout)
    if outcomes:
        return outcomes[0]
    return Outcome(False, f"took over {timeout:g} s and was still {probe.stage}")


def wait(probe_once: Callable[[float], Outcome], timeout: float, seconds: float | None) -> Outcome:
    """Probe until it is healthy, for at most ``seconds``; once if it is ``None``.

    :param probe_once: called with a time limit in seconds.
    :param timeout: the time limit of one probe.
    """
    if seconds is None:
        return probe_once(timeout)
    end = time.monotonic() + seconds
    while True:
        outcome = probe_once(min(timeout, max(0.0, end - time.monotonic())))
        # With less time than that, another probe would report only that it had none.
        if outcome.is_healthy or end - time.monotonic() <= 2 * POLL_SECONDS:
            return outcome
        time.sleep(POLL_SECONDS)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        _print(f"{self.prog}: {message.removeprefix('argument ')}; see --help", sys.stderr)
        sys.exit(FAILED)  # unlike argparse, as Docker reserves 2


def parse_arguments(args: Sequence[str]) -> argparse.Namespace:
    """Return the options, with the URL as ``target``; exits with 1 if the usage is wrong."""
    parser = _Parser(
        prog="dockerflow healthcheck",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("target", metavar="TARGET", nargs="?", help="a path or a URL")
    for flag, settings in OPTIONS.items():
        parser.add_argument(flag, **settings)
    options = parser.parse_args(args)
    if options.file is None and options.max_age is None:
        options.target = _url(parser, options.target, options.port)
    elif options.file is None or options.max_age is None:
        parser.error("--file and --max-age must be given together")
    elif options.target is not None or options.port is not None:
        parser.error("--file can't be combined with TARGET or --port")
    return options


def _url(parser: _Parser, target: str | None, port: int | None) -> str:
    default = os.environ.get("DOCKERFLOW_PATH_PREFIX", "").rstrip("/") + "/__lbheartbeat__"
    target = default if target is None else target
    if target.startswith("/"):
        try:
            # Orchestrators often pass variables without a value as empty ones.
            port = port or _port(os.environ.get("PORT") or str(DEFAULT_PORT))
        except argparse.ArgumentTypeError as error:
            parser.error(f"$PORT {error}")
        return f"http://127.0.0.1:{port}{target}"
    if port is not None:
        parser.error("--port can only be used with a path; a URL has its own")
    if target.startswith("unix:") and target not in ("unix:", "unix:/"):
        return target if ":/" in target.removeprefix("unix:") else f"{target}:{default}"
    try:
        parts = urlsplit(target)
        is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        is_usable = is_url and "@" not in parts.netloc
    except ValueError:
        is_usable = False
    if not is_usable and "@" in target:  # it is not shown, as it may have a password
        parser.error("TARGET has a user name or a password, which are not supported")
    if not is_usable:
        parser.error(
            "TARGET must be a path that begins with /, an http(s) URL, or unix:PATH, "
            f"not {target[:80]!r}"
        )
    return target


def main(args: Sequence[str]) -> int:
    """Run the subcommand and return its exit code, 0 or 1; exits with 1 if the usage is wrong."""
    options = parse_arguments(args)

    def probe_once(timeout: float) -> Outcome:
        if options.file is not None:
            return check_file(options.file, options.max_age)
        return run_with_timeout(HttpProbe(options.target), timeout)

    outcome = wait(probe_once, options.timeout, options.wait)
    line = f"healthy: {(options.file or options.target)[:MAX_NAME]} {outcome.text}"
    if outcome.is_healthy:
        _print(line, sys.stdout)
        return OK
    _print(f"un{line}", sys.stderr)
    return FAILED


def _print(text: str, stream: Any) -> None:
    """Print one line of printable characters, as parts of it come from servers or arguments."""
    line = "".join(char if char.isprintable() else "?" for char in text)
    if len(line) > MAX_LINE:
        line = line[: MAX_LINE - 3] + "..."
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding), file=stream)
