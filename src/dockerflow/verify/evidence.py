"""What the probes found in each target: plain values for the rules to judge."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Self, cast
from urllib.parse import urlsplit

from dockerflow.verify.bases import Base
from dockerflow.verify.system import System
from dockerflow.version import parse_json

VERSION: Final = "/__version__"
HEARTBEAT: Final = "/__heartbeat__"
LBHEARTBEAT: Final = "/__lbheartbeat__"
ENDPOINTS: Final = (LBHEARTBEAT, VERSION, HEARTBEAT)

_credential = re.compile(r"(?i)auth|cookie|token|secret|passw|credential|session|key\b|key_").search
# It may have an unescaped slash, if what is before that can't be a port.
_password = re.compile(r"(://[^\s/:@\[]*:)(?:[^\s/]*|(?!\d+/)[^\s@]*)(?=@)").sub
_words = re.compile(rb"[\w+/=-]+|[^\w+/=-]+").findall
_digit = re.compile(rb"\d").search
_title = re.compile(r"(?is)<title>(.*?)</title>").search

MAX_BODY: Final = 1 << 20
"""How much of a response's body is read, in bytes."""


class CouldNotRunError(Exception):
    """A target can't be examined; the message gives the reason, in one line."""


@dataclass
class Response:
    """The outcome of one request.

    ``status`` is None if none arrived. ``error`` is the reason why there is no response, or
    why its body is incomplete.
    """

    method: str
    url: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """By names in lower case; the values of one that came several times, joined by ", "."""
    body: bytes = b""
    error: str = ""
    unreachable: bool = False
    """Whether no connection could be made."""
    is_closed: bool = False
    """Whether the connection was closed without a response."""

    @property
    def is_200(self) -> bool:
        """Whether it is a complete response with HTTP 200."""
        return self.status == HTTPStatus.OK and not self.error

    @property
    def is_5xx(self) -> bool:
        """Whether it is a complete response with a server error."""
        return self.status in range(500, 600) and not self.error

    @property
    def summary(self) -> str:
        """The outcome in a few words, for messages."""
        if self.status is None:
            return self.error
        text = ""
        if self.status in range(300, 400) and (location := self.headers.get("location")):
            text = f" to {location}"
        elif self.status >= HTTPStatus.BAD_REQUEST and (shown := self._text()):
            text = f' ("{shown}")'
        return f"HTTP {self.status}{text}" + (f", but {self.error}" if self.error else "")

    def _text(self) -> str:
        """Return the start of its body, or a page's title."""
        if self.compression:
            return ""
        text = self.body[:4096].decode("utf-8", "replace").strip()
        if text.startswith("<"):
            match = _title(text)
            text = match[1].strip() if match else ""
        return printable(text, 80)

    @property
    def compression(self) -> str:
        """How its body is compressed; empty if it isn't, as the requests ask for."""
        coding = self.headers.get("content-encoding", "").lower()
        return "" if coding == "identity" else coding

    def is_same_page(self, other: Response) -> bool:
        """Whether both have the same content, apart from words with digits, such as nonces."""
        return self.status == other.status and self._fixed_words() == other._fixed_words()

    def _fixed_words(self) -> list[bytes]:
        return [word for word in _words(self.body) if not _digit(word)]


