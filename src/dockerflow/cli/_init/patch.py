"""Propose changes to an existing Dockerfile for what the rules find in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import NamedTuple

from dockerflow.cli._init.templates import GROUP_AND_USER
from dockerflow.verify import dockerfile as reader
from dockerflow.verify.evidence import CouldNotRunError, Dockerfile, Evidence, Instruction
from dockerflow.verify.rules import Finding
from dockerflow.verify.verdicts import Verdict, judge

# Several commands, a built-in one, or a variable before the command.
_needs_shell = re.compile(r"[|&;<>`]|\$\(|^(?:exec|cd|set|export|source|eval|\.|\w+=\S*)\s").search


class Patched(NamedTuple):
    """A Dockerfile with what could be changed."""

    text: str
    mended: list[str]
    """The IDs of the rules that the changes are for."""
    left: list[Verdict]
    """What is still found, or can't be told."""


def patch(text: str, where: str, start: tuple[list[str], list[str]] | None) -> Patched:
    """Change a Dockerfile so that the rules find less in it. Its line ends stay as they are.

    A change that doesn't help, or makes another rule find something, is dropped.

    :param start: ENTRYPOINT and CMD for a Dockerfile that has neither.
    :raises CouldNotRunError: when it isn't a Dockerfile.
    """
    mended: list[str] = []
    found = _findings(text, where)
    for id_, change in _CHANGES.items():
        if id_ not in found:
            continue
        lines = re.findall(r"[^\n]*\n|[^\n]+", text)
        end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += end
        editor = _Editor(
            dockerfile=reader.parse(text, where),
            lines=lines,
            end=end,
            found=found,
            findings=found[id_].findings,
            start=start,
        )
        try:
            change(editor)
            new = "".join(editor.lines)
            after = _findings(new, where)
        except (CouldNotRunError, _ByHandError):
            continue
        if after.keys() <= found.keys() and _count(after) < _count(found):
            text, found = new, after
            mended.append(id_)
    verdicts = _judge(text, where)
    return Patched(text, mended, [v for v in verdicts if v.status in ("failed", "unknown")])


def _judge(text: str, where: str) -> list[Verdict]:
    return judge(Evidence(dockerfiles=[reader.parse(text, where)]))


def _findings(text: str, where: str) -> dict[str, Verdict]:
    return {v.rule.id: v for v in _judge(text, where) if v.status == "failed"}


def _count(verdicts: dict[str, Verdict]) -> int:
    return sum(len(verdict.findings) for verdict in verdicts.values())


class _ByHandError(Exception):
    """No change is known to be right."""


