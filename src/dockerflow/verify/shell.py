"""Follow the text of a shell: which commands run, with which words, in which folder.

It is read by a shell's grammar. What depends on something unknown is followed both ways, and
only what both have in common stays known.
"""

from __future__ import annotations

import codecs
import fnmatch
import posixpath
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

UNKNOWN: Final = "\0"
"""Placeholder in a text for what isn't known; shell text can't contain it."""
MAX_STEPS: Final = 100_000
"""How many commands and words of a Dockerfile are followed."""
MAX_DEPTH: Final = 30
MAX_CHAIN: Final = 6
"""How many further && and || are followed both ways."""
MAX_TEXT: Final = 1 << 16
"""How many characters of a text, a variable or a command's output are looked at."""

SHELLS: Final = frozenset({"sh", "ash", "bash", "dash", "ksh", "zsh"})
_name = re.compile(r"[A-Za-z_]\w*").match
_assigned = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL).fullmatch


def unknown(name: str = "") -> str:
    """Return a text for what isn't known.

    :param name: if given, the same name always means the same value.
    """
    return f"{UNKNOWN}{name}{UNKNOWN}"


def is_known(text: str) -> bool:
    """Whether nothing in a text is unknown."""
    return UNKNOWN not in text


class Status(Enum):
    """How a command ends."""

    OK = "it succeeds"
    FALSE = "it reports that something is false"
    ERROR = "it fails, and so does the build, unless the script goes on"
    PLAIN = "nothing is known about it: it succeeds if the build does"
    UNKNOWN = "it may report true or false"


class Unfollowable(Exception):  # noqa: N818 - it is no error
    """Following a text would take too long."""


@dataclass
class Variables:
    """The variables of a shell, or of a build."""

    values: dict[str, str] = field(default_factory=dict[str, str])
    undefined: set[str] = field(default_factory=set[str])
    """ARGs without a default: unset, unless the build gets a value."""
    exported: set[str] = field(default_factory=set[str])
    """Those that commands see, too."""
    base_is_known: bool = True

    def copy(self) -> Variables:
        """Return a copy that can be changed on its own."""
        return Variables(
            dict(self.values), set(self.undefined), set(self.exported), self.base_is_known
        )

    def set(self, name: str, value: str, *, export: bool = False) -> None:
        """Set a variable."""
        self.values[name] = value if len(value) <= MAX_TEXT else unknown()
        if export:
            self.exported.add(name)

    def get(self, name: str) -> str | None:
        """Return a value for an operator such as ``:-``; None if it is unset."""
        return self.values.get(name)

    def text(self, name: str) -> str:
        """Return the value of a name without an operator."""
        if name in self.values:
            return self.values[name]
        if name in self.undefined or not self.base_is_known or name in _FROM_ELSEWHERE:
            return unknown(name)
        return ""

    def join(self, other: Variables) -> None:
        """Keep only what holds for both."""
        for name in self.values.keys() | other.values.keys():
            if self.values.get(name) != other.values.get(name):
                self.values[name] = unknown()
        self.undefined |= other.undefined
        self.exported |= other.exported


_from_elsewhere = "PATH HOME PWD OLDPWD HOSTNAME SHELL USER LOGNAME RANDOM SECONDS PPID ? ! $ _ -"
_FROM_ELSEWHERE: Final = frozenset(_from_elsewhere.split())


def expand(text: str, variables: Variables, escape: str = "\\", *, quotes: bool = True) -> str:
    """Substitute variables, as a build does in an instruction.

    :param quotes: remove quotes and escapes, too; without, it is as in a here-document.
    """
    out: list[str] = []
    at = 0
    is_quoted = False
    while at < len(text):
        char = text[at]
        if quotes and char == "'" and not is_quoted and (end := text.find("'", at + 1)) >= 0:
            out.append(text[at + 1 : end])
            at = end + 1
        elif quotes and char == '"':
            is_quoted = not is_quoted
            at += 1
        elif char == escape and at + 1 < len(text) and (quotes or text[at + 1] in "$`\\"):
            out.append(text[at + 1])
            at += 2
        elif char == "$":
            value, at = _substitute(text, at, variables, 0)
            out.append(value)
        elif char == "`" and not quotes:
            end = text.find("`", at + 1)
            out.append(unknown())
            at = end + 1 if end >= 0 else len(text)
        else:
            out.append(char)
            at += 1
    return "".join(out)


def _substitute(  # noqa: C901, PLR0911
    text: str, at: int, variables: Variables, depth: int
) -> tuple[str, int]:
    """Return the value of the variable at ``$``, and where the text goes on."""
    if match := re.compile(r"\$(\w+|[@*#?!$-])").match(text, at):
        name = match[1]
        if name[0].isdecimal():
            name = name[0]
        elif not _name(name):
            name = name[:1]
        return variables.text(name), at + 1 + len(name)
    if text.startswith("$(", at):
        return unknown(), _closing(text, at + 1, "(", ")")
    if not text.startswith("${", at):
        return "$", at + 1
    end = _closing(text, at + 1, "{", "}")
    inner = text[at + 2 : end - 1]
    match = re.match(r"(\w+|[@*#?!$-])(:?[-+=?])?", inner)
    if match is None or depth > MAX_DEPTH:
        return unknown(), end
    name, operator, word = match[1], match[2] or "", inner[match.end() :]
    if not operator:
        return (_trimmed(variables.text(name), word) if word else variables.text(name)), end
    value = variables.get(name)
    is_set = value is not None and (value != "" or ":" not in operator)
    if value is not None and not is_known(value):
        return (value if operator[-1] != "+" else unknown()), end
    if operator[-1] == "+":
        return (_expand_word(word, variables, depth) if is_set else ""), end
    if is_set:
        return value or "", end
    if operator[-1] == "?":
        return variables.text(name), end
    filled = _expand_word(word, variables, depth)
    if operator[-1] == "=":
        variables.set(name, filled)
    return filled, end