@dataclass
class Service:
    """An app that requests were sent to: at a URL, started by us, or in this process."""

    where: str
    responses: dict[tuple[str, str], Response] = field(
        default_factory=dict[tuple[str, str], Response]
    )
    assets: list[Response] = field(default_factory=list[Response])
    start: str = ""
    """The shell command that starts it, if known."""
    curl: str = "curl -i"
    """The command for a request, with what each request to it needs."""
    unknown_path: Response | None = None
    """The response to a random path."""
    broken_by: str = ""
    """The NAME=VALUE that breaks one of its backing services; empty if none was broken."""
    exit_code: int | None = None
    """Set if it exited instead of responding."""
    waited: float | None = None
    """Set if it didn't listen within so many seconds."""

    @property
    def has_responded(self) -> bool:
        """Whether any response arrived."""
        return any(response.status is not None for response in self.responses.values())

    @property
    def no_response(self) -> str:
        """What the app did instead of responding, as text after "it"; otherwise empty."""
        if self.exit_code is not None:
            return f"exits with {self.exit_code}"
        return "" if self.waited is None else f"doesn't listen within {self.waited:g} s (--wait)"

    def end(self) -> str:
        """Return the first request, such as "GET /", without a response because the app ended.

        The requests after it are discarded, as they tell nothing about the app.
        """
        last = ""
        for response in (*self.responses.values(), self.unknown_path, *self.assets):
            if response is None or response.status is not None:
                last = ""
            elif last:
                self.responses.pop((response.method, urlsplit(response.url).path), None)
            else:
                last = f"{response.method} {urlsplit(response.url).path}"
        return last

    def get(self, path: str) -> Response | None:
        """Return the response to a GET of this path."""
        return self.responses.get(("GET", path))

    def is_any_page(self, response: Response) -> bool:
        """Whether any path has this response, so that it isn't that of an endpoint."""
        return (
            self.unknown_path is not None
            and self.unknown_path.is_200
            and response.is_same_page(self.unknown_path)
        )

    def reproduce(self, response: Response) -> str:
        """Return a shell command that makes the same request."""
        option = {"GET": "", "HEAD": "--head "}.get(response.method, f"-X {response.method} ")
        curl = f"{self.curl} {option}{shlex.quote(response.url)}"
        return f"{self.start} & sleep 3; {curl}; kill $!" if self.start else curl


@dataclass
class Run:
    """A command or a container that was started, from its start to its end."""

    where: str
    start: str
    port: int
    grace: float = 0.0
    """How many seconds it had to end after SIGTERM."""
    listens: bool = False
    other_ports: list[int] = field(default_factory=list[int])
    """The ports it listens on instead of the one it was given."""
    waited: float = 0.0
    """How many seconds it had to listen."""
    addresses: list[str] = field(default_factory=list[str])
    """The addresses on which it listens on the port; empty if that can't be told."""
    processes: list[str] = field(default_factory=list[str])
    log_files: list[str] | None = field(default_factory=list[str])
    """None if they can't be seen."""
    ended_in_time: bool | None = None
    """Whether it ended within ``grace``; None if it wasn't sent SIGTERM."""
    in_flight: Response | None = None
    """The response to a request that was being handled when SIGTERM came."""
    too_fast: Response | None = None
    """The response to that request, if it came before SIGTERM."""

    def __post_init__(self) -> None:
        self.stdout: Log = Log(f"stdout of {self.where}", start=self.start)
        self.stderr: Log = Log(f"stderr of {self.where}", start=self.start)


@dataclass(eq=False)  # mozlog.judge has a cache by identity
class Log:
    """Lines that an app wrote."""

    where: str
    lines: list[bytes] = field(default_factory=list[bytes])
    file: str = ""
    start: str = ""
    """The shell command that writes it, if known."""

    def reproduce(self, number: int) -> str:
        """Return a shell command that shows a line."""
        return f"sed -n {number}p {shlex.quote(self.file)}" if self.file else self.start


@dataclass
class VersionFile:
    """A version.json; ``content`` is None if there is no file where it should be."""

    where: str
    content: bytes | None
    reproduce: str
    file: str = ""

    @classmethod
    def at(cls, path: Path, content: bytes) -> Self:
        """Return the version.json at a local path."""
        return cls(str(path), content, f"cat {shlex.quote(str(path))}", str(path))


class Instruction(NamedTuple):
    """An instruction of a Dockerfile, with variables substituted as a build does."""

    name: str
    value: str
    line: int
    stage: int
    """The number of its stage, from 0."""
    body: str = ""
    """The text of its here-documents."""


@dataclass
class Dockerfile:
    """What a Dockerfile builds.

    ``instructions`` are those of the last stage and of all stages it is based on.
    """

    where: str
    instructions: list[Instruction]
    arguments: list[Instruction]
    """The ARG instructions before the first FROM."""
    base: Base
    """The image that it is based on."""
    system: System
    """What it leaves in the image, as far as that is known."""
    line: int
    """The line of the last stage's FROM."""
    ignored: set[str]
    """The IDs of the rules that its comments ignore."""
    reproduce: str
    """The command that verifies it."""


