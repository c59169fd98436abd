"""Read a Dockerfile as a build does: stages, build arguments, variables, here-documents."""

from __future__ import annotations

import io
import json
import posixpath
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from dockerfile_parse import DockerfileParser

from dockerflow.verify import instructions
from dockerflow.verify.bases import Base, base
from dockerflow.verify.evidence import CouldNotRunError, Dockerfile, Instruction
from dockerflow.verify.shell import (
    MAX_TEXT,
    UNKNOWN,
    Shell,
    Steps,
    Unfollowable,
    Variables,
    expand,
    has_shell,
    is_known,
    unknown,
)
from dockerflow.verify.system import System

MAX_BYTES: Final = 1 << 20

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
_argument = re.compile(rf"(?<!\S)(?:{_pair.pattern}|[A-Za-z_][\w.-]*(?!\S))", re.DOTALL)
# In these a build substitutes variables itself; in the others the shell does.
_EXPANDED: Final = frozenset({"ADD", "COPY", "EXPOSE", "LABEL", "USER", "WORKDIR"})
_ROOT: Final = frozenset({"", "root", "0"})


@dataclass
class _Stage:
    """A FROM and what follows it, with what it inherits from the stage that it is based on."""

    name: str
    line: int
    base: Base
    system: System
    instructions: list[Instruction] = field(default_factory=list[Instruction])
    variables: Variables = field(default_factory=Variables)
    environ: dict[str, str] = field(default_factory=dict[str, str])
    """The variables of ENV, which win over those of ARG."""
    folder: str = "/"
    user: str = ""
    shell: list[str] = field(default_factory=lambda: ["/bin/sh", "-c"])
    triggers: list[tuple[str, str, int, str]] = field(
        default_factory=list[tuple[str, str, int, str]]
    )
    """What ONBUILD does in the stages that are based on this one."""


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
    try:
        reader.read(text)
    except Unfollowable:
        raise CouldNotRunError(f"{where} has too many stages") from None
    if not reader.stages:
        problem = "has no FROM" if text.strip() else "is empty"
        raise CouldNotRunError(f"{where} is not a Dockerfile: it {problem}")
    stage = reader.stages[-1] if target is None else reader.find(target)
    if stage is None:
        raise CouldNotRunError(f"{where} has no stage {target!r}")
    options = [f"--target {shlex.quote(target)}"] if target is not None else []
    for name, value in (build_args or {}).items():
        options.append(f"--build-arg {shlex.quote(f'{name}={value}')}")
    command = f"dockerflow verify --dockerfile {shlex.quote(where)}"
    return Dockerfile(
        where,
        stage.instructions,
        reader.arguments,
        stage.base,
        stage.system,
        stage.line,
        _ignored(text),
        " ".join([command, *options]),
    )


def _ignored(text: str) -> set[str]:
    """Return the IDs of the rules that comments ignore; a reason may follow them."""
    return {id_.strip().upper() for ids in _ignores(text) for id_ in ids.split(",")}


