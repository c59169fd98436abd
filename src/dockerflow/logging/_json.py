"""Any object as plain JSON values, and exceptions as text: what every format is made of."""

from __future__ import annotations

import json
import math
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date, time
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, TracebackType
from typing import Any, Final, cast

CIRCULAR: Final = "[Circular]"
TRUNCATED: Final = "[Truncated]"
MIN_INT64, MAX_INT64 = -(2**63), 2**63 - 1

# Some libraries leave them in records.
_FUNCTIONS: Final = frozenset({BuiltinFunctionType, FunctionType, MethodType, partial})
_MAX_DEPTH: Final = 16
_MAX_VALUES: Final = 100_000
_MAX_TRACEBACK: Final = 64 * 1024
_MIN_CUT: Final = 16
# The parts of a line that readers need most.
_NEEDED: Final = frozenset({"severity", "time", "message", "msg", "error"})
# What a terminal takes for a command or for the end of a line, or what changes the direction of
# the text after it, by its first byte in UTF-8: a single byte is found fast, and most lines have
# none of these. JSON escapes those below a space.
_UNSAFE: Final = {
    b"\x7f": "\x7f",
    b"\xc2": "".join(map(chr, range(0x80, 0xA0))),
    b"\xd8": "\u061c",
    b"\xe2": "".join(map(chr, (0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)))),
}
_CONTROLS: Final = "".join((*map(chr, range(0x20)), *_UNSAFE.values()))


def _find_encoder() -> Callable[[Any], str]:
    try:
        from orjson import dumps
    except ImportError:
        return json.JSONEncoder(
            separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
        ).encode
    return lambda value: dumps(value).decode()


# Looked up now, as a process may be forked while another thread imports something.
encode: Final = _find_encoder()
"""Returns the JSON of plain values: orjson's if it is installed, else the standard library's."""


def encode_line(values: dict[str, Any]) -> str:
    """Return the JSON of plain values, on one line for every reader, including a terminal."""
    text = encode(values)
    if text.isascii() and "\x7f" not in text:
        return text
    line = text.encode()
    for begin, characters in _UNSAFE.items():
        if begin in line:
            for char in characters:
                if char in text:
                    text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def escape_controls(text: str, keep: str = "") -> str:
    """Escape the characters that a terminal would interpret, except those in ``keep``.

    Unlike :meth:`str.translate`, this is also fast for text that isn't ASCII.
    """
    if text.isprintable():
        return text
    for char in _CONTROLS:
        if char in text and char not in keep:
            text = text.replace(char, char.encode("unicode_escape").decode())
    return text


def unicode_text(text: str) -> str:
    """Return an exact ``str`` that UTF-8 can encode: lone surrogates are escaped."""
    text = str.__str__(text)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return text.encode("utf-8", "backslashreplace").decode()
    return text


def any_text(value: object) -> str:
    """Return an object as a string; never raises."""
    if type(value) is str and value.isascii():
        return value
    return foreign_text(_text, value)


def foreign_text(render: Callable[[Any], str], value: object) -> str:
    """Return ``render(value)``, or a placeholder if that raises."""
    try:
        return unicode_text(render(value))
    except Exception:  # noqa: BLE001  # any code may run in there
        # Not type(value).__name__: a metaclass may raise there.
        name = type.__dict__["__name__"].__get__(type(value))
        return f"<unprintable {unicode_text(name)} object>"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(cast("Any", value)).decode("utf-8", "backslashreplace")
    if isinstance(value, date | time):
        return value.isoformat()
    # An object without __str__ has its repr(); the str() of an exception lacks its type.
    has_str = cast("Any", type(value)).__str__ is not object.__str__
    if not has_str or isinstance(value, BaseException):
        return repr(value)
    return str(value)


def is_logged(value: object) -> bool:
    """Whether the value of a field is written: ``None`` and functions aren't."""
    return value is not None and type(value) not in _FUNCTIONS


def free_key(key: str, taken: Mapping[str, Any]) -> str:
    """Return the key, or one like it that isn't taken; fast even if thousands are alike."""
    for _ in range(4):
        if key not in taken:
            return key
        key += "_"
    number = len(taken)
    while f"{key}{number}" in taken:
        number += 1
    return f"{key}{number}"


