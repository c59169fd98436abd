"""Any object as plain JSON values, and exceptions as text: what every format is made of."""

from __future__ import annotations

import json
import math
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from datetime import date
from datetime import time as time_of_day
from functools import cache
from types import TracebackType
from typing import Any, Final, cast

_MIN_CUT = 16
# The parts of a line that readers can do without least.
_FIRST = frozenset({"severity", "time", "message", "msg", "error"})
CIRCULAR = "[Circular]"
TRUNCATED = "[Truncated]"
_MAX_DEPTH = 16
_MAX_VALUES = 100_000
_MAX_CHAIN = 50
_MAX_GROUP = 15
_MAX_GROUP_DEPTH = 10
# The wording of the traceback module, which readers of logs look for.
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"
MIN_INT64, MAX_INT64 = -(2**63), 2**63 - 1
# Some readers take these for the end of a line; JSON allows both ways to write them.
_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
CONTROLS = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
} | {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}

_encoder = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
)
encode = _encoder.encode
# What encode() makes anew for each text, where Python has it in C.
_make_chunks: Any = getattr(json.encoder, "c_make_encoder", None)
try:
    _chunks: Any = _make_chunks and _make_chunks(
        None, _encoder.default, json.encoder.encode_basestring, None, ":", ",", False, False, False
    )
except TypeError:  # it is undocumented, so another Python's may take something else
    _chunks = None


@cache
def fast_encoder() -> Callable[[Any], bytes] | None:
    """Return orjson's encoder, if there is one; looked up when the first line is written."""
    try:
        from orjson import dumps
    except Exception:  # noqa: BLE001  # an optional package that is broken is no reason to fail
        return None
    return dumps


