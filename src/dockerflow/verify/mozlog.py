"""Judge lines of a log by the schema of mozlog."""

from __future__ import annotations

import bisect
import json
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Final, NamedTuple, cast

import jsonschema.exceptions

from dockerflow.verify.evidence import Log, parse_json, printable

SUMMARY: Final = "request.summary"
RECOMMENDED: Final = ("Type", "Logger", "Hostname", "EnvVersion", "Fields")
# Who the user is may well be unknown, so uid is not missed here.
RECOMMENDED_IN_SUMMARY: Final = ("agent", "errno", "lang", "method", "path")
_ENVELOPE: Final = frozenset(
    {"Timestamp", "EnvVersion", "Logger", "Fields", "Severity", "Hostname"}
)
MAX_LINES: Final = 200_000
MAX_EXPLAINED: Final = 10
"""How many broken lines of a log are validated one by one."""
_BOUNDS: Final = (-(2**63), -(2**31), 0, 2**31, 2**63)  # where the schema's integers end


class Line(NamedTuple):
    """A line of a log that is, or should be, mozlog."""

    number: int
    content: dict[str, Any] | None
    error: str
    """What is wrong with it; empty when nothing is."""


class Judged(NamedTuple):
    """What the lines of one log are."""

    mozlog: list[Line]
    json: int
    """How many lines are JSON objects but no mozlog."""
    other: int
    """How many lines are neither."""


@lru_cache(maxsize=16)
def judge(log: Log) -> Judged:
    """Say of each line what it is, and what is wrong with it."""
    mozlog: list[Line] = []
    as_json = other = bad = 0
    shapes: dict[Any, str] = {}
    for number, raw in enumerate(log.lines[:MAX_LINES], 1):
        text = raw.strip()
        if not text:
            continue
        try:
            content = parse_json(text) if text.startswith(b"{") else None
        except ValueError as reason:
            # Readers skip what isn't JSON; but this one was meant to be mozlog.
            if b'"Timestamp"' in text or b'"EnvVersion"' in text:
                mozlog.append(Line(number, None, f"it is not JSON: {printable(str(reason))}"))
            else:
                other += 1
            continue
        if not isinstance(content, dict):
            other += 1
        elif _ENVELOPE.isdisjoint(cast("dict[str, Any]", content)):
            as_json += 1
        else:
            values = cast("dict[str, Any]", content)
            # Validating takes half a millisecond, and most lines have the same few shapes.
            shape = _shape(values)
            error = shapes.get(shape)
            if error is None or (error and bad < MAX_EXPLAINED):
                error = shapes[shape] = _error(values)
            bad += bool(error)
            mozlog.append(Line(number, values, error))
    return Judged(mozlog, as_json, other)


def lacks(content: dict[str, Any]) -> list[str]:
    """Return what a valid line should have and has not, or should not have and has."""
    found = [f"it has no {name}" for name in RECOMMENDED if name not in content]
    if content.get("EnvVersion", "2.0") != "2.0":
        found.append("its EnvVersion is not 2.0")
    fields = content.get("Fields")
    if content.get("Type") == SUMMARY and isinstance(fields, dict):
        found += [
            f"its Fields have no {name}" for name in RECOMMENDED_IN_SUMMARY if name not in fields
        ]
        if "email" in fields:
            found.append("its Fields have email, which is discouraged")
    return found


def _shape(value: Any, name: str = "") -> Any:
    """Return what the schema looks at in a value, without what it doesn't."""
    if isinstance(value, str):
        return value if name in {"EnvVersion", "Type"} else str
    if isinstance(value, int) and not isinstance(value, bool):
        return value if name == "Severity" else bisect.bisect_right(_BOUNDS, value)
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return tuple((key, _shape(item, key)) for key, item in items)
    if isinstance(value, list):
        items_: list[Any] = value  # pyright: ignore[reportUnknownVariableType] - of JSON
        return (list, *{_shape(item) for item in items_})
    return (type(value),)


def _error(content: dict[str, Any]) -> str:
    exceptions: Any = jsonschema.exceptions
    error = exceptions.best_match(_validator().iter_errors(content))
    if error is None:
        return ""
    place = ".".join(str(part) for part in error.absolute_path)
    return printable(f"{place}: {error.message}" if place else error.message)


@cache
def _validator() -> Any:
    text = resources.files("dockerflow.logging").joinpath("mozlog.schema.json").read_text("utf-8")
    defs = json.loads(text)["$defs"]
    return jsonschema.Draft202012Validator(
        {
            "$defs": defs,
            "$ref": "#/$defs/envelope",
            "if": {"properties": {"Type": {"const": SUMMARY}}, "required": ["Type"]},
            "then": {"properties": {"Fields": {"$ref": "#/$defs/summaryFields"}}},
        }
    )
