"""The registry of rules, and the findings they yield."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from inspect import cleandoc
from typing import Final, Literal, NamedTuple

from dockerflow.verify.evidence import Dockerfile, Evidence, Image, Instruction, Log

Level = Literal["error", "warning"]


class Finding(NamedTuple):
    """Something that violates a rule."""

    message: str
    where: str
    reproduce: str = ""
    """A shell command that shows it."""
    file: str = ""
    line: int | None = None


class Unknown(NamedTuple):
    """Something that can't be decided, such as what an unknown base image contains."""

    message: str
    where: str
    would_tell: str
    """How to find out, as an instruction: "check the image with --image NAME"."""
    file: str = ""
    line: int | None = None


Findings = Iterator[Finding | Unknown | None]
Judge = Callable[[Evidence], Findings]


class Rule(NamedTuple):
    """What is required, where that is written, and what to do about it."""

    id: str
    title: str
    level: Level
    sentence: str
    source: str
    looks_at: str
    fix: str
    why: str
    """What goes wrong in operation otherwise."""
    language: str
    """The language of both examples, as Markdown names it."""
    bad: str
    """An example that breaks the rule."""
    good: str
    """The same example, corrected."""
    judge: Judge

    @property
    def page(self) -> str:
        """The path of its page in the documentation."""
        return f"docs/rules/{self.id}.md"

    @property
    def heading(self) -> str:
        """The title in Markdown, where the underscores of a path would mean emphasis."""
        return re.sub(r"/\S+|\$\w+", r"`\g<0>`", self.title)


IMAGE_TELLS: Final = "check the image that it builds: dockerflow verify --image NAME"

BY_ID: Final[dict[str, Rule]] = {}
"""The rules that are registered so far."""


def rule(
    level: Level,
    id_: str,
    title: str,
    *,
    sentence: str,
    source: str,
    looks_at: str,
    fix: str,
    why: str,
    language: str,
    bad: str,
    good: str,
) -> Callable[[Judge], Judge]:
    """Register a function as a rule.

    It yields a :class:`Finding` for each thing that is wrong, None for each that is right and
    an :class:`Unknown` for each that can't be decided from the evidence; nothing if there was
    nothing to check. It does no I/O.

    :param sentence: what the rule checks, as ``source`` has it.
    :param looks_at: the targets that the rule can judge, for people.
    :param bad: an example in ``language`` that breaks this rule; ``good`` is it, corrected.
    """
    why, bad, good = map(cleandoc, (why, bad, good))

    def add(judge: Judge) -> Judge:
        BY_ID[id_] = Rule(
            id_, title, level, sentence, source, looks_at, fix, why, language, bad, good, judge
        )
        return judge

    return add


def in_dockerfile(dockerfile: Dockerfile, message: str, at: Instruction | None = None) -> Finding:
    """Return a finding on an instruction; by default on the last stage's FROM."""
    line = at.line if at else dockerfile.line
    return Finding(message, dockerfile.where, dockerfile.reproduce, dockerfile.where, line)


def unknown_in_dockerfile(
    evidence: Evidence, dockerfile: Dockerfile, message: str, at: Instruction | None = None
) -> Iterator[Unknown]:
    """Yield that a Dockerfile can't tell, unless there is an image, which can."""
    if not evidence.images:
        line = at.line if at else dockerfile.line
        declared = [
            i.value for i in (*dockerfile.arguments, *dockerfile.instructions) if i.name == "ARG"
        ]
        arguments = {word.partition("=")[0] for value in declared for word in value.split()}
        named = [name for name in re.findall(r"\$(\w+)", message) if name in arguments]
        by_argument = f"give --build-arg {named[0]}=VALUE, or " if named else ""
        would_tell = f"{by_argument}{IMAGE_TELLS}"
        yield Unknown(message, dockerfile.where, would_tell, dockerfile.where, line)


def in_image(image: Image, message: str, command: str) -> Finding:
    """Return a finding that a shell command in a container shows."""
    engine = image.reproduce
    return Finding(message, image.where, f"{engine} {shlex.quote(command)}" if engine else "")


def in_log(log: Log, number: int, message: str) -> Finding:
    """Return a finding on a line of a log."""
    line = f"line {number}: {message}"
    return Finding(line, log.where, log.reproduce(number), log.file, number)