class _Editor:
    """Changes the lines of a Dockerfile."""

    def __init__(
        self,
        *,
        dockerfile: Dockerfile,
        lines: list[str],
        end: str,
        found: dict[str, Verdict],
        findings: list[Finding],
        start: tuple[list[str], list[str]] | None,
    ) -> None:
        self.lines, self.findings, self.start = lines, findings, start
        self.messages = [one.message for verdict in found.values() for one in verdict.findings]
        self.end = end
        last = max((one.stage for one in dockerfile.instructions), default=0)
        self._from = dockerfile.line
        self.all = dockerfile.instructions
        self.own = [one for one in self.all if one.line > self._from and one.stage == last]
        is_backtick = re.match(r"(?i)(\s*#.*\n)*\s*#\s*escape\s*=\s*`", "".join(lines))
        self._escape = "`" if is_backtick else "\\"

    def last(self, name: str) -> Instruction | None:
        return next((one for one in reversed(self.all) if one.name == name), None)

    def span(self, line: int) -> tuple[int, int]:
        """Return the first index of an instruction's lines, and that after the last."""
        at = line - 1
        for end in range(at, len(self.lines)):
            text = self.lines[end].strip()
            is_between = end > at and (not text or text.startswith("#"))
            if not is_between and not text.endswith(self._escape):
                return at, end + 1
        return at, len(self.lines)

    def insert(self, index: int, text: str) -> None:
        self.lines[index:index] = [line + self.end for line in text.split("\n")]

    def replace(self, instruction: Instruction, text: str) -> None:
        at, end = self.span(instruction.line)
        self.lines[at:end] = []
        self.insert(at, text)

    def after_from(self, text: str) -> None:
        self.insert(self.span(self._from)[1], text)

    def before_start(self, text: str) -> None:
        """Insert before the instructions that start the app, which stand at the end."""
        index = len(self.lines)
        for one in reversed(self.own):
            if one.name not in ("ENTRYPOINT", "CMD", "HEALTHCHECK", "STOPSIGNAL"):
                break
            index = one.line - 1
        self.insert(index, text)

    def base(self) -> str:
        """Return the image that the last stage is based on, through the stages below."""
        arguments = dict(re.findall(r"(?im)^ARG\s+(\w+)=(\S+)", "".join(self.lines)))
        stages: dict[str, str] = {}
        image = ""
        for line in self.lines[: self._from]:
            match = re.match(r"(?i)\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", line)
            if match:
                image = re.sub(r"\$\{?(\w+)[^}]*\}?", lambda m: arguments.get(m[1], m[0]), match[1])
                image = stages.get(image.lower(), image)
                stages[(match[2] or "").lower()] = image
        return image

    def change_all(self, pattern: str, new: str, *, but: tuple[str, ...]) -> None:
        """Replace a pattern in the last stage's own instructions, but not in these."""
        for one in self.own:
            at, end = self.span(one.line)
            text = "".join(self.lines[at:end])
            if one.name in but or not re.search(pattern, text):
                continue
            if "<<" in text or "--mount" in text or re.search(r"--from=.*\[", text):
                raise _ByHandError
            # What is copied from another stage has its path there.
            start = re.search(r"(?s)--from=.*\s(?=\S+\s*$)", text)
            kept = start[0] if start else ""
            before, _, after = text.rpartition(kept) if kept else ("", "", text)
            self.lines[at:end] = [before + kept + re.sub(pattern, new, after)]
            self.lines[at + 1 : at + 1] = [""] * (end - at - 1)  # other lines keep their numbers


def _sources(editor: _Editor) -> None:
    folder = editor.last("WORKDIR")
    if folder is None:
        copy = next((one for one in editor.own if one.name in ("COPY", "ADD")), None)
        if copy is None:
            raise _ByHandError
        editor.insert(copy.line - 1, "WORKDIR /app")
    elif re.fullmatch(r"(/[\w.-]+)+", folder.value):
        pattern = rf"(?<![\w./-]){re.escape(folder.value)}(?![\w.-])"
        editor.change_all(pattern, "/app", but=())
    else:
        raise _ByHandError


def _user(editor: _Editor) -> None:
    base = editor.base()
    inherited = (one for one in editor.all if one not in editor.own)
    if re.search(r"scratch|distroless|windows|chainguard|wolfi|minimal|micro|amazonlinux", base):
        raise _ByHandError
    finding = editor.findings[0]
    if finding.line and (match := re.search(r"has (?:[GU]ID )?(\d+), not", finding.message)):
        at, end = editor.span(finding.line)
        pattern = rf"(-[ug]|--[ug]id)([ =]){match[1]}\b"
        editor.lines[at:end] = [
            re.sub(pattern, r"\g<1>\g<2>10001", x) for x in editor.lines[at:end]
        ]
    elif sum("creates no" in message for message in editor.messages) == 1:
        raise _ByHandError  # one of group and user is there, and would be created twice
    elif any(one.name == "USER" for one in inherited):
        raise _ByHandError  # that user must not create others
    elif any("10001" in one.value + one.body for one in editor.all):
        raise _ByHandError  # something else has that id
    elif re.search(r"alpine|busybox", base):
        editor.after_from("RUN addgroup -g 10001 app && adduser -D -H -u 10001 -G app app")
    else:
        editor.after_from(GROUP_AND_USER)


