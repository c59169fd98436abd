"""What was seen of each target: plain values, which the rules judge."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

VERSION: Final = "/__version__"
HEARTBEAT: Final = "/__heartbeat__"
LBHEARTBEAT: Final = "/__lbheartbeat__"
ENDPOINTS: Final = (LBHEARTBEAT, VERSION, HEARTBEAT)

MAX_BODY: Final = 1 << 20
"""How much of a response's body is read, in bytes."""


class CouldNotRunError(Exception):
    """A target can't be looked at; the text says why, in one line."""


@dataclass(frozen=True)
class Answer:
    """What one request got.

    ``error`` says why it is none, or why its body is not all there; ``status`` is None when not
    even a status came.
    """

    method: str
    url: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    seconds: float = 0.0
    error: str = ""
    unreachable: bool = False
    """Whether nothing listens there."""

    @property
    def said(self) -> str:
        """The answer in a few words, for messages."""
        if self.status is None:
            return self.error
        location = self.headers.get("location")
        to = f" to {location}" if location and 300 <= self.status < 400 else ""  # noqa: PLR2004
        return f"HTTP {self.status}{to}" + (f", but {self.error}" if self.error else "")

    def json(self) -> Any:
        """Return the body's content; raise ValueError when it is not JSON."""
        return parse_json(self.body)


@dataclass
class Service:
    """An app that answers: by a URL, started by us, or in this process."""

    where: str
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict[tuple[str, str], Answer])
    assets: list[Answer] = field(default_factory=list[Answer])
    start: str = ""
    """The shell command that starts it, when that is known."""
    broken_by: str = ""
    """What breaks a backing service of it, as NAME=VALUE; empty for a service that is well."""
    exited: int | None = None
    """Its exit code, when it exited instead of answering."""

    def get(self, path: str) -> Answer | None:
        """Return the answer to a GET of this path."""
        return self.answers.get(("GET", path))

    def reproduce(self, answer: Answer) -> str:
        """Return the shell command that makes the same request."""
        option = {"GET": "", "HEAD": "--head "}.get(answer.method, f"-X {answer.method} ")
        curl = f"curl -i {option}{shlex.quote(answer.url)}"
        if not self.start:
            return curl
        return f"{self.start} & sleep 3; {curl}; kill $!"


@dataclass
class Run:
    """A command that was started, and how it went until it ended."""

    where: str
    start: str
    port: int
    listens: bool = False
    elsewhere: list[int] = field(default_factory=list[int])
    """The ports that it listens on instead of the one it was given."""
    processes: list[str] = field(default_factory=list[str])
    log_files: list[str] = field(default_factory=list[str])
    stdout: Log | None = None
    stderr: Log | None = None
    grace: float = 0.0
    """How long it had to end after SIGTERM, in seconds."""
    terminated: float | None = None
    """How long it took to end after SIGTERM, in seconds; None when it didn't."""
    asked_to_end: bool = False
    in_flight: Answer | None = None
    """What a request got that was being worked on when SIGTERM came."""


@dataclass(eq=False)
class Log:
    """Lines that an app wrote: ``stream`` is stdout, stderr or file."""

    where: str
    stream: str
    lines: list[bytes]
    reproduce: str
    dropped: bool = False
    """Whether there was more than is kept here."""


@dataclass
class VersionFile:
    """A version.json: ``content`` is None when there is none where it should be."""

    where: str
    content: bytes | None
    reproduce: str
    file: str = ""
    in_image: bool = False


class Instruction(NamedTuple):
    """One instruction of a Dockerfile, with its variables filled in."""

    name: str
    value: str
    line: int
    stage: int
    variables: Mapping[str, str] = {}
    body: str = ""
    """The text of its here-documents."""


@dataclass
class Dockerfile:
    """The instructions that make the image: those of the last stage, and of all it is based on."""

    where: str
    instructions: list[Instruction]
    users: list[Instruction]
    """The instructions that decide which users there are, also those of stages copied from."""
    base: str
    line: int
    """The line of the last stage's FROM."""
    build_args: Mapping[str, str] = field(default_factory=dict[str, str])
    ignored: frozenset[str] = frozenset()
    reproduce: str = ""


@dataclass
class Image:
    """An image: its configuration and the files that matter."""

    where: str
    config: Mapping[str, Any]
    passwd: str
    group: str
    sources: bool
    """Whether there is a file below /app other than version.json."""
    version: VersionFile
    reproduce: str = ""


@dataclass
class Evidence:
    """All that was seen."""

    services: list[Service] = field(default_factory=list[Service])
    broken: list[Service] = field(default_factory=list[Service])
    runs: list[Run] = field(default_factory=list[Run])
    logs: list[Log] = field(default_factory=list[Log])
    versions: list[VersionFile] = field(default_factory=list[VersionFile])
    dockerfiles: list[Dockerfile] = field(default_factory=list[Dockerfile])
    images: list[Image] = field(default_factory=list[Image])


def parse_json(body: bytes) -> Any:
    """Return what strict JSON in UTF-8 says; raise ValueError when it isn't that."""

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(body.decode(), parse_constant=refuse)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        message = "nested too deeply"
        raise ValueError(message) from None


def printable(text: str, limit: int = 300) -> str:
    """Return a text from outside as one safe line: no control characters, not endless."""
    clean = "".join(c if c.isprintable() else " " for c in text[: limit + 1])
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