@dataclass
class Image:
    """An image: its configuration and the files that matter."""

    where: str
    config: Mapping[str, Any]
    passwd: str
    group: str
    has_sources: bool
    """Whether there is any file below /app other than version.json."""
    version: VersionFile
    reproduce: str = ""
    engine: str = ""
    """The engine that has it, docker or podman; empty if it was read from an archive."""


class Place(NamedTuple):
    """A line of a file; ``where`` is its path, or "stdin"."""

    where: str
    line: int


class Value(NamedTuple):
    """A value in a deployment file, and its place."""

    text: str
    place: Place

    @property
    def is_known(self) -> bool:
        """Whether it is the value itself, rather than a reference to one."""
        return "$" not in self.text

    @property
    def number(self) -> float | None:
        """The value as a number that isn't negative; None if it isn't one."""
        is_number = re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", self.text)
        return float(self.text) if is_number else None


@dataclass
class Caller:
    """Something that sends requests to a container: a probe, a Service, a load balancer."""

    name: str
    place: Place
    kind: str
    """One of liveness, readiness, startup, healthcheck, balancer, service."""
    path: str = ""
    """Empty if it requests none, as a probe that only opens a connection; with a $ if not known."""
    port: str = ""
    """A number, a name that no port has, or empty if it isn't known."""
    timeout: float | None = None
    """After how many seconds it gives up, if known."""

    def requests(self, *paths: str) -> bool:
        """Whether it requests one of these paths, also below a prefix.

        The heartbeat of a group of checks is a heartbeat.
        """
        path = self.path.partition("?")[0].rstrip("/")
        return re.sub(f"(?<={HEARTBEAT})/[^/]+$", "", path).endswith(paths)


@dataclass
class Container:
    """A container that a Kubernetes manifest or a Compose file starts."""

    name: str
    place: Place
    in_kubernetes: bool
    role: Literal["app", "other", "unknown"] = "other"
    """Whether it serves the app, or something else, such as a database."""
    callers: list[Caller] = field(default_factory=list[Caller])
    ports: list[Value] = field(default_factory=list[Value])
    environ: dict[str, Value] = field(default_factory=dict[str, Value])
    unread: str = ""
    """Where more settings may come from that aren't in the files, for people."""
    command: list[str] = field(default_factory=list[str])
    """What starts it; empty if the image decides."""
    user: Value | None = None
    non_root: bool = False
    grace: Value | None = None
    """The seconds from the request to stop to SIGKILL; None for the default."""
    pre_stop: Value | None = None
    """The seconds before SIGTERM."""
    terminal: Value | None = None
    log_driver: Value | None = None


@dataclass
class Evidence:
    """All that was seen, by kind of target."""

    services: list[Service] = field(default_factory=list[Service])
    broken: list[Service] = field(default_factory=list[Service])
    runs: list[Run] = field(default_factory=list[Run])
    logs: list[Log] = field(default_factory=list[Log])
    versions: list[VersionFile] = field(default_factory=list[VersionFile])
    dockerfiles: list[Dockerfile] = field(default_factory=list[Dockerfile])
    images: list[Image] = field(default_factory=list[Image])
    containers: list[Container] = field(default_factory=list[Container])
    balancers: list[Caller] = field(default_factory=list[Caller])
    """The health checks of load balancers that are objects beside the containers."""

    def all_logs(self) -> list[Log]:
        """Return the log files, and what commands wrote to stdout and stderr."""
        return [*self.logs, *(log for run in self.runs for log in (run.stdout, run.stderr))]


def json_object(data: bytes) -> dict[str, Any] | None:
    """Return the JSON object in ``data``; None if there is none."""
    try:
        content = parse_json(data)
    except ValueError:
        return None
    return cast("dict[str, Any]", content) if isinstance(content, dict) else None


def hide_credential(name: str, value: str) -> str:
    """Return the value of a header or variable, or *** if its name is that of a credential."""
    return "***" if _credential(name) else value


def hide_passwords(text: str) -> str:
    """Return text with *** in the place of the passwords of URLs."""
    return _password(r"\1***", text)


def one_line(text: str) -> str:
    """Return text from outside as one safe line, without control characters."""
    return "".join(c if c.isprintable() else " " for c in text)


def printable(text: str, limit: int = 300) -> str:
    """Return text from outside as one safe line of at most ``limit`` characters."""
    return one_line(text if len(text) <= limit else text[: limit - 1] + "…")