def are_plain(fields: Mapping[Any, Any]) -> bool:
    """Whether fields are written as they are, as those of most records."""
    for key, value in fields.items():
        kind = type(value)  # pyright: ignore[reportUnknownVariableType] - of any value
        if kind is str:
            if not value.isascii():
                return False
        elif kind is int:
            if not MIN_INT64 <= value <= MAX_INT64:
                return False
        elif kind is not bool:
            return False
        if not (type(key) is str and key.isascii()):
            return False
    return True


class JsonValues:
    """Converts objects to plain JSON values, for one line: bounded in size, and without cycles."""

    def __init__(self) -> None:
        self._above: set[int] = set()
        self._left = _MAX_VALUES

    def value(self, value: Any) -> Any:
        """Return the value as plain JSON of any depth; ``None`` stays."""
        self._left -= 1
        if value is None or value is True or value is False:
            return value
        try:
            if isinstance(value, str):
                return unicode_text(value)
            if isinstance(value, int | float):
                return _number(value)
            if isinstance(value, Mapping | list | tuple | deque | AbstractSet):
                return self._container(cast("Any", value))
        except Exception:  # noqa: BLE001  # any code may run in a foreign container
            return any_text(cast("Any", value))
        return any_text(value)

    def _container(self, value: Any) -> Any:
        identity = id(value)
        if identity in self._above:
            return CIRCULAR
        if len(self._above) >= _MAX_DEPTH or self._left <= 0:
            return TRUNCATED
        self._above.add(identity)
        try:
            if isinstance(value, Mapping):
                return self.mapping(cast("Any", value))
            items = self._items(value)
        finally:
            self._above.discard(identity)
        # A set's order differs from one process to the next.
        return _sorted(items) if isinstance(value, AbstractSet) else items

    def mapping(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        """Return the mapping as an object of any depth."""
        out: dict[str, Any] = {}
        for key, item in value.items():
            if self._left <= 0:
                out[free_key(TRUNCATED, out)] = TRUNCATED
                break
            out[free_key(any_text(key), out)] = self.value(item)
        return out

    def _items(self, value: Iterable[Any]) -> list[Any]:
        out: list[Any] = []
        for item in value:
            if self._left <= 0:
                out.append(TRUNCATED)
                break
            out.append(self.value(item))
        return out

    def field(self, value: Any) -> Any:
        """Return the value in the shape that mozlog allows in a field; ``None`` stays."""
        value = self.value(value)
        if isinstance(value, dict):
            out: dict[str, Any] = {}
            _flatten(cast("dict[str, Any]", value), "", out)
            return out or "{}"
        return _array(cast("Any", value)) if isinstance(value, list) else value

    def fields(self, fields: Mapping[Any, Any]) -> dict[str, Any]:
        """Return the fields that are logged, in the shape that mozlog allows."""
        out: dict[str, Any] = {}
        for key, value in fields.items():
            if is_logged(value):
                out[free_key(any_text(key), out)] = self.field(value)
        return out


def _number(value: float) -> float | str:
    if isinstance(value, int):
        value = int.__index__(value)
        if MIN_INT64 <= value <= MAX_INT64:
            return value
        try:
            return str(value)
        except ValueError:  # more digits than Python is willing to write
            return hex(value)
    value = float.__float__(value)
    return value if math.isfinite(value) else json.dumps(value)


def _sorted(items: list[Any]) -> list[Any]:
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=encode)


def _flatten(value: dict[str, Any], prefix: str, out: dict[str, Any]) -> None:
    for name, item in value.items():
        key = prefix + name
        if isinstance(item, dict) and item:
            _flatten(cast("dict[str, Any]", item), f"{key}.", out)
        elif isinstance(item, list):
            out[free_key(key, out)] = _array(cast("Any", item))
        elif item is not None:
            out[free_key(key, out)] = item if item != {} else "{}"


def _array(items: list[Any]) -> list[Any] | str:
    if not items:
        return "[]"
    kinds = set(map(type, items))
    if kinds in ({str}, {bool}) or kinds <= {int, float}:
        return items
    return [item if isinstance(item, str) else encode(item) for item in items]