def _trimmed(value: str, operation: str) -> str:
    """Return a value without the beginning or end that a pattern matches, as ``${A%%.*}`` has."""
    match = re.fullmatch(r"(##?|%%?)([^$`\\]{1,20})", operation)
    if match is None or not is_known(value) or len(value) > 100:  # noqa: PLR2004
        return unknown()
    lengths = range(len(value) + 1)
    for length in reversed(lengths) if len(match[1]) > 1 else lengths:
        rest = len(value) - length
        part = value[:length] if match[1][0] == "#" else value[rest:]
        if fnmatch.fnmatchcase(part, match[2]):
            return value[length:] if match[1][0] == "#" else value[:rest]
    return value


def _expand_word(word: str, variables: Variables, depth: int) -> str:
    out: list[str] = []
    at = 0
    while at < len(word):
        if word[at] == "$":
            value, at = _substitute(word, at, variables, depth + 1)
            out.append(value)
        else:
            if word[at] not in "\"'":
                out.append(word[at])
            at += 1
    return "".join(out)


def _closing(text: str, at: int, opening: str, closing: str) -> int:
    """Return the index after the bracket that closes the one at ``at``."""
    depth = 0
    for index in range(at, len(text)):
        depth += (text[index] == opening) - (text[index] == closing)
        if depth == 0:
            return index + 1
    return len(text)


class Machine(Protocol):
    """What commands run on."""

    def copy(self) -> Self:
        """Return a copy that can be changed on its own."""
        ...

    def assign(self, other: Self) -> None:
        """Adopt the state of another one, which is no longer used."""

    def join(self, other: Self) -> None:
        """Keep only what holds for both."""

    @property
    def size(self) -> int:
        """How much a copy takes."""
        ...

    @property
    def sh_is_dash(self) -> bool:
        """Whether its /bin/sh certainly is dash."""
        ...

    def run(self, words: list[str], shell: Shell) -> Status:
        """Run a command that is not the shell's own."""
        ...

    def read(self, path: str) -> str:
        """Return what a file contains."""
        ...

    def write(self, path: str, text: str, *, append: bool) -> None:
        """Write a file."""

    def cannot_follow(self, text: str, why: str, folder: str) -> None:
        """Record that anything the text mentions may have happened."""


class Steps:
    """Counts how much was done."""

    def __init__(self, left: int = MAX_STEPS) -> None:
        self.left: int = left

    def take(self, count: int = 1) -> None:
        """Count steps.

        :raises Unfollowable: when there were too many.
        """
        self.left -= count
        if self.left < 0:
            raise Unfollowable


@dataclass
class _State:
    machine: Any
    variables: Variables
    folder: str


