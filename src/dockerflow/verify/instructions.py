"""The words and commands of a Dockerfile's instructions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final, NamedTuple, Self, cast

from dockerflow.verify.evidence import Instruction
from dockerflow.verify.shell import Shell, Status, Unfollowable, Variables, unknown

PORT: Final = unknown("PORT")
"""Placeholder for the value of $PORT in a command's words."""

_flags = re.compile(r"^(?:--[a-z][\w-]*(?:=\S+)?\s+)+").match


def flags(value: str) -> tuple[dict[str, list[str]], str]:
    """Split the flags in front of an instruction's value from it."""
    match = _flags(value)
    found: dict[str, list[str]] = {}
    for word in match[0].split() if match else ():
        name, _, text = word.partition("=")
        found.setdefault(name, []).append(text)
    return found, value[match.end() :] if match else value


def json_words(value: str) -> list[str] | None:
    """Return the words of an instruction in JSON form; None if it isn't."""
    if not value.startswith("["):
        return None
    try:
        parts = json.loads(value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parts, list):
        return None
    words = cast("list[object]", parts)
    return [str(w) for w in words] if all(isinstance(w, str) for w in words) else None


# To a build this is a separate word: neither <<< nor in quotes.
_shell_words = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:\\.|[^"\\])*"|'[^']*')+""", re.DOTALL).findall
_heredoc = re.compile(r"<<(?P<dash>-?)(?P<quote>[\"']?)(?P<name>[A-Za-z_]\w*)(?P=quote)")


def heredoc_marks(text: str) -> list[re.Match[str]]:
    """Return what starts a here-document, each with the groups dash, quote and name."""
    return [match for match in map(_heredoc.fullmatch, _shell_words(text)) if match]


def heredocs(value: str, body: str) -> list[tuple[str, str, bool]]:
    """Return each here-document's name, text, and whether variables in it are substituted.

    :param body: the lines after the instruction, with those that end the documents.
    """
    found: list[tuple[str, str, bool]] = []
    lines = body.splitlines()
    for mark in heredoc_marks(value):
        dash, quote, name = mark.groups()
        ends = (n for n, line in enumerate(lines) if line.strip("\t") == name)
        end = next(ends, len(lines))
        text = "".join(f"{line.lstrip(chr(9)) if dash else line}\n" for line in lines[:end])
        found.append((name, text, not quote))
        lines = lines[end + 1 :]
    return found


def script(value: str, body: str) -> str:
    """Return the text that a RUN in shell form gives to the shell."""
    if _heredoc.fullmatch(value.strip()):
        return heredocs(value, body)[0][1]
    match value.split(maxsplit=2):
        case [mark, command, *rest] if _heredoc.fullmatch(mark):
            # The grammar knows redirections after a command's name only.
            value = " ".join([command, mark, *rest])
        case _:
            pass
    return f"{value}\n{body}"


def copied(instruction: Instruction) -> tuple[list[str], str]:
    """Return the sources and the destination of a COPY or ADD."""
    _, value = flags(instruction.value)
    words = json_words(value)
    *sources, destination = (value.split() if words is None else words) or [""]
    return sources, destination


def start(instructions: Iterable[Instruction]) -> dict[str, Instruction | None]:
    """Return the ENTRYPOINT and the CMD that are in force at the end, by name.

    None means that it is emptied; one that is missing may be the base's.
    """
    found: dict[str, Instruction | None] = {}
    stage_of_cmd = -1
    for instruction in instructions:
        name = instruction.name
        if name not in ("ENTRYPOINT", "CMD"):
            continue
        is_empty = not instruction.value or json_words(instruction.value) == []
        found[name] = None if is_empty else instruction
        if name == "CMD":
            stage_of_cmd = instruction.stage
        elif stage_of_cmd != instruction.stage:
            found["CMD"] = None  # a build drops the CMD of the stage or image below
    return {name: found[name] for name in ("ENTRYPOINT", "CMD") if name in found}


class Command(NamedTuple):
    """A command, and the value of $PORT that it gets if it isn't the container's."""

    words: list[str]
    port: str


def commands(instruction: Instruction) -> list[Command]:
    """Return the commands that a RUN, ENTRYPOINT or CMD runs, also those that may not run."""
    recorder = _Recorder()
    variables = Variables({"PORT": PORT}, exported={"PORT"}, base_is_known=False)
    shell = Shell(recorder, variables, "/")
    _, value = flags(instruction.value)
    words = json_words(value)
    try:
        if words is None:
            shell.execute(script(value, instruction.body))
        else:
            shell.run_words(words)
    except Unfollowable:
        pass  # those that were found will do
    return recorder.commands


class _Recorder:
    """Records commands instead of running them."""

    size = 0
    sh_is_dash = False

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def copy(self) -> Self:
        return self

    def assign(self, other: Self) -> None: ...

    def join(self, other: Self) -> None: ...

    def read(self, path: str) -> str:  # noqa: ARG002
        return unknown()

    def write(self, path: str, text: str, *, append: bool) -> None: ...

    def cannot_follow(self, text: str, why: str, folder: str) -> None: ...

    def run(self, words: list[str], shell: Shell) -> Status:
        port = shell.variables.text("PORT")
        self.commands.append(Command(words, "" if port == PORT else port))
        return Status.PLAIN
