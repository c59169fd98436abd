"""Read YAML as a tree whose nodes know their lines; nothing in it is constructed or executed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from dockerflow.verify.evidence import CouldNotRunError, Place, Value, printable

MAX_BYTES: Final = 8 << 20
MAX_NODES: Final = 1_000_000
"""How many nodes a document may have, with each alias counted as what it stands for."""
MAX_DEPTH: Final = 100

# libyaml is many times faster, but not every wheel of PyYAML has it.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_is_helm = re.compile(r"\{\{[^{}\n]*\.(?:Values|Release|Chart)\b").search


@dataclass(eq=False, slots=True)
class Node:
    """A mapping, a sequence, the text of a scalar, or None; with its place.

    ``size`` and ``depth`` count aliases as what they stand for.
    """

    value: dict[str, Node] | list[Node] | str | None
    place: Place
    tag: str = ""
    size: int = 1
    depth: int = 1

    def get(self, *keys: str) -> Node:
        """Return the node below these keys; one without a value if there is none."""
        node = self
        for key in keys:
            node = node.fields.get(key, Node(None, node.place))
        return node

    @property
    def fields(self) -> dict[str, Node]:
        """The content of a mapping; empty if this isn't one."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """The content of a sequence; empty if this isn't one."""
        return self.value if isinstance(self.value, list) else []

    @property
    def text(self) -> str:
        """The text of a scalar; empty if this isn't one."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def texts(self) -> list[str]:
        """The texts of a sequence."""
        return [item.text for item in self.items]

    @property
    def setting(self) -> Value | None:
        """The text and its place; None if there is none."""
        return Value(self.text, self.place) if self.text else None

    def __bool__(self) -> bool:
        return self.value is not None


def first_true(node: Node, *names: str) -> Value | None:
    """Return the first of these names that is set to true, with its place."""
    for name in names:
        if node.get(name).text.lower() in ("true", "yes", "on", "y"):
            return Value(name, node.get(name).place)
    return None


def parse(content: bytes, where: str, change: Callable[[str], str] = str) -> list[Node]:
    """Return the documents of a YAML text that aren't empty.

    :param where: the file's path, or "stdin".
    :param change: is applied to the text of each scalar.
    :raises CouldNotRunError: when it is not YAML, or larger than the limits above.
    """
    if len(content) > MAX_BYTES:
        raise CouldNotRunError(f"{where} can't be checked: it is over {MAX_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CouldNotRunError(f"{where} is not YAML: it is not UTF-8") from None
    template = f"{where} is a template: check its output, for example that of `helm template`"
    if _is_helm(text):
        raise CouldNotRunError(template)
    try:
        return [node for node in _Reader(text, where, change).documents() if node]
    except (yaml.YAMLError, ValueError) as error:  # PyYAML lets some ValueErrors through
        if "{{" in text or "{%" in text:
            raise CouldNotRunError(template) from None
        mark = getattr(error, "problem_mark", None)
        problem = f"line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark else str(error)
        raise CouldNotRunError(f"{where} can't be read as YAML: {printable(problem)}") from None


class _Reader:
    """Builds the tree of the parser's events, and bounds its size and depth."""

    def __init__(self, text: str, where: str, change: Callable[[str], str]) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._where = where
        self._change = change
        self._anchors: dict[str, Node] = {}
        self._merged = 0

    def documents(self) -> Iterator[Node]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors = {}
                yield self._node(next(self._events), 1)

    def _node(self, event: Any, level: int) -> Node:
        line: int = event.start_mark.line + 1
        if level > MAX_DEPTH:
            raise _error(line, "it is nested too deeply")
        if isinstance(event, yaml.AliasEvent):
            # An anchor is known once its node is complete, so no node contains itself.
            if event.anchor not in self._anchors:
                raise _error(line, f"there is no anchor {event.anchor!r} before it")
            return self._anchors[event.anchor]
        value: dict[str, Node] | list[Node] | str | None
        if isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(level)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = list(self._children(yaml.SequenceEndEvent, level))
        else:
            is_null = event.implicit[0] and event.value in _NULLS
            value = None if is_null else self._change(event.value)
        children = value.values() if isinstance(value, dict) else value
        inside = [] if isinstance(children, str | None) else list(children)
        node = Node(
            value,
            Place(self._where, line),
            event.tag or "",
            1 + sum(child.size for child in inside),
            1 + max((child.depth for child in inside), default=0),
        )
        if node.size > MAX_NODES or node.depth > MAX_DEPTH:
            raise _error(line, "it is too large, or nested too deeply")
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _children(self, end: type, level: int) -> Iterator[Node]:
        while not isinstance(event := next(self._events), end):
            yield self._node(event, level + 1)

    def _mapping(self, level: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        children = self._children(yaml.MappingEndEvent, level)
        for key in children:
            value = next(children)
            if isinstance(key.value, dict | list):  # YAML takes {{ name }} for such a key
                raise _error(key.place.line, "a key must be text")
            if key.text != "<<":
                found[key.text] = value
                continue
            for source in value.items or [value]:
                merged = {**source.fields, **merged}
            self._merged += len(merged)
            if self._merged > MAX_NODES:
                raise _error(key.place.line, "it is too large")
        return {**merged, **found}


def _error(line: int, problem: str) -> ValueError:
    return ValueError(f"line {line}: {problem}")