def unicode_text(text: str) -> str:
    """Return the text as an exact ``str`` that UTF-8 can hold: a lone surrogate is escaped."""
    text = str.__str__(text)
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def any_text(value: Any) -> str:
    """Return a text for any object, and never raise."""
    try:
        if isinstance(value, str):
            return unicode_text(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(cast("Any", value)).decode("utf-8", "backslashreplace")
        if isinstance(value, date | time_of_day):
            return unicode_text(value.isoformat())
        # The plain object's str() is its repr(), and that of an exception lacks its type.
        if getattr(cast("Any", type(value)), "__str__", None) is object.__str__ or isinstance(
            value, BaseException
        ):
            return unicode_text(repr(value))
        return unicode_text(str(value))
    except Exception:  # noqa: BLE001  # any code may run in there
        return _placeholder(cast("Any", value))


def any_repr(value: object) -> str:
    try:
        return unicode_text(repr(value))
    except Exception:  # noqa: BLE001  # any code may run in there
        return _placeholder(value)


def _placeholder(value: Any) -> str:
    try:
        return f"<unprintable {unicode_text(type(value).__name__)} object>"
    except Exception:  # noqa: BLE001  # a metaclass may do anything
        return "<unprintable object>"


def free_key(key: str, taken: Mapping[str, Any]) -> str:
    """Return the key, or one like it that isn't taken; fast even where thousands are alike."""
    for _ in range(4):
        if key not in taken:
            return key
        key += "_"
    number = len(taken)
    while f"{key}{number}" in taken:
        number += 1
    return f"{key}{number}"


class Plain:
    """Makes plain JSON values of any objects, for one line."""

    __slots__ = ("above", "left", "same")

    def __init__(self) -> None:
        self.above: set[int] = set()
        self.left = _MAX_VALUES
        # Whether orjson would write what was seen as the standard library does.
        self.same = True

    def value(self, value: Any) -> Any:  # noqa: PLR0911
        """Return the value as plain JSON of any depth, ``None`` included."""
        self.left -= 1
        try:
            if value is None or value is True or value is False:
                return value
            if isinstance(value, str):
                return unicode_text(value)
            if isinstance(value, int):
                return self.integer(value)
            if isinstance(value, float):
                return self.number(value)
            if isinstance(value, Mapping):
                return self.within(cast("Any", value), self.mapping)
            if isinstance(value, list | tuple | deque):
                return self.within(cast("Any", value), self.sequence)
            if isinstance(value, AbstractSet):
                return self.within(cast("Any", value), self.set_)
        except Exception:  # noqa: BLE001  # any code may run in there
            return any_text(cast("Any", value))
        return any_text(value)

    @staticmethod
    def integer(value: int) -> int | str:
        value = int.__index__(value)
        if MIN_INT64 <= value <= MAX_INT64:
            return value
        try:
            return str(value)
        except ValueError:  # more digits than Python is willing to write
            return hex(value)

    def number(self, value: float) -> float | str:
        value = float.__float__(value)
        if math.isfinite(value):
            # The two encoders write exponents in different ways.
            self.same = self.same and "e" not in float.__repr__(value)
            return value
        if math.isnan(value):
            return "NaN"
        return "Infinity" if value > 0 else "-Infinity"

    def within(self, value: Any, make: Callable[[Any], Any]) -> Any:
        identity = id(value)
        if identity in self.above:
            return CIRCULAR
        if len(self.above) >= _MAX_DEPTH or self.left <= 0:
            return TRUNCATED
        self.above.add(identity)
        try:
            return make(value)
        finally:
            self.above.discard(identity)

    def mapping(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, item in value.items():
            if self.left <= 0:
                out[free_key(TRUNCATED, out)] = TRUNCATED
                break
            out[free_key(any_text(key), out)] = self.value(item)
        return out

    def sequence(self, value: Iterable[Any]) -> list[Any]:
        out: list[Any] = []
        for item in value:
            if self.left <= 0:
                out.append(TRUNCATED)
                break
            out.append(self.value(item))
        return out

    def set_(self, value: Iterable[Any]) -> list[Any]:
        # A set's order differs from one process to the next.
        out = self.sequence(value)
        try:
            return sorted(out)
        except TypeError:
            return sorted(out, key=encode)

    def field(self, value: Any) -> Any:
        """Return the value in the shape that mozlog allows in a field; ``None`` if it is."""
        value = self.value(value)
        if isinstance(value, dict):
            out: dict[str, Any] = {}
            _flatten(cast("dict[str, Any]", value), "", out)
            return out or "{}"
        if isinstance(value, list):
            return _array(cast("Any", value))
        return value

    def fields(self, fields: Mapping[Any, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in fields.items():
            name = key if type(key) is str and key.isascii() else any_text(key)
            if name in out:
                name = free_key(name, out)
            kind: Any = type(cast("object", value))
            if (
                (kind is str and value.isascii())
                or kind is bool
                or (kind is int and MIN_INT64 <= value <= MAX_INT64)
            ):
                out[name] = value
            elif value is not None:
                out[name] = self.field(value)
        return out


def _flatten(value: dict[str, Any], prefix: str, out: dict[str, Any]) -> None:
    for name, item in value.items():
        key = prefix + name
        if isinstance(item, dict) and item:
            _flatten(cast("dict[str, Any]", item), f"{key}.", out)
        elif item is not None:
            if isinstance(item, list):
                item = _array(cast("Any", item))  # noqa: PLW2901
            out[free_key(key, out)] = item if item != {} else "{}"


def _array(items: list[Any]) -> list[Any] | str:
    if not items:
        return "[]"
    kinds = set(map(type, items))
    if kinds in ({str}, {bool}) or kinds <= {int, float}:
        return items
    return [item if isinstance(item, str) else encode(item) for item in items]


def write_json(out: dict[str, Any], *, same: bool) -> str:
    """Return the JSON of plain values; both encoders give the same text."""
    fast = fast_encoder() if same else None
    if fast is not None:
        line = fast(out).decode()
    else:
        line = "".join(_chunks(out, 0)) if _chunks else encode(out)
    return line if line.isascii() else line.translate(_LINE_ENDS)


_SIMPLE: Final = frozenset({str, bool, int})
_TEXT: Final = frozenset({str})


def write_simple(fields: dict[str, Any]) -> str:
    """Return the JSON of strings, booleans and integers.

    It is what :func:`write_json` makes of the same fields, as long as it is ASCII.

    :raises ValueError: when a value is something else, or there is none.
    """
    values = fields.values()
    if not fields or not _SIMPLE.issuperset(map(type, values)):
        raise ValueError
    strict = strict_encoder()
    if strict is not None:
        return strict[0](fields, None, strict[1]).decode()
    if not _TEXT.issuperset(map(type, fields)) or any(
        type(value) is int and not MIN_INT64 <= value <= MAX_INT64 for value in values
    ):
        raise ValueError
    return "".join(_chunks(fields, 0)) if _chunks else encode(fields)


@cache
def strict_encoder() -> tuple[Callable[..., bytes], int] | None:
    """Return orjson's encoder, and the option to refuse what it would write in its own way."""
    dumps = fast_encoder()
    if dumps is None:
        return None
    from orjson import OPT_STRICT_INTEGER

    return dumps, OPT_STRICT_INTEGER


def fit(out: dict[str, Any], limit: int, *, same: bool) -> str:
    """Return the JSON of plain values, in at most ``limit`` bytes, the line's end included.

    :param out: the line's object. What may be cut is what is in its ``Fields``, or in itself.
    """
    line = write_json(out, same=same)
    size = _size(line)
    if size <= limit:
        return line
    is_nested = isinstance(out.get("Fields"), dict)
    fields: dict[str, Any] = out["Fields"] if is_nested else out
    around = {key: value for key, value in out.items() if key != "Fields"} if is_nested else {}
    mark = {free_key("truncated", fields): size}

    def attempt(names: Iterable[str], cap: int) -> str | None:
        made = {name: _cut(fields[name], cap) for name in names} | mark
        if is_nested:
            made = {name: _cut(value, cap) for name, value in around.items()} | {"Fields": made}
        line = write_json(made, same=same)
        return line if _size(line) <= limit else None

    cap = limit
    while cap > _MIN_CUT:
        cap //= 2
        if (made := attempt(fields, cap)) is not None:
            return made
    # There are too many of them: as many as fit, and those first that readers miss most.
    names = sorted(fields, key=lambda name: name not in _FIRST)
    low, high = 0, len(names)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (low, middle - 1) if attempt(names[:middle], cap) is None else (middle, high)
    # If nothing fits, an override has put too much around the fields.
    return attempt(names[:low], cap) or write_json(
        {key: out[key] for key in ("Timestamp", "severity", "time") if key in out}, same=same
    )


def _size(line: str) -> int:
    return 1 + (len(line) if line.isascii() else len(line.encode()))


def _cut(value: Any, cap: int) -> Any:
    if isinstance(value, list | dict):
        text = encode(value)
        if len(text) <= cap:
            return cast("Any", value)
    elif isinstance(value, str) and len(value) > cap:
        text = value
    else:
        return value
    tail = cap // 3
    return f"{text[: cap - tail]}{TRUNCATED}{text[-tail:]}"


def _exception_lines(
    exc: BaseException, trace: TracebackType | None, depth: int, seen: set[int]
) -> list[str]:
    chain: list[tuple[BaseException, TracebackType | None, str]] = []
    current: BaseException | None = exc
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if current.__cause__ is not None:
            following, link = current.__cause__, _CAUSE
        elif current.__context__ is not None and not current.__suppress_context__:
            following, link = current.__context__, _CONTEXT
        else:
            following, link = None, ""
        if len(chain) >= _MAX_CHAIN:
            link = f"{TRUNCATED} Followed by:"
            following = None
        chain.append((current, trace if current is exc else current.__traceback__, link))
        current = following
    lines: list[str] = []
    for one, frames, link in reversed(chain):
        if link:
            lines.append(f"\n{link}\n\n")
        if frames is not None:
            lines.append("Traceback (most recent call last):\n")
            lines.extend(traceback.format_tb(frames))
        lines.append(f"{exception_text(one)}\n")
        notes = getattr(one, "__notes__", ())
        if isinstance(notes, list | tuple):
            lines.extend(f"{any_text(note).translate(CONTROLS)}\n" for note in cast("Any", notes))
        if isinstance(one, BaseExceptionGroup):
            lines.extend(_group_lines(cast("Any", one), depth, seen))
    return lines


def _group_lines(group: BaseExceptionGroup[BaseException], depth: int, seen: set[int]) -> list[str]:
    if depth >= _MAX_GROUP_DEPTH:
        return [f"  | {TRUNCATED}\n"]
    lines: list[str] = []
    total = len(group.exceptions)
    for number, inner in enumerate(group.exceptions[:_MAX_GROUP], 1):
        lines.append(f"  +---------------- {number} of {total} ----------------\n")
        text = "".join(_exception_lines(inner, inner.__traceback__, depth + 1, seen))
        lines.extend(f"  | {line}\n" for line in text.split("\n")[:-1])
    if total > _MAX_GROUP:
        lines.append(f"  | and {total - _MAX_GROUP} more\n")
    return lines


def exception_text(exc: BaseException) -> str:
    kind = type(exc)
    name = kind.__qualname__
    if kind.__module__ not in {"builtins", "__main__"}:
        name = f"{kind.__module__}.{name}"
    try:
        text = str(exc)
    except Exception:  # noqa: BLE001  # any code may run in there
        text = _placeholder(exc)
    return f"{name}: {text.translate(CONTROLS)}" if text else name


def safer_format_traceback(
    exc_typ: type[BaseException] | None,
    exc_val: BaseException | None,
    exc_tb: TracebackType | None,
) -> str:
    """Return the traceback as text in which an exception's message cannot forge a line.

    Causes, contexts, notes and the exceptions of a group are part of it. Control characters in a
    message are escaped. It never raises, and what it writes is bounded.
    """
    try:
        if exc_val is not None:
            return "".join(_exception_lines(exc_val, exc_tb, 0, set()))
        lines = traceback.format_tb(exc_tb)
        if exc_typ is not None:
            lines.append(exc_typ.__qualname__)
        return "".join(lines)
    except Exception:  # noqa: BLE001  # attributes of the exception may run any code
        return any_repr(exc_val).translate(CONTROLS)


class SafeJSONEncoder(json.JSONEncoder):
    """A JSON encoder that takes any object, for ``json.dumps(value, cls=SafeJSONEncoder)``.

    What JSON does not know is written as text, in the way of :class:`MozlogFormatter`; nested
    values and ``None`` stay as they are.
    """

    def default(self, o: Any) -> Any:
        """Return a text for the object."""
        return any_text(o)

    def encode(self, o: Any) -> str:
        """Return the JSON of any object."""
        return super().encode(Plain().value(o))

    def iterencode(self, o: Any, _one_shot: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Yield the JSON of any object."""
        return super().iterencode(Plain().value(o), _one_shot)