class _Reader:
    """Reads the instructions one after the other, and follows what they build."""

    def __init__(self, build_args: Mapping[str, str]) -> None:
        self.stages: list[_Stage] = []
        self.arguments: list[Instruction] = []
        self._build_args = build_args
        self._globals = Variables(base_is_known=False)
        self._escape = "\\"
        self._steps = Steps()

    def read(self, text: str) -> None:
        directives = map(_escape, takewhile(_directive, text.splitlines()))
        self._escape = next((match[1] for match in directives if match), "\\")
        lines, bodies = _without_heredocs(text, self._escape)
        source: Any = io.BytesIO("".join(lines).encode())
        parser: Any = DockerfileParser(fileobj=source, env_replace=False)
        for item in parser.structure:
            name, line = str(item["instruction"]), int(item["startline"]) + 1
            value = str(item["value"]).strip().replace(UNKNOWN, "")
            if name == "FROM":
                self._begin_stage(value, line)
            elif name != "COMMENT":
                self._add(name, value, line, "\n".join(bodies.get(line, ())).replace(UNKNOWN, ""))

    def find(self, name: str) -> _Stage | None:
        """Return the last stage with this name, or this number."""
        for stage in reversed(self.stages):
            if stage.name and stage.name == name.lower():
                return stage
        is_number = name.isascii() and name.isdecimal() and len(name) < 10  # noqa: PLR2004
        number = int(name) if is_number else len(self.stages)
        return self.stages[number] if number < len(self.stages) else None

    def _expand(self, text: str, variables: Variables) -> str:
        return expand(text, variables, self._escape) if len(text) <= MAX_TEXT else unknown()

    def _begin_stage(self, value: str, line: int) -> None:
        match = _from(self._expand(value, self._globals))
        if match is None:
            return
        self._steps.take(100)  # so that there can be 1,000 stages
        name, below = (match["name"] or "").lower(), self.find(match["image"])
        if below is None:
            image = base(_shown(match["image"]) if is_known(match["image"]) else match["image"])
            variables = Variables(base_is_known=image.is_known)
            folder = image.folder or unknown("WORKDIR")
            shown = image._replace(name=_shown(image.name))
            stage = _Stage(name, line, shown, System(shown), variables=variables, folder=folder)
        else:
            self._steps.take(1 + (below.system.size + len(below.instructions)) // 10)
            stage = replace(
                below,
                name=name,
                line=line,
                system=below.system.copy(),
                instructions=[*below.instructions],
                variables=below.variables.copy(),
                environ=dict(below.environ),
                triggers=[],
            )
        self.stages.append(stage)
        for trigger in below.triggers if below else ():
            self._add(*trigger)

    def _add(self, name: str, value: str, line: int, body: str) -> None:
        if not self.stages:
            if name == "ARG":
                self._declare(value, self._globals, {})
            self.arguments.append(Instruction(name, value, line, -1, body))
            return
        stage = self.stages[-1]
        variables = stage.variables
        if name == "ARG":
            self._declare(value, variables, stage.environ)
        elif name == "ENV":
            new = {key: self._expand(raw, variables) for key, raw in _pairs(value)}
            for key, text in new.items():
                variables.set(key, text)
                variables.undefined.discard(key)
            stage.environ |= new
            value = " ".join(f"{key}={_shown(text)}" for key, text in new.items())
        elif name == "ONBUILD":
            trigger, _, rest = value.partition(" ")
            stage.triggers.append((trigger.upper(), rest.strip(), line, body))
        stage.system.line = line
        words, raw = list[str](), value
        if name in _EXPANDED:
            words, value = self._expanded(value, variables)
        try:
            self._follow(stage, name, raw, words, body)
        except Unfollowable:
            stage.system.forget("a text that is too long or too deeply nested to follow")
        number = len(self.stages) - 1
        stage.instructions.append(Instruction(name, _shown(value), line, number, body))

    def _declare(self, value: str, variables: Variables, environ: Mapping[str, str]) -> None:
        """Set the variables of an ARG."""
        for match in _argument.finditer(value):
            name, has_default, default = match[0].partition("=")
            if name in environ:  # which wins
                continue
            if name in self._build_args:
                variables.set(name, self._build_args[name])
            elif has_default and default not in (f"${name}", f"${{{name}}}"):
                variables.set(name, self._expand(default, variables))
            elif name in self._globals.values:
                variables.set(name, self._globals.values[name])
            elif name not in variables.values:
                variables.undefined.add(name)

    def _expanded(self, value: str, variables: Variables) -> tuple[list[str], str]:
        """Substitute variables; return the words after the flags, and the whole value."""
        _, text = instructions.flags(value)
        flags = self._expand(value[: len(value) - len(text)], variables)
        words = instructions.json_words(text)
        if words is None:
            words = [self._expand(word, variables) for word in text.split()]
            whole = self._expand(text, variables)
            return words, flags + whole
        words = [self._expand(word, variables) for word in words]
        return words, flags + json.dumps(words)

    def _follow(self, stage: _Stage, name: str, value: str, words: list[str], body: str) -> None:
        """Do what an instruction does to the files of its stage."""
        match name:
            case "WORKDIR":
                path = _path(stage.folder, " ".join(words) or "/")
                stage.folder = path
            case "USER":
                stage.user = " ".join(words)
            case "SHELL":
                stage.shell = instructions.json_words(value) or stage.shell
            case "COPY" | "ADD":
                self._copy(stage, name, value, words, body)
            case "RUN":
                self._run(stage, value, body)
            case _:
                pass

    def _copy(self, stage: _Stage, name: str, value: str, words: list[str], body: str) -> None:
        flags, _ = instructions.flags(value)
        *sources, last = words or [""]
        if not sources:
            return
        self._steps.take(len(sources))
        target = _path(stage.folder, last)
        into = last.endswith(("/", "/.")) or last in (".", "..") or len(sources) > 1
        into = into or target in ("/", "/etc")
        origin = flags.get("--from", [""])[-1]
        documents = {
            document: expand(text, stage.variables, quotes=False) if substitutes else text
            for document, text, substitutes in instructions.heredocs(value, body)
        }
        other = self._system(origin) if origin else None
        for source in sources:
            where, inside = target, into
            if "--parents" in flags:
                folder = posixpath.dirname(source.partition("/./")[2] or source)
                where, inside = _path(target, folder.lstrip("/")), True
            if source.startswith("<<"):
                document = source.lstrip("<-").strip("\"'")
                path = f"{where.rstrip('/')}/{document}" if inside else where
                stage.system.write(path, documents.get(document, unknown()), append=False)
            elif other is not None:
                path = _path("/", source) + ("/" if source.endswith("/") else "")
                self._steps.take(1 + other.size // 10)
                stage.system.take(other, path, where, into=inside, contents=True)
            elif name == "ADD" and _is_archive(source):
                stage.system.unpack(where, source)
            else:
                stage.system.take_from_context(source, where, into=inside)

    def _system(self, name: str) -> System:
        """Return what another stage or image contains."""
        stage = self.find(name) if is_known(name) else None
        return stage.system if stage else System(base(_shown(name)))

    def _run(self, stage: _Stage, value: str, body: str) -> None:
        flags, text = instructions.flags(value)
        self._steps.take(1 + len(stage.variables.values) // 50)
        variables = stage.variables.copy()
        variables.exported = set(variables.values)
        shell = Shell(stage.system, variables, stage.folder, self._steps)
        shell.is_root = stage.user.partition(":")[0] in _ROOT or not is_known(stage.user)
        for mount in flags.get("--mount", ()):
            folders = re.findall(r"(?:^|,)(?:target|dst|destination)=([^,]+)", mount)
            shell.mounted += [_path(stage.folder, folder) for folder in folders]
        words = instructions.json_words(text)
        if words is None:
            text = instructions.script(text, body)
            words = [*stage.shell, text]
            if text.startswith("#!") and not has_shell(text):
                interpreter = text[2:].partition("\n")[0].rpartition(" ")[2]
                words = [posixpath.basename(interpreter) or "python", text]
        shell.run_words(words)


def _path(folder: str, path: str) -> str:
    """Return the absolute path, on Windows without the drive; what isn't known of it stays."""
    if re.match(r"[A-Za-z]:[\\/]", path):
        path = path[2:].replace("\\", "/")
    full = path if path.startswith(UNKNOWN) else posixpath.join(folder, path)
    return posixpath.normpath(full).replace("//", "/") if is_known(full) else full


def _is_archive(source: str) -> bool:
    is_url = "://" in source
    return not is_url and re.search(r"\.(?:tar|tgz|txz|tbz2?|tar\.\w+)$", source) is not None


def _shown(text: str) -> str:
    """Return a text for messages, with $NAME in place of what isn't known."""
    return re.sub("\0(\\w*)\0", lambda m: f"${m[1]}" if m[1] else "...", text)


def _pairs(value: str) -> list[tuple[str, str]]:
    if re.match(r"^[\w.-]+=", value):
        return _pair.findall(value)
    name, *rest = value.split(maxsplit=1) or [""]  # the old form: ENV NAME, and all that follows
    return [(name, "".join(rest))]


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
            open_words = [mark["name"] for mark in instructions.heredoc_marks(line)]
        is_continued = line.rstrip().endswith(escape)
    return [*lines, "\n"], bodies
