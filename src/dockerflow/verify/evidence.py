"""What the probes saw of each target: plain values for the rules to judge."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, cast

from dockerflow.verify.bases import Base
from dockerflow.verify.system import System
from dockerflow.version import parse_json

VERSION: Final = "/__version__"
HEARTBEAT: Final = "/__heartbeat__"
LBHEARTBEAT: Final = "/__lbheartbeat__"
ENDPOINTS: Final = (LBHEARTBEAT, VERSION, HEARTBEAT)

MAX_BODY: Final = 1 << 20
"""How much of a response's body is read, in bytes."""


class CouldNotRunError(Exception):
    """A target can't be examined; the message says why, in one line."""


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
    body: bytes = b""
    error: str = ""
    unreachable: bool = False
    """Whether no connection could be made."""

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
        location = self.headers.get("location")
        to = f" to {location}" if location and self.status in range(300, 400) else ""
        return f"HTTP {self.status}{to}" + (f", but {self.error}" if self.error else "")


@dataclass
class Service:
    """An app that was sent requests: at a URL, started by us, or in this process."""

    where: str
    responses: dict[tuple[str, str], Response] = field(
        default_factory=dict[tuple[str, str], Response]
    )
    assets: list[Response] = field(default_factory=list[Response])
    start: str = ""
    """The shell command that starts it, if known."""
    broken_by: str = ""
    """The NAME=VALUE that breaks one of its backing services; empty if none was broken."""
    exit_code: int | None = None
    """Set if it exited instead of responding."""

    @property
    def has_responded(self) -> bool:
        """Whether any response arrived."""
        return any(response.status is not None for response in self.responses.values())

    def get(self, path: str) -> Response | None:
        """Return the response to a GET of this path."""
        return self.responses.get(("GET", path))

    def reproduce(self, response: Response) -> str:
        """Return a shell command that makes the same request."""
        option = {"GET": "", "HEAD": "--head "}.get(response.method, f"-X {response.method} ")
        curl = f"curl -i {option}{shlex.quote(response.url)}"
        return f"{self.start} & sleep 3; {curl}; kill $!" if self.start else curl


@dataclass
class Run:
    """A command that was started, from its start to its end."""

    where: str
    start: str
    port: int
    grace: float = 0.0
    """How many seconds it had to end after SIGTERM."""
    listens: bool = False
    other_ports: list[int] = field(default_factory=list[int])
    """The ports it listens on instead of the one it was given."""
    processes: list[str] = field(default_factory=list[str])
    log_files: list[str] = field(default_factory=list[str])
    ended_in_time: bool | None = None
    """Whether it ended within ``grace``; None if it wasn't sent SIGTERM."""
    in_flight: Response | None = None
    """The response to a request that was being handled when SIGTERM came."""

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
    """The ids of the rules that its comments ignore."""
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


def one_line(text: str) -> str:
    """Return text from outside as one safe line, without control characters."""
    return "".join(c if c.isprintable() else " " for c in text)


def printable(text: str, limit: int = 300) -> str:
    """Return text from outside as one safe line of at most ``limit`` characters."""
    return one_line(text if len(text) <= limit else text[: limit - 1] + "…")