def _start(editor: _Editor) -> None:
    entrypoint, cmd = editor.last("ENTRYPOINT"), editor.last("CMD")
    one = entrypoint or cmd
    if one is None:
        if editor.start is None:
            raise _ByHandError
        words, arguments = map(json.dumps, editor.start)
        editor.insert(len(editor.lines), f"ENTRYPOINT {words}\nCMD {arguments}")
        return
    if (entrypoint and cmd) or one not in editor.own:
        raise _ByHandError
    first, rest = _split(one.value, one.name)
    editor.replace(one, f"ENTRYPOINT {json.dumps(first)}\nCMD {json.dumps(rest)}")


def _split(value: str, name: str) -> tuple[list[str], list[str]]:
    """Split a command into ENTRYPOINT and CMD, which together do the same."""
    words = _words(value)
    if words is None:
        # exec, so that SIGTERM reaches the app instead of the shell.
        return ["/bin/sh", "-c"], [value if _needs_shell(value) else f"exec {value}"]
    if len(words) > 1:
        return words[:1], words[1:]
    if name == "ENTRYPOINT" or not words:
        raise _ByHandError  # it takes arguments, which a shell would not pass on
    return ["/bin/sh", "-c"], [f"exec {words[0]}"]


def _words(value: str) -> list[str] | None:
    """Return the words of a command, None if a shell has to read it."""
    if value.startswith("["):
        try:
            return [str(word) for word in json.loads(value)]
        except ValueError:
            raise _ByHandError from None
    value = value.removeprefix("exec ")
    is_plain = re.fullmatch(r"[\w./:=@, -]+", value) and not _needs_shell(value)
    return value.split() if is_plain else None


def _default_user(editor: _Editor) -> None:
    statuses = {verdict.rule.id: verdict.status for verdict in _judge("".join(editor.lines), "")}
    if statuses["DF203"] != "passed":
        raise _ByHandError  # a container doesn't start as a user that its image lacks
    editor.before_start("USER app")


def _waste(editor: _Editor) -> None:
    runs = [f"{one.value}\n{one.body}" for one in editor.own if one.name == "RUN"]
    if any(re.search(r"\bapt(-get)?\b.*\binstall\b", run) and "update" not in run for run in runs):
        raise _ByHandError  # it needs the lists of an earlier instruction
    for finding in editor.findings:
        if "package lists" in finding.message and finding.line:
            at, end = editor.span(finding.line)
            text = "".join(editor.lines[at:end])
            if "<<" in text or text.lstrip()[3:].lstrip().startswith(("[", "--")):
                raise _ByHandError
            body = text.rstrip("\r\n")
            editor.lines[at:end] = [f"{body} && rm -rf /var/lib/apt/lists/*{editor.end}"]


def _port(editor: _Editor) -> None:
    exposed = editor.last("EXPOSE")
    if exposed is None and "names no port" in editor.findings[0].message:
        editor.before_start("ENV PORT=8000\nEXPOSE 8000")
        return
    old = exposed.value.partition("/")[0] if exposed else ""
    cmd = " ".join(one.value for one in editor.own if one.name in ("ENTRYPOINT", "CMD", "ENV"))
    if not old.isdecimal() or not re.search(rf"(?<!\d){old}(?!\d)", cmd):
        raise _ByHandError  # the app's own code has the port
    editor.change_all(rf"(?<![\d.]){old}(?![\d.])", "8000", but=("RUN", "COPY", "ADD"))


_CHANGES: dict[str, Callable[[_Editor], None]] = {
    "DF201": _sources,
    "DF202": _user,
    "DF203": _user,
    "DF204": _start,
    "DF205": _default_user,
    "DF305": _waste,
    "DF306": _port,
}
