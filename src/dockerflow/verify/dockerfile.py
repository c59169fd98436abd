"""Read a Dockerfile as a build does: stages, build arguments, variables, here-documents."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from dockerfile_parse import DockerfileParser

from dockerflow.verify.evidence import CouldNotRunError, Dockerfile, Instruction

MAX_BYTES: Final = 1 << 20

_heredocs = re.compile(r"<<-?\s*([\"']?)([A-Za-z_]\w*)\1").findall
_takes_heredocs = re.compile(r"^\s*(?:ONBUILD\s+)?(?:RUN|COPY|ADD)\s", re.IGNORECASE).match
_escape = re.compile(r"^\s*#\s*escape\s*=\s*(\\|`)\s*$", re.IGNORECASE).match
_directive = re.compile(r"^\s*#\s*\w+\s*=").match
_ignores = re.compile(
    r"^[ \t]*#[ \t]*dockerflow[ \t]+ignore[ \t]*=[ \t]*(\w+(?:[ \t]*,[ \t]*\w+)*)",
    re.IGNORECASE | re.MULTILINE,
).findall
_from = re.compile(
    r"^(?:--\S+\s+)*(?P<image>\S+)(?:\s+AS\s+(?P<name>\S+))?\s*$", re.IGNORECASE
).match
_pair = re.compile(
    r"""([A-Za-z_][\w.-]*)=((?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])*)""", re.DOTALL
)
_variable = re.compile(
    r"""\\(?P<escaped>.) | '(?P<literal>[^']*)'
      | \$\{(?P<braced>\w+)(?:(?P<operator>:?[-+])(?P<word>[^}]*))?\} | \$(?P<plain>\w+)""",
    re.VERBOSE,
)
# In these a build substitutes variables itself; in the others the shell does.
_EXPANDED: Final = frozenset({"ADD", "COPY", "EXPOSE", "LABEL", "USER", "WORKDIR"})
_USER_FILES: Final = frozenset({"/etc/passwd", "/etc/group"})


@dataclass
class _Stage:
    """A FROM and what follows it, with what it inherits from the stage that it is based on."""

    name: str = ""
    line: int = 0
    instructions: list[Instruction] = field(default_factory=list[Instruction])
    users: list[Instruction] = field(default_factory=list[Instruction])
    """Those of the stages that /etc/passwd or /etc/group is copied from."""
    environ: dict[str, str] = field(default_factory=dict[str, str])
    """The variables of ENV."""


def read(path: Path, build_args: Mapping[str, str], target: str | None) -> Dockerfile:
    """Read the Dockerfile at ``path``.

    :param target: the name of the stage to build, instead of the last one.
    :raises CouldNotRunError: when there is no file, or nothing in it that can be built.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise CouldNotRunError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CouldNotRunError(f"{path} is not a Dockerfile: it is not UTF-8") from None
    if len(content) > MAX_BYTES:
        raise CouldNotRunError(f"{path} is not a Dockerfile: it is over {MAX_BYTES} bytes")
    return parse(text, str(path), build_args, target)


def parse(
    text: str, where: str, build_args: Mapping[str, str] | None = None, target: str | None = None
) -> Dockerfile:
    """Read the text of a Dockerfile; see :func:`read`."""
    reader = _Reader(build_args or {})
    reader.read(text)
    if not reader.stages:
        problem = "has no FROM" if text.strip() else "is empty"
        raise CouldNotRunError(f"{where} is not a Dockerfile: it {problem}")
    stage = reader.stages[-1] if target is None else reader.find(target)
    if stage is None:
        raise CouldNotRunError(f"{where} has no stage {target!r}")
    users = [*stage.users, *stage.instructions]
    return Dockerfile(
        where, stage.instructions, reader.arguments, users, stage.line, _ignored(text)
    )


def _ignored(text: str) -> set[str]:
    """Return the ids of the rules that comments ignore; a reason may follow them."""
    return {id_.strip().upper() for ids in _ignores(text) for id_ in ids.split(",")}