class Shell:
    """Runs the text of a shell.

    :param folder: the current folder.
    """

    def __init__(
        self, machine: Machine, variables: Variables, folder: str, steps: Steps | None = None
    ) -> None:
        self.machine: Any = machine
        self.variables: Variables = variables
        self.folder: str = folder
        self.stdin: str = unknown()
        self.is_root = True
        self.is_dash: bool = False
        """Whether it certainly knows nothing of bash's additions."""
        self.root = "/"
        self.mounted: list[str] = []
        """Where folders are mounted that don't stay."""
        self.steps: Steps = steps or Steps()
        self._out: list[str] = []
        self._functions: dict[str, str] = {}
        self.ended: str = ""
        self._pending: dict[str, list[_State]] = {}
        self._depth = 0

    # --- For commands.

    def path(self, path: str) -> str:
        """Return a path as an absolute one, as seen from outside of a chroot."""
        if path.startswith(UNKNOWN):  # which may be absolute, or not
            return path
        full = posixpath.normpath(posixpath.join(self.folder, path))
        return posixpath.normpath(f"{self.root}/{full}").replace("//", "/")

    def print(self, text: str) -> None:
        """Write to stdout."""
        self._out.append(text)

    def captured(self, run: Callable[[], Status]) -> tuple[Status, str]:
        """Return how something ends, and what it writes to stdout."""
        before, self._out = self._out, []
        try:
            status = run()
            text = "".join(self._out)
        finally:
            self._out = before
        return status, text if len(text) <= MAX_TEXT else unknown()

    def run_words(self, words: list[str]) -> Status:
        """Run a command."""
        self.steps.take()
        if not words:
            return Status.OK
        name = words[0] if UNKNOWN in words[0] else posixpath.basename(words[0])
        if words[0] in self._functions:
            return self._call(self._functions[words[0]], words[1:])
        if builtin := _builtins.get(name):
            return builtin(self, words[1:])
        if name in SHELLS:
            before = self.is_dash
            self.is_dash = name == "dash" or (name == "sh" and self.machine.sh_is_dash)
            try:
                return self._shell(words[1:])
            finally:
                self.is_dash = before
        status: Status = self.machine.run(words, self)
        return status

    def run_text(self, text: str, arguments: list[str] | None = None) -> Status:
        """Run a text in a shell that sees the exported variables."""
        before = self.variables, self.folder, self._functions
        exported = self.variables.copy()
        exported.values = {
            name: value for name, value in exported.values.items() if name in exported.exported
        }
        self.variables, self._functions = exported, {}
        self.set_arguments(arguments or [])
        try:
            status = self.execute(text)
        finally:
            self.variables, self.folder, self._functions = before
        return status

    def execute(self, text: str) -> Status:
        """Run a text in this shell."""
        if not is_known(text):
            self.cannot_follow(text, "a command that is not known")
            return Status.PLAIN
        with self._nested():
            status = self._run_all(self._parsed(text))
        self._catch("exit")
        return status

    def _parsed(self, text: str) -> Node:
        self.steps.take(1 + len(text) // 1000)
        if len(text) > MAX_TEXT:
            raise Unfollowable
        return _parser().parse(text.encode("utf-8", "replace")).root_node

    def cannot_follow(self, text: str, why: str) -> None:
        """Record that anything a text mentions may have happened."""
        self.machine.cannot_follow(text, why, self.path("."))

    # --- The grammar's nodes.

    @contextmanager
    def _nested(self) -> Generator[None]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._depth -= 1
            raise Unfollowable
        try:
            yield
        finally:
            self._depth -= 1

    def _run_all(self, node: Node) -> Status:
        """Run the statements in a node, one after the other."""
        status = Status.OK
        children = node.children
        for index, child in enumerate(children):
            if self.ended:
                break
            if child.has_error:  # what follows may be read wrongly, too
                start = child.start_byte - node.start_byte
                rest = (node.text or b"")[start:].decode("utf-8", "replace")
                self.cannot_follow(rest, "shell text that is not understood")
                return Status.PLAIN
            if child.is_named and child.type != "comment":
                following = children[index + 1].type if index + 1 < len(children) else ""
                status = self._run(child) if following != "&" else self._in_subshell(child)
        return status

    def _run(self, node: Node) -> Status:
        self.steps.take()
        with self._nested():
            run = getattr(self, f"_run_{node.type}", None)
            if run is None:
                return self._not_understood(node)
            status: Status = run(node)
            return status

    def _not_understood(self, node: Node) -> Status:
        self.cannot_follow(_text(node), "shell text that is not understood")
        return Status.PLAIN

    _run_program = _run_compound_statement = _run_do_group = _run_else_clause = _run_all

    def _run_subshell(self, node: Node) -> Status:
        return self.scoped(lambda: self._run_all(node))

    def _in_subshell(self, node: Node) -> Status:
        self.scoped(lambda: self._run(node))
        return Status.OK

    def scoped(self, run: Callable[[], Status]) -> Status:
        """Run something whose variables, folder and exit don't leave it."""
        before = self.variables, self.folder
        self.variables = self.variables.copy()
        try:
            status = run()
        finally:
            pending = self._pending.pop("exit", [])
            for state in pending:
                self.machine.join(state.machine)
            self.variables, self.folder = before
        self.ended = "" if self.ended in ("exit", "failure") else self.ended
        return status

    def _run_list(self, node: Node) -> Status:
        """Run commands with && and || between, which are nested to the left."""
        steps: list[tuple[str, Node]] = []
        while node.type == "list":
            self.steps.take()
            left, operator, right = node.children[0], node.children[1], node.children[-1]
            steps.append((operator.type, right))
            node = left
        return self._chain(self._run(node), steps[::-1])

    def _chain(self, status: Status, steps: list[tuple[str, Node]]) -> Status:
        for index, (operator, right) in enumerate(steps):
            if self.ended:
                break
            rest = steps[index + 1 :]
            if status == Status.UNKNOWN and rest and len(rest) < MAX_CHAIN:
                return self._chain_both(operator, right, rest)
            status = self._and(status, right) if operator == "&&" else self._or(status, right)
        return status

    def _chain_both(self, operator: str, right: Node, rest: list[tuple[str, Node]]) -> Status:
        """Go on with both outcomes of a test, to see what `test && this || that` does."""
        skipped = Status.FALSE if operator == "&&" else Status.OK
        return self._either(
            lambda: self._chain(self._run(right), rest), lambda: self._chain(skipped, rest)
        )

    def _and(self, status: Status, right: Node) -> Status:
        if status == Status.FALSE:
            return status
        if status != Status.UNKNOWN:  # after an error the build ends, and nothing matters
            return self._run(right)
        self._either(lambda: self._run(right), lambda: Status.FALSE)
        return Status.UNKNOWN

    def _or(self, status: Status, right: Node) -> Status:
        if status == Status.OK:
            return status
        if status in (Status.FALSE, Status.ERROR):
            return self._run(right)
        # Nothing else than success is expected of a plain command.
        self._either(lambda: Status.OK, lambda: self._run(right))
        return status

    def _either(self, *branches: Callable[[], Status]) -> Status:
        """Run each branch from the same state; keep what is true after all of them."""
        start = self._state()
        ends: list[tuple[_State, Status]] = []
        endings: list[str] = []
        for branch in branches:
            self.steps.take(1 + start.machine.size // 10)
            self._restore(start)
            status = branch()
            state, ended, self.ended = self._state(), self.ended, ""
            if not ended:
                ends.append((state, status))
            else:
                endings.append(ended)
                if ended != "failure":
                    self._pending.setdefault(ended, []).append(state)
        if not ends:
            self.ended = next((one for one in endings if one != "failure"), "failure")
            self._restore(start)
            if states := self._pending.get(self.ended):
                self._restore(states.pop())
            return Status.OK
        first, status = ends[0]
        for other, other_status in ends[1:]:
            self._join(first, other)
            status = status if status == other_status else Status.UNKNOWN
        self._restore(first)
        return status

    def _state(self) -> _State:
        return _State(self.machine.copy(), self.variables.copy(), self.folder)

    def _restore(self, state: _State) -> None:
        self.machine.assign(state.machine.copy())
        self.variables, self.folder = state.variables.copy(), state.folder

    @staticmethod
    def _join(state: _State, other: _State) -> None:
        state.machine.join(other.machine)
        state.variables.join(other.variables)
        if state.folder != other.folder:
            state.folder = unknown()

    def _catch(self, *kinds: str) -> None:
        """Go on after those that have left early."""
        for kind in kinds:
            for state in self._pending.pop(kind, []):
                if self.ended == "failure":
                    self._restore(state)
                else:
                    mine = self._state()
                    self._join(mine, state)
                    self._restore(mine)
        if self.ended in (*kinds, "failure"):
            self.ended = "failure" if self.ended == "failure" and "exit" not in kinds else ""

    def _run_if_statement(self, node: Node) -> Status:
        clauses = [node, *(c for c in node.children if c.type in ("elif_clause", "else_clause"))]
        return self._clause(clauses)

    def _clause(self, clauses: list[Node]) -> Status:
        """Run the first clause if its condition holds, else the others."""
        if not clauses:
            return Status.OK
        node, *others = clauses
        if node.type == "else_clause":
            return self._run_all(node)
        status = Status.OK
        body: list[Node] = []
        is_body = False
        for child in node.children:
            if child.type == "then":
                is_body = True
            elif child.is_named and child.type not in ("elif_clause", "else_clause", "comment"):
                if is_body:
                    body.append(child)
                else:
                    status = self._run(child)
        return self._choose(status, lambda: self._run_nodes(body), lambda: self._clause(others))

    def _choose(
        self, status: Status, if_so: Callable[[], Status], if_not: Callable[[], Status]
    ) -> Status:
        if self.ended:
            return status
        if status == Status.OK:
            return if_so()
        if status in (Status.FALSE, Status.ERROR):
            return if_not()
        return self._either(if_so, if_not)

    def _run_nodes(self, nodes: list[Node]) -> Status:
        status = Status.OK
        for node in nodes:
            if self.ended:
                break
            status = self._run(node)
        return status

    def _run_while_statement(self, node: Node) -> Status:
        condition, body = node.children[1], node.children[-1]
        status = self._run(condition)
        if node.children[0].type == "until":
            status = _negated(status)
        if status == Status.PLAIN:
            status = Status.UNKNOWN
        ended = self._choose(status, lambda: self._run(body), lambda: Status.OK)
        self._catch("break", "continue")
        return ended

    def _run_for_statement(self, node: Node) -> Status:
        variable = node.child_by_field_name("variable")
        body = node.child_by_field_name("body")
        if variable is None or body is None:
            return self._not_understood(node)
        has_in = any(child.type == "in" for child in node.children)
        nodes = node.children_by_field_name("value")
        values = [w for n in nodes for w in self._fields(n)] if has_in else [unknown()]

        def once(value: str) -> Status:
            self.variables.set(_text(variable), value)
            status = self._run(body)
            self._catch("continue")
            return status

        for value in values:
            if self.ended:
                break
            if not is_known(value) or _is_pattern(value):  # any number of words
                self._either(lambda: Status.OK, lambda: once(unknown()))
            else:
                once(value)
        self._catch("break")
        return Status.PLAIN

    def _run_c_style_for_statement(self, node: Node) -> Status:
        body = node.child_by_field_name("body")
        for name in re.findall(r"[A-Za-z_]\w*", _text(node).partition("))")[0]):
            self.variables.set(name, unknown())
        if body is not None:
            self._either(lambda: Status.OK, lambda: self._run(body))
        self._catch("break", "continue")
        return Status.PLAIN

    def _run_case_statement(self, node: Node) -> Status:
        value = node.child_by_field_name("value")
        word = "".join(self._fields(value)) if value else unknown()
        branches: list[Callable[[], Status]] = []
        for item in node.children:
            if item.type != "case_item":
                continue
            patterns = ["".join(self._fields(p)) for p in item.children_by_field_name("value")]
            others = {(p.start_byte, p.end_byte) for p in item.children_by_field_name("value")}
            body = [
                child for child in item.children
                if child.is_named and (child.start_byte, child.end_byte) not in others
                and child.type != "comment"
            ]  # fmt: skip
            run = partial(self._run_nodes, body)
            if is_known(word) and all(map(is_known, patterns)):
                if any(fnmatch.fnmatchcase(word, pattern) for pattern in patterns):
                    branches.append(run)
                    break
                continue
            branches.append(run)
            if patterns == ["*"]:
                break
        else:
            branches.append(lambda: Status.OK)
        if len(branches) == 1:
            return branches[0]()
        return self._either(*branches)

    def _run_function_definition(self, node: Node) -> Status:
        name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
        if name is not None and body is not None:
            self._functions[_text(name)] = _text(body)
        return Status.OK

    def _call(self, text: str, arguments: list[str]) -> Status:
        names = [n for n in self.variables.values if n.isdecimal() or n in "@*#"]
        before = {name: self.variables.values.pop(name) for name in names}
        self.set_arguments(arguments)
        with self._nested():
            status = self._run_all(self._parsed(text))
        self._catch("return")
        for name in [n for n in self.variables.values if n.isdecimal() or n in "@*#"]:
            del self.variables.values[name]
        self.variables.values |= before
        return status

    def set_arguments(self, arguments: list[str]) -> None:
        """Set $1 and those that follow."""
        joined = " ".join(arguments)
        for number, value in enumerate(arguments, 1):
            self.variables.set(str(number), value)
        self.variables.set("@", joined)
        self.variables.set("*", joined)
        self.variables.set("#", str(len(arguments)))

    def _run_negated_command(self, node: Node) -> Status:
        return _negated(self._run(node.children[-1]))

    def _run_pipeline(self, node: Node, text: str | None = None) -> Status:
        status = Status.OK
        before = self.stdin
        self.stdin = before if text is None else text
        nodes = [child for child in node.children if child.is_named]
        for index, child in enumerate(nodes):
            run = partial(self.scoped, partial(self._run, child))
            if index == len(nodes) - 1:
                status = run()
            else:
                _, self.stdin = self.captured(run)
        self.stdin = before
        return status

    def _run_redirected_statement(self, node: Node) -> Status:
        body = node.child_by_field_name("body")
        redirects = node.children_by_field_name("redirect")
        if body is not None and self.is_dash and any(_text(r)[:2] == "&>" for r in redirects):
            return self._in_subshell(body)  # to dash it is "&", and then ">"
        run = (lambda: self._run(body)) if body is not None else (lambda: Status.OK)
        return self._redirected(redirects, run)

    def _redirected(  # noqa: C901, PLR0912
        self, redirects: list[Node], run: Callable[[], Status]
    ) -> Status:
        """Run something with its input and output redirected."""
        before, targets = self.stdin, list[tuple[str, bool]]()
        following: list[Node] = []
        pipe: Node | None = None
        for redirect in redirects:
            children = redirect.children
            if redirect.type == "file_redirect":
                self._file_redirect(children, targets)
            elif redirect.type == "herestring_redirect":
                self.stdin = "".join(self._fields(children[-1])) + "\n"
            elif redirect.type == "heredoc_redirect":
                self.stdin = self._heredoc(redirect)
                for index, child in enumerate(children):
                    if child.type == "file_redirect":
                        self._file_redirect(child.children, targets)
                    elif child.type == "pipeline":
                        if index and children[index - 1].type in ("&&", "||"):
                            following = children[index - 1 : index + 1]
                        else:
                            pipe = child
                    elif child.type in ("&&", "||"):
                        following = children[index : index + 2]
        status, text = self.captured(run)
        self.stdin = before
        if pipe is not None:
            status = self._run_pipeline(pipe, text)
        elif not targets:
            self.print(text)
        for path, append in targets:
            self._write(path, text, append=append)
        if following and not self.ended:
            join = self._and if following[0].type == "&&" else self._or
            status = join(status, following[-1])
        return status

    def _file_redirect(self, children: list[Node], targets: list[tuple[str, bool]]) -> None:
        kinds = [child.type for child in children]
        words = self._fields(children[-1])
        descriptor = _text(children[0]) if kinds[0] == "file_descriptor" else "1"
        for path in words[:1]:
            if "<" in kinds:
                self.stdin = self.machine.read(self.path(path)) if is_known(path) else unknown()
            elif descriptor == "1" and not {">&", "<&", ">&-", "<&-"} & set(kinds):
                targets.append((path, ">>" in kinds or "&>>" in kinds))
            elif descriptor == "1" and ">&" in kinds and not path.isdecimal():
                targets.append((path, False))

    def _heredoc(self, redirect: Node) -> str:
        start = next((c for c in redirect.children if c.type == "heredoc_start"), None)
        body = next((c for c in redirect.children if c.type == "heredoc_body"), None)
        if start is None or body is None:
            return ""
        text = _text(body)
        if redirect.children[0].type == "<<-":
            text = re.sub(r"(?m)^\t+", "", text)
        is_quoted = any(mark in _text(start) for mark in "'\"\\")
        return text if is_quoted else expand(text, self.variables, quotes=False)

    def _write(self, path: str, text: str, *, append: bool) -> None:
        if not path.startswith("/dev/"):
            self.machine.write(self.path(path), text, append=append)

    def _run_variable_assignment(self, node: Node, *, export: bool = False) -> Status:
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is None or name.type != "variable_name":
            return Status.PLAIN
        self._out, before = [], self._out
        try:
            text = "".join(t for t, _ in self._segments(value)) if value is not None else ""
        finally:
            self._out = before
        if node.children[1].type == "+=":
            text = self.variables.text(_text(name)) + text
        if value is not None and value.type == "array":
            text = unknown()
        self.variables.set(_text(name), text, export=export)
        return Status.OK if value is None or "$(" not in _text(value) else Status.PLAIN

    def _run_variable_assignments(self, node: Node) -> Status:
        return self._run_nodes(node.named_children)

    def _run_declaration_command(self, node: Node) -> Status:
        export = node.children[0].type == "export" or "-x" in _text(node).split()
        for child in node.named_children:
            if child.type == "variable_assignment":
                self._run_variable_assignment(child, export=export)
            elif export and child.type == "variable_name":
                self.variables.exported.add(_text(child))
        return Status.OK

    def _run_unset_command(self, node: Node) -> Status:
        for child in node.named_children:
            self.variables.values.pop(_text(child), None)
        return Status.OK

    def _run_test_command(self, node: Node) -> Status:
        inner = [child for child in node.children if child.is_named]
        if self.is_dash and node.children[0].type == "[[":
            return Status.FALSE  # there is no such command
        if len(inner) != 1:
            return Status.UNKNOWN
        return _status(self._holds(inner[0]))

    def _holds(self, node: Node) -> bool | None:  # noqa: PLR0911
        """Return whether the expression in a test holds; None if that isn't known."""
        self.steps.take()
        with self._nested():
            children = node.children
            if node.type == "parenthesized_expression":
                return self._holds(children[1]) if len(children) == 3 else None  # noqa: PLR2004
            if node.type == "unary_expression":
                if children[0].type == "!":
                    return _not(self._holds(children[-1]))
                return self.test([_text(children[0]), *self._one(children[-1])])
            if node.type == "binary_expression":
                left, operator, right = children[0], children[1].type, children[-1]
                if operator in ("&&", "||") or _text(children[1]) in ("-a", "-o"):
                    one, two = self._holds(left), self._holds(right)
                    if operator == "&&" or _text(children[1]) == "-a":
                        return (
                            False if False in (one, two) else None if None in (one, two) else True
                        )
                    return True if True in (one, two) else None if None in (one, two) else False
                return self.test([*self._one(left), _text(children[1]), *self._one(right)])
            if node.type in ("word", "string", "raw_string", "simple_expansion", "expansion",
                             "concatenation", "number", "command_substitution"):  # fmt: skip
                return self.test(self._one(node))
            return None

    def _one(self, node: Node) -> list[str]:
        return ["".join(t for t, _ in self._segments(node))]

    def test(self, words: list[str]) -> bool | None:  # noqa: PLR0911
        """Return whether the words of ``test`` hold; None if that isn't known."""
        match words:
            case []:
                return False
            case ["!", *others]:
                return _not(self.test(others))
            case [word]:
                return (
                    True
                    if word.replace(UNKNOWN, "") and is_known(word)
                    else (False if is_known(word) else None)
                )
            case ["-n" | "-z" as operator, word]:
                if not is_known(word):
                    return None
                return bool(word) == (operator == "-n")
            case [_, "==", _] if self.is_dash:
                return False
            case [left, "=" | "==" | "!=" | "-eq" | "-ne" as operator, right]:
                if not (is_known(left) and is_known(right)):
                    return None
                is_equal = left == right or fnmatch.fnmatchcase(left, right)
                return is_equal == (operator in ("=", "==", "-eq"))
            case _:
                return None

    def _run_command(self, node: Node) -> Status:
        redirects = [child for child in node.children if child.type.endswith("redirect")]
        if redirects:
            return self._redirected(redirects, lambda: self._run_simple(node))
        return self._run_simple(node)

    def _run_simple(self, node: Node) -> Status:
        assigned: dict[str, str] = {}
        words: list[str] = []
        for child in node.children:
            if child.type == "variable_assignment":
                name, value = child.child_by_field_name("name"), child.child_by_field_name("value")
                if name is not None:
                    text = "".join(t for t, _ in self._segments(value)) if value else ""
                    assigned[_text(name)] = text
            elif child.type == "command_name":
                words += self._fields(child.children[0])
            elif not child.type.endswith("redirect") and child.is_named:
                words += self._fields(child)
        if not words:  # the command was a variable that is empty
            for variable, text in assigned.items():
                self.variables.set(variable, text)
            return Status.OK
        return self.with_variables(assigned, lambda: self.run_words(words))

    def with_variables(self, assigned: dict[str, str], run: Callable[[], Status]) -> Status:
        """Run a command that sees further variables."""
        if not assigned:
            return run()
        before, exported = dict(self.variables.values), set(self.variables.exported)
        for name, value in assigned.items():
            self.variables.set(name, value, export=True)
        status = run()
        for name in assigned:
            if name in before:
                self.variables.values[name] = before[name]
            else:
                self.variables.values.pop(name, None)
        self.variables.exported = exported
        return status

    # --- Words.

    def _fields(self, node: Node) -> list[str]:
        """Return the words that a node expands to."""
        fields: list[str] = []
        current: str | None = None
        for text, splits in self._segments(node):
            if not splits:
                current = (current or "") + text
                continue
            parts = re.split(r"[ \t\n]+", text)
            for index, part in enumerate(parts):
                if index and current is not None:
                    fields.append(current)
                    current = None
                if part:
                    current = (current or "") + part
        return fields if current is None else [*fields, current]

    def _segments(self, node: Node) -> list[tuple[str, bool]]:  # noqa: C901, PLR0911
        """Return the texts that make up a word, and whether each is split at spaces."""
        self.steps.take()
        raw = _text(node)
        match node.type:
            case "word" | "number" | "variable_name" | "extglob_pattern" | "special_variable_name":
                if raw == "~" or raw.startswith("~/"):
                    raw = "/root" + raw[1:]
                return [(re.sub(r"\\\n|\\(.)", r"\1", raw, flags=re.DOTALL), False)]
            case "raw_string":
                return [(raw[1:-1], False)]
            case "ansi_c_string":
                return [(_unescaped(raw[2:-1]), False)]
            case "concatenation":
                with self._nested():
                    return [segment for child in node.children for segment in self._segments(child)]
            case "string" | "translated_string":
                return [(self._string(node), False)]
            case "simple_expansion" | "expansion":
                at = raw.find("$")
                value, _ = _substitute(raw, max(at, 0), self.variables, 0)
                return [(value, True)]
            case "command_substitution":
                return [(self._output_of(node), True)]
            case "arithmetic_expansion":
                inner = expand(raw[3:-2], self.variables, quotes=False)
                sums = re.fullmatch(r"\s*(\d{1,9})\s*(?:([-+])\s*(\d{1,9})\s*)?", inner)
                if sums is None:
                    return [(unknown(), False)]
                other = int(sums[3] or 0) * (-1 if sums[2] == "-" else 1)
                return [(str(int(sums[1]) + other), False)]
            case _:
                return [(raw if node.child_count == 0 else unknown(), False)]

    def _string(self, node: Node) -> str:
        """Return the text in double quotes; the grammar leaves spaces between its parts out."""
        source = _text(node).encode()
        out: list[str] = []
        at = source.find(b'"') + 1
        start = node.start_byte
        for child in node.children:
            if child.type in ('"', "$"):
                continue
            text = _text(child).encode()
            from_ = child.start_byte - start
            if child.type == "string_content":
                text, length = b"", 0
            else:
                out.append(_unquoted(source[at:from_]))
                length = len(text)
                lead = text[: len(text) - len(text.lstrip())]
                out.append(lead.decode())
                with self._nested():
                    out.append("".join(t for t, _ in self._segments(child)))
                at = from_ + length
        end = source.rfind(b'"')
        out.append(_unquoted(source[at : max(end, at)]))
        return "".join(out)

    def _output_of(self, node: Node) -> str:
        with self._nested():
            _, text = self.captured(lambda: self.scoped(lambda: self._run_all(node)))
        return text.rstrip("\n")

    def _shell(self, arguments: list[str]) -> Status:
        """Run a shell with a text, a script or its input."""
        rest = [*arguments]
        has_text = False
        while rest and rest[0][:1] in ("-", "+") and rest[0] != "-":
            option = rest.pop(0)
            if option == "--":
                break
            if not option.startswith("--"):
                has_text = has_text or "c" in option[1:]
                if option[-1] in "oO" and rest:
                    del rest[0]
        if has_text:
            text, *arguments = rest or [""]
            return self.scoped(lambda: self.run_text(text, arguments[1:]))
        if rest and rest[0] not in ("-", "/dev/stdin"):
            return self.run_script(rest[0], rest[1:])
        if not is_known(self.stdin):
            self.cannot_follow(self.stdin, "a script that is not known")
            return Status.PLAIN
        text = self.stdin
        return self.scoped(lambda: self.run_text(text, rest[1:]))

    def run_script(self, path: str, arguments: list[str]) -> Status:
        """Run a script, if it is known."""
        text = self.machine.read(self.path(path)) if is_known(path) else unknown()
        if is_known(text) and has_shell(text):
            return self.scoped(lambda: self.run_text(text, arguments))
        shown = posixpath.basename(path) if is_known(path) else "a script that is not known"
        self.cannot_follow(unknown(), f"{shown}, which the build runs")
        return Status.PLAIN


def has_shell(text: str) -> bool:
    """Whether a script is one for a shell, as its first line tells."""
    if not text.startswith("#!"):
        return True
    words = text.partition("\n")[0][2:].split()
    return any(posixpath.basename(word) in SHELLS for word in words)


@cache
def _parser() -> Parser:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


def _text(node: Node | None) -> str:
    return node.text.decode("utf-8", "replace") if node is not None and node.text else ""


def _unquoted(text: bytes) -> str:
    """Remove the escapes in a text in double quotes."""
    return re.sub(r'\\(?:\n|([$`"\\]))', lambda m: m[1] or "", text.decode("utf-8", "replace"))


def _unescaped(text: str) -> str:
    r"""Replace escapes such as \n."""
    try:
        return codecs.decode(text.encode("latin-1", "backslashreplace"), "unicode_escape")
    except UnicodeDecodeError:
        return text


def _is_pattern(text: str) -> bool:
    return any(char in text for char in "*?[")


def _not(holds: bool | None) -> bool | None:  # noqa: FBT001
    return None if holds is None else not holds


def _status(holds: bool | None) -> Status:  # noqa: FBT001
    return Status.UNKNOWN if holds is None else Status.OK if holds else Status.FALSE


def _negated(status: Status) -> Status:
    if status == Status.OK:
        return Status.FALSE
    return Status.OK if status in (Status.FALSE, Status.ERROR) else Status.UNKNOWN


# --- The shell's own commands, and those that run others.


def _cd(shell: Shell, arguments: list[str]) -> Status:
    words = [word for word in arguments if not word.startswith("-")]
    path = words[0] if words else "/root"
    if not is_known(path) or not is_known(shell.folder) or arguments[:1] == ["-"]:
        shell.folder = unknown()
    else:
        shell.folder = posixpath.normpath(posixpath.join(shell.folder, path))
    return Status.OK


def _echo(shell: Shell, arguments: list[str]) -> Status:
    words, end, escapes = [*arguments], "\n", shell.is_dash
    while words and re.fullmatch("-n" if shell.is_dash else "-[neE]+", words[0]):
        end = "" if "n" in words[0] else end
        escapes = escapes or "e" in words[0]
        del words[0]
    text = " ".join(words)
    shell.print((_unescaped(text) if escapes else text) + end)
    return Status.OK


def _printf(shell: Shell, arguments: list[str]) -> Status:
    words = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not words:
        return Status.ERROR
    form, values = _unescaped(words[0]), words[1:]
    count = len(re.findall(r"%[-\d.]*[sdbiq]", form))
    out: list[str] = []
    while True:
        given = iter(values[:count])
        parts = re.split(r"(%[-\d.]*[sdbiq]|%%)", form)
        fields = ["%" if p == "%%" else next(given, "") for p in parts[1::2]]
        out += [part for pair in zip(parts[::2], [*fields, ""], strict=True) for part in pair]
        values = values[count:]
        if not values or not count:
            break
    shell.print("".join(out))
    return Status.OK


def _end(kind: str) -> Callable[[Shell, list[str]], Status]:
    def end(shell: Shell, arguments: list[str]) -> Status:
        failed = kind == "exit" and arguments and arguments[0] not in ("0", "$?")
        shell.ended = "failure" if failed else kind
        return Status.OK

    return end


def _eval(shell: Shell, arguments: list[str]) -> Status:
    return shell.execute(" ".join(arguments))


def _source(shell: Shell, arguments: list[str]) -> Status:
    if not arguments:
        return Status.ERROR
    path = arguments[0]
    text = shell.machine.read(shell.path(path)) if is_known(path) else unknown()
    if is_known(text):
        return shell.execute(text)
    if posixpath.basename(path) in ("activate", "nvm.sh", "env", "os-release", "profile"):
        return Status.PLAIN
    return shell.run_script(path, [])


def _read(shell: Shell, arguments: list[str]) -> Status:
    for word in arguments:
        if _name(word):
            shell.variables.set(word, unknown())
    return Status.UNKNOWN


def _shift(shell: Shell, _arguments: list[str]) -> Status:
    words = [v for n, v in sorted(shell.variables.values.items()) if n.isdecimal()]
    for name in [n for n in shell.variables.values if n.isdecimal()]:
        del shell.variables.values[name]
    shell.set_arguments(words[1:])
    return Status.OK


def _set(shell: Shell, arguments: list[str]) -> Status:
    if "--" in arguments:
        shell.set_arguments(arguments[arguments.index("--") + 1 :])
    return Status.OK


def _test(shell: Shell, arguments: list[str]) -> Status:
    words = arguments[:-1] if arguments[-1:] == ["]"] else arguments
    if "-a" in words or "-o" in words:
        return Status.UNKNOWN
    return _status(shell.test(words))


def _nothing(_shell: Shell, _arguments: list[str]) -> Status:
    return Status.OK


def _query(shell: Shell, _arguments: list[str]) -> Status:
    shell.print(unknown())
    return Status.UNKNOWN


def _command(shell: Shell, arguments: list[str]) -> Status:
    if arguments[:1] and arguments[0] in ("-v", "-V"):
        return _query(shell, arguments)
    return shell.run_words(arguments)


def _exec(shell: Shell, arguments: list[str]) -> Status:
    status = shell.run_words(arguments)
    if arguments:
        shell.ended = "exit"
    return status


def _env(shell: Shell, arguments: list[str]) -> Status:
    words, assigned = [*arguments], dict[str, str]()
    while words:
        if match := _assigned(words[0]):
            assigned[match[1]] = match[2]
        elif words[0] in ("-u", "--unset", "-C", "--chdir"):
            del words[:1]
        elif words[0] in ("-S", "--split-string"):
            words[1:2] = words[1].split() if len(words) > 1 else []
        elif not words[0].startswith("-"):
            break
        del words[:1]
    return shell.with_variables(assigned, lambda: shell.run_words(words))


def _wrapper(with_value: str = "", operands: int = 0) -> Callable[[Shell, list[str]], Status]:
    """Return a command that runs the one in its arguments.

    :param with_value: its options that take a value.
    :param operands: how many words precede the command.
    """

    def run(shell: Shell, arguments: list[str]) -> Status:
        words = [*arguments]
        while words and words[0].startswith("-") and len(words[0]) > 1:
            option = words.pop(0)
            if option == "--":
                break
            if option in with_value.split() and words:
                del words[0]
        assigned: dict[str, str] = {}
        del words[:operands]
        while words and (match := _assigned(words[0])):
            assigned[match[1]] = match[2]
            del words[0]
        return shell.with_variables(assigned, lambda: shell.run_words(words))

    return run


def _sudo(shell: Shell, arguments: list[str]) -> Status:
    before, shell.is_root = shell.is_root, True
    run = _wrapper("-u -g -h -p -C -r -t -T -U --user --group --chdir -D -R")
    status = run(shell, [word for word in arguments if word not in ("-s", "-i")])
    shell.is_root = before
    return status


def _su(shell: Shell, arguments: list[str]) -> Status:
    for index, word in enumerate(arguments[:-1]):
        if re.fullmatch("-[a-z]*c|--command", word):
            run = partial(shell.run_text, arguments[index + 1])
            return shell.scoped(run)
    return Status.PLAIN


def _chroot(shell: Shell, arguments: list[str]) -> Status:
    words = [word for word in arguments if not word.startswith("--")]
    if not words:
        return Status.ERROR
    before = shell.root, shell.folder
    shell.root, shell.folder = shell.path(words[0]) if is_known(words[0]) else unknown(), "/"
    status = shell.run_words(words[1:] or ["sh"])
    shell.root, shell.folder = before
    return status


def _xargs(shell: Shell, arguments: list[str]) -> Status:
    words = [*arguments]
    place = ""
    single = False
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option[:2] == "-I":
            place = option[2:] or (words.pop(0) if words else "")
        elif option[:2] in ("-n", "-L", "-P", "-d", "-s", "-E") and len(option) == 2 and words:  # noqa: PLR2004
            single = single or option in ("-n", "-L")
            del words[0]
        else:
            single = single or option[:2] == "-n"
    given = shell.stdin.split() if is_known(shell.stdin) else [unknown()]
    if place:
        for one in given:
            shell.run_words([word.replace(place, one) for word in words])
    elif single:
        for one in given:
            shell.run_words([*words, one])
    else:
        return shell.run_words([*words, *given])
    return Status.PLAIN


_builtins: Final[dict[str, Callable[[Shell, list[str]], Status]]] = {
    ":": _nothing,
    "true": _nothing,
    "set": _set,
    "trap": _nothing,
    "umask": _nothing,
    "wait": _nothing,
    "shopt": _nothing,
    "false": lambda _shell, _arguments: Status.FALSE,
    "cd": _cd,
    "pushd": _cd,
    "popd": lambda shell, _arguments: _cd(shell, [unknown()]),
    "echo": _echo,
    "printf": _printf,
    "test": _test,
    "[": _test,
    "exit": _end("exit"),
    "return": _end("return"),
    "break": _end("break"),
    "continue": _end("continue"),
    "eval": _eval,
    ".": _source,
    "source": _source,
    "read": _read,
    "shift": _shift,
    "command": _command,
    "builtin": _command,
    "type": _query,
    "which": _query,
    "hash": _query,
    "exec": _exec,
    "env": _env,
    "sudo": _sudo,
    "doas": _sudo,
    "su": _su,
    "chroot": _chroot,
    "xargs": _xargs,
    "busybox": _wrapper(),
    "toybox": _wrapper(),
    "nice": _wrapper("-n"),
    "ionice": _wrapper("-c -n -p"),
    "nohup": _wrapper(),
    "time": _wrapper("-f -o"),
    "timeout": _wrapper("-k -s", 1),
    "stdbuf": _wrapper("-i -o -e"),
    "setpriv": _wrapper(),
    "fakeroot": _wrapper("-l -s -i -b"),
    "eatmydata": _wrapper(),
    "gosu": _wrapper("", 1),
    "su-exec": _wrapper("", 1),
    "setsid": _wrapper(),
    "tini": _wrapper("-p -e"),
    "dumb-init": _wrapper("-r"),
}
