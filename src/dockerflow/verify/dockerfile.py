"""Read a Dockerfile as a build does: stages, build arguments, variables, here-documents."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dockerfile_parse import DockerfileParser

from dockerflow.verify.evidence import CouldNotRunError, Dockerfile, Instruction

MAX_BYTES: Final = 1 << 20

_heredocs = re.compile(r"<<-?\s*([\"']?)([A-Za-z_]\w*)\1").findall
_takes_heredocs = re.compile(r"^\s*(?:ONBUILD\s+)?(?:RUN|COPY|ADD)\s", re.IGNORECASE).match
_escape = re.compile(r"^\s*#\s*escape\s*=\s*(\\|`)\s*$", re.IGNORECASE).match
_directive = re.compile(r"^\s*#\s*\w+\s*=").match
_ignore = re.compile(r"^\s*#\s*dockerflow\s+ignore\s*=\s*([\w,\s]+)", re.IGNORECASE).match
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
# Of these a build fills in the variables itself; in the others the shell does.
_EXPANDED: Final = frozenset({"ADD", "COPY", "ENV", "EXPOSE", "FROM", "LABEL", "USER", "WORKDIR"})


@dataclass
class _Stage:
    """One FROM, and what follows it."""

    image: str
    name: str
    line: int
    instructions: list[Instruction] = field(default_factory=list[Instruction])
    variables: dict[str, str] = field(default_factory=dict[str, str])


def read(path: Path, build_args: Mapping[str, str], target: str | None) -> Dockerfile:
    """Return what makes the image.

    :param target: the name of the stage to build, instead of the last one.
    :raises CouldNotRunError: when there is no file, or nothing that could be built.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise CouldNotRunError(f"{path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CouldNotRunError(f"{path} is no Dockerfile: it is not UTF-8") from None
    if len(content) > MAX_BYTES:
        raise CouldNotRunError(f"{path} is no Dockerfile: it is over {MAX_BYTES} bytes")
    return parse(text, str(path), build_args, target)


def parse(
    text: str, where: str, build_args: Mapping[str, str] | None = None, target: str | None = None
) -> Dockerfile:
    """Return what makes the image; see :func:`read`."""
    given = build_args or {}
    stages = list(_stages(text, given))
    if not stages:
        what = "has no FROM" if text.strip() else "is empty"
        raise CouldNotRunError(f"{where} is no Dockerfile: it {what}")
    chosen = stages[-1]
    if target is not None:
        found = _find(stages, target)
        if found is None:
            raise CouldNotRunError(f"{where} has no stage {target!r}")
        chosen = found
    chain = _chain(stages, chosen)
    # A stage that gives its /etc/passwd decides which users there are.
    users = [
        instruction
        for source in _sources(stages, chain, "/etc/passwd", "/etc/group")
        for stage in _chain(stages, source)
        for instruction in stage.instructions
    ]
    instructions = [instruction for stage in chain for instruction in stage.instructions]
    return Dockerfile(
        where,
        instructions,
        users=[*users, *instructions],
        base=chain[0].image,
        line=chosen.line,
        build_args=given,
        ignored=_ignored(text),
    )


def _ignored(text: str) -> frozenset[str]:
    matches = (_ignore(line) for line in text.splitlines())
    return frozenset(
        id_.upper()
        for match in matches
        if match
        # What follows the list is the reason, for people.
        for id_ in re.split(r"\s*,\s*", match[1].split("  ")[0].strip())
        for id_ in id_.split()[:1]
    )


def _chain(stages: list[_Stage], last: _Stage) -> list[_Stage]:
    """Return a stage and those that it is based on, the lowest first."""
    chain = [last]
    while (base := _find(stages[: stages.index(chain[0])], chain[0].image)) is not None:
        chain.insert(0, base)
    return chain


def _find(stages: list[_Stage], name: str) -> _Stage | None:
    for stage in reversed(stages):
        if stage.name and stage.name == name.lower():
            return stage
    return stages[int(name)] if name.isdecimal() and int(name) < len(stages) else None


def _sources(stages: list[_Stage], chain: list[_Stage], *paths: str) -> Iterator[_Stage]:
    for stage in chain:
        for instruction in stage.instructions:
            words = instruction.value.split()
            source = next((w[7:] for w in words if w.startswith("--from=")), None)
            if instruction.name == "COPY" and source and set(paths) & set(words):
                found = _find(stages[: stages.index(stage)], source)
                if found:
                    yield found


def _stages(text: str, build_args: Mapping[str, str]) -> Iterator[_Stage]:
    lines, bodies = _without_heredocs(text)
    source: Any = io.BytesIO("".join(lines).encode())
    parser: Any = DockerfileParser(fileobj=source, env_replace=False)
    escape = next((m[1] for m in map(_escape, lines) if m), "\\")
    globals_: dict[str, str] = {}
    stages: list[_Stage] = []
    for item in parser.structure:
        name, line = str(item["instruction"]), int(item["startline"]) + 1
        value = str(item["value"]).strip()
        variables = stages[-1].variables if stages else globals_
        if name in _EXPANDED and name != "FROM":
            value = value if name == "ENV" else expand(value, variables, escape)
        if name == "FROM":
            match = _from(expand(value, globals_, escape))
            if match is None:
                continue
            stage = _Stage(match["image"], (match["name"] or "").lower(), line)
            base = _find(stages, stage.image)
            # A stage has the environment of the one below it, but not its build arguments.
            stage.variables.update(_environment(base) if base else {})
            stages.append(stage)
        elif name == "ARG":
            _declare(value, variables, build_args, globals_ if stages else None, escape)
        elif name == "ENV" and stages:
            fresh = {key: expand(raw, variables, escape) for key, raw in _pairs(value)}
            variables.update(fresh)
            value = " ".join(f"{key}={text}" for key, text in fresh.items())
        if stages and name not in ("FROM", "COMMENT"):
            body = "\n".join(bodies.get(line, ()))
            stages[-1].instructions.append(
                Instruction(name, value, line, len(stages) - 1, dict(variables), body)
            )
    yield from stages


def _environment(stage: _Stage) -> dict[str, str]:
    names = {
        key
        for instruction in stage.instructions
        if instruction.name == "ENV"
        for key, _ in _pairs(instruction.value)
    }
    return {key: value for key, value in stage.variables.items() if key in names}


def _declare(
    value: str,
    variables: dict[str, str],
    build_args: Mapping[str, str],
    outer: Mapping[str, str] | None,
    escape: str,
) -> None:
    for word in value.split() if "=" not in value else [f"{k}={v}" for k, v in _pairs(value)]:
        name, given, default = word.partition("=")
        if name in build_args:
            variables[name] = build_args[name]
        elif given:
            variables[name] = expand(default, variables, escape)
        elif outer and name in outer:
            variables[name] = outer[name]


def _pairs(value: str) -> list[tuple[str, str]]:
    if re.match(r"^[\w.-]+=", value):
        return _pair.findall(value)
    name, _, rest = value.partition(" ")  # the old way: ENV NAME the whole rest
    return [(name, rest.strip())]


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """Fill in variables and take quotes away, as a build does; what has no value stays."""

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


def _without_heredocs(text: str) -> tuple[list[str], dict[int, list[str]]]:
    """Return the lines with the here-documents blanked, and those by their instruction's line.

    The parser knows neither them nor the empty lines that a continued line may be followed by.
    """
    lines: list[str] = []
    bodies: dict[int, list[str]] = {}
    escape, open_words, start, continued, head = "\\", list[str](), 0, False, True
    for number, line in enumerate(text.splitlines(), 1):
        if head and (match := _escape(line)):
            escape = match[1]
        head = head and bool(_directive(line))
        if open_words:
            bodies[start].append(line)
            if line.strip("\t") == open_words[0]:
                del open_words[0]
            lines.append("#\n")
            continue
        comment = line.lstrip().startswith("#")
        if continued and not line.strip():
            lines.append("#\n")
            continue
        lines.append(line + "\n")
        if comment:
            continue
        if not continued:
            start = number
        if _takes_heredocs(line) or (continued and start in bodies):
            bodies.setdefault(start, [])
        continued = line.rstrip().endswith(escape)
        if start in bodies and not comment:
            open_words = [word for _, word in _heredocs(line)]
    return [*lines, "\n"], bodies