def truncate_to(limit: int, line: dict[str, Any]) -> str:
    """Return the JSON of a line's plain values in at most ``limit`` bytes, its end included.

    :param line: is changed. What may be left out is in its ``Fields`` if it has some, else in
        itself.
    """
    text = encode_line(line)
    size = _size(text)
    if size <= limit:
        return text
    is_nested = isinstance(line.get("Fields"), dict)
    fields: dict[str, Any] = line["Fields"] if is_nested else line
    names = [name for name in fields if name not in _NEEDED]
    fields[free_key("truncated", fields)] = size
    cap = limit
    while size > limit:
        # First, long values are cut, ever shorter. Then, the last ones are left out.
        if cap > _MIN_CUT:
            cap //= 2
        elif names:
            for _ in range(len(names) // 8 + 1):
                del fields[names.pop()]
        else:  # an override has put too much around the fields
            kept = ("Timestamp", "severity", "time")
            return encode_line({key: line[key] for key in kept if key in line})
        made = _cut_values(line, cap)
        if is_nested:
            made["Fields"] = _cut_values(fields, cap)
        text = encode_line(made)
        size = _size(text)
    return text


def _cut_values(values: dict[str, Any], cap: int) -> dict[str, Any]:
    return {name: _cut(value, cap) for name, value in values.items()}


def _size(text: str) -> int:
    return 1 + (len(text) if text.isascii() else len(text.encode()))


def _cut(value: Any, cap: int) -> Any:
    text = encode(value) if isinstance(value, list | dict) else value
    if isinstance(text, str) and len(text) > cap:
        return cut_middle(text, cap)
    return cast("Any", value)


def cut_middle(text: str, length: int) -> str:
    """Return the text's first two thirds and last third of ``length`` characters."""
    tail = length // 3
    return f"{text[: length - tail]}{TRUNCATED}{text[-tail:]}"


def safer_format_traceback(
    exc_typ: type[BaseException] | None,
    exc_val: BaseException | None,
    exc_tb: TracebackType | None,
) -> str:
    """Return the traceback as text in which an exception's message cannot forge a line.

    It is the text of the standard library, with causes, contexts, notes and the exceptions of a
    group. Control characters in messages and notes are escaped, and the middle of a text over 64
    KiB is left out. Never raises.
    """
    text = foreign_text(lambda exc: _format_traceback(exc_typ, exc, exc_tb), exc_val)
    return text if len(text) <= _MAX_TRACEBACK else cut_middle(text, _MAX_TRACEBACK)


def _format_traceback(
    kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
) -> str:
    if kind is None or exc is None:
        return "".join([*traceback.format_tb(trace), kind.__qualname__ if kind else ""])
    whole = traceback.TracebackException(kind, exc, trace, compact=True)
    _escape_messages(whole)
    return "".join(whole.format())


def _escape_messages(whole: traceback.TracebackException) -> None:
    parts: list[traceback.TracebackException | None] = [whole]
    while parts:
        part = parts.pop()
        if part is not None:
            state = vars(part)
            state["_str"] = escape_controls(any_text(state.get("_str", "")))
            notes = state.get("__notes__")
            if isinstance(notes, list | tuple):
                part.__notes__ = [escape_controls(any_text(n)) for n in cast("Any", notes)]
            parts += [part.__cause__, part.__context__, *(part.exceptions or ())]


class SafeJSONEncoder(json.JSONEncoder):
    """A JSON encoder that accepts any object, for ``json.dumps(value, cls=SafeJSONEncoder)``.

    Objects that JSON has no type for are written as strings, as by :class:`MozlogFormatter`;
    nested values and ``None`` stay as they are.
    """

    def default(self, o: Any) -> Any:
        """Return a string for the object."""
        return any_text(o)

    def encode(self, o: Any) -> str:
        """Return the JSON of any object."""
        return super().encode(JsonValues().value(o))

    def iterencode(self, o: Any, *args: Any, **kwargs: Any) -> Any:
        """Yield the JSON of any object."""
        return super().iterencode(JsonValues().value(o), *args, **kwargs)