class _Reader:
    """Reads the instructions one after the other, keeping track of stages and variables."""

    def __init__(self, build_args: Mapping[str, str]) -> None:
        self.stages: list[_Stage] = []
        self.arguments: list[Instruction] = []
        self._build_args = build_args
        self._globals: dict[str, str] = {}
        self._variables = self._globals  # and those of the stage that is read
        self._escape = "\\"

    def read(self, text: str) -> None:
        directives = map(_escape, takewhile(_directive, text.splitlines()))
        self._escape = next((match[1] for match in directives if match), "\\")
        lines, bodies = _without_heredocs(text, self._escape)
        source: Any = io.BytesIO("".join(lines).encode())
        parser: Any = DockerfileParser(fileobj=source, env_replace=False)
        for item in parser.structure:
            name, line = str(item["instruction"]), int(item["startline"]) + 1
            value = str(item["value"]).strip()
            if name == "FROM":
                self._begin_stage(value, line)
            elif name != "COMMENT":
                self._add(name, value, line, "\n".join(bodies.get(line, ())))

    def find(self, name: str) -> _Stage | None:
        """Return the last stage with this name, or this number."""
        for stage in reversed(self.stages):
            if stage.name and stage.name == name.lower():
                return stage
        is_number = name.isdecimal() and int(name) < len(self.stages)
        return self.stages[int(name)] if is_number else None

    def _begin_stage(self, value: str, line: int) -> None:
        match = _from(expand(value, self._globals, self._escape))
        if match is not None:
            base = self.find(match["image"]) or _Stage()
            name = (match["name"] or "").lower()
            self.stages.append(
                _Stage(name, line, [*base.instructions], [*base.users], dict(base.environ))
            )
            self._variables = dict(base.environ)

    def _add(self, name: str, value: str, line: int, body: str) -> None:
        if name == "ARG":
            self._declare(value)
        if not self.stages:
            self.arguments.append(Instruction(name, value, line, -1, dict(self._variables), body))
            return
        stage, variables = self.stages[-1], self._variables
        if name in _EXPANDED:
            value = expand(value, variables, self._escape)
        elif name == "ENV":
            new = {key: expand(raw, variables, self._escape) for key, raw in _pairs(value)}
            variables |= new
            stage.environ |= new
            value = " ".join(f"{key}={text}" for key, text in new.items())
        if name == "COPY" and _USER_FILES & {*value.split()}:
            source = re.search(r"(?<!\S)--from=(\S+)", value)
            found = source and self.find(source[1])
            stage.users += found.instructions if found else []
        number = len(self.stages) - 1
        stage.instructions.append(Instruction(name, value, line, number, dict(variables), body))

    def _declare(self, value: str) -> None:
        """Set the variables of an ARG."""
        variables = self._variables
        words = [f"{key}={text}" for key, text in _pairs(value)] if "=" in value else value.split()
        for word in words:
            name, has_default, default = word.partition("=")
            if name in self._build_args:
                variables[name] = self._build_args[name]
            elif has_default:
                variables[name] = expand(default, variables, self._escape)
            elif name in self._globals:
                variables[name] = self._globals[name]


def _pairs(value: str) -> list[tuple[str, str]]:
    if re.match(r"^[\w.-]+=", value):
        return _pair.findall(value)
    name, _, rest = value.partition(" ")  # the old form: ENV NAME, and all that follows
    return [(name, rest.strip())]


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """Substitute variables and remove quotes, as a build does; unknown variables stay."""

    def fill(match: re.Match[str]) -> str:
        if match["escaped"] is not None:
            return match["escaped"] if escape == "\\" else match[0]
        if match["literal"] is not None:
            return match["literal"]
        name = match["braced"] or match["plain"]
        value, operator = variables.get(name), match["operator"] or ""
        is_set = value is not None and (value != "" or ":" not in operator)
        if operator.endswith("-"):
            return value or "" if is_set else expand(match["word"], variables, escape)
        if operator.endswith("+"):
            return expand(match["word"], variables, escape) if is_set else ""
        return match[0] if value is None else value

    if text.startswith("["):
        return text  # JSON keeps its quotes
    return _variable.sub(fill, text).replace('"', "")


def _without_heredocs(text: str, escape: str) -> tuple[list[str], dict[int, list[str]]]:
    """Blank out the here-documents; return the lines, and the documents by instruction's line.

    The parser knows neither them nor empty lines within a continued instruction.
    """
    lines: list[str] = []
    bodies: dict[int, list[str]] = {}
    open_words: list[str] = []
    start, is_continued = 0, False
    for number, line in enumerate(text.splitlines(), 1):
        if open_words:
            bodies[start].append(line)
            if line.strip("\t") == open_words[0]:
                del open_words[0]
            lines.append("#\n")
            continue
        if is_continued and not line.strip():
            lines.append("#\n")
            continue
        lines.append(line + "\n")
        if line.lstrip().startswith("#"):
            continue
        if not is_continued:
            start = number
        if _takes_heredocs(line) or start in bodies:
            bodies.setdefault(start, [])
            open_words = [word for _, word in _heredocs(line)]
        is_continued = line.rstrip().endswith(escape)
    return [*lines, "\n"], bodies
