"""Judge the lines of a log by the schema of mozlog."""

from __future__ import annotations

import bisect
import json
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Final, NamedTuple, cast

import jsonschema.exceptions

from dockerflow.verify.evidence import Log, json_object, printable
from dockerflow.version import parse_json

SUMMARY: Final = "request.summary"
RECOMMENDED: Final = ("Type", "Logger", "Hostname", "EnvVersion", "Fields")
# Without uid: an app need not know who its user is.
SUMMARY_FIELDS: Final = ("agent", "errno", "lang", "method", "path")
# A line with any of these is meant to be mozlog.
_ENVELOPE: Final = frozenset(
    {"Timestamp", "EnvVersion", "Logger", "Fields", "Severity", "Hostname"}
)
# Severities of syslog, as mozlog's are: the worst is 0.
ERROR: Final = 3
DEBUG: Final = 7
MAX_LINES: Final = 200_000
MAX_EXPLAINED: Final = 10
"""How many invalid lines of a log are validated one by one."""
_BOUNDS: Final = (-(2**63), -(2**31), 0, 2**31, 2**63)  # where the schema's integers end


class Line(NamedTuple):
    """A line of a log that is, or should be, mozlog."""

    number: int
    content: dict[str, Any]
    """Empty if it is not JSON."""
    error: str
    """Why it is not valid; empty if it is."""


@lru_cache(maxsize=16)
def judge(log: Log) -> list[Line]:
    """Validate the lines of a log that are mozlog; skip the others, as readers of mozlog do."""
    found: list[Line] = []
    invalid = 0
    # Validating a line takes half a millisecond, and most lines have the same few shapes.
    errors: dict[Any, str] = {}
    for number, raw in enumerate(log.lines[:MAX_LINES], 1):
        text = raw.strip()
        if not text.startswith(b"{"):
            continue
        content = json_object(text)
        if content is None:
            if b'"Timestamp"' in text or b'"EnvVersion"' in text:
                found.append(Line(number, {}, _json_error(text)))
        elif not _ENVELOPE.isdisjoint(content):
            shape = _shape(content)
            error = errors.get(shape)
            if error is None or (error and invalid < MAX_EXPLAINED):
                error = errors[shape] = _schema_error(content)
            invalid += bool(error)
            found.append(Line(number, content, error))
    return found


def lacks(content: dict[str, Any]) -> list[str]:
    """Return which recommendations a valid line does not follow."""
    found = [f"it has no {name}" for name in RECOMMENDED if name not in content]
    if content.get("EnvVersion", "2.0") != "2.0":
        found.append("its EnvVersion is not 2.0")
    fields = content.get("Fields")
    if content.get("Type") == SUMMARY and isinstance(fields, dict):
        found += [f"its Fields have no {name}" for name in SUMMARY_FIELDS if name not in fields]
        if "email" in fields:
            found.append("its Fields have email, which is discouraged")
    return found


def message_of(line: str, *, limit: int = DEBUG) -> str | None:
    """Return the message of a line of mozlog whose severity is at most ``limit``."""
    match json_object(line.encode()):
        case {"Severity": int(number), "Fields": {"msg": str(text), **rest}} if number <= limit:
            return f"{text}: {rest['error']}" if "error" in rest else text
        case _:
            return None


def _json_error(text: bytes) -> str:
    try:
        parse_json(text)
    except ValueError as error:
        return f"it is not JSON: {printable(str(error))}"
    return ""


def _shape(value: Any, name: str = "") -> Any:
    """Return a key that is equal for values that the schema can't tell apart."""
    if isinstance(value, str):
        return value if name in {"EnvVersion", "Type"} else str
    if isinstance(value, int) and not isinstance(value, bool):
        return value if name == "Severity" else bisect.bisect_right(_BOUNDS, value)
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return tuple((key, _shape(item, key)) for key, item in items)
    if isinstance(value, list):
        items_ = cast("list[object]", value)
        return (list, *{_shape(item) for item in items_})
    return (type(value),)


def _schema_error(content: dict[str, Any]) -> str:
    exceptions: Any = jsonschema.exceptions
    error = exceptions.best_match(_validator().iter_errors(content))
    if error is None:
        return ""
    place = ".".join(str(part) for part in error.absolute_path)
    return printable(f"{place}: {error.message}" if place else error.message)


@cache
def _validator() -> Any:
    text = resources.files("dockerflow.logging").joinpath("mozlog.schema.json").read_text("utf-8")
    return jsonschema.Draft202012Validator(
        {
            "$defs": json.loads(text)["$defs"],
            "$ref": "#/$defs/envelope",
            "if": {"properties": {"Type": {"const": SUMMARY}}, "required": ["Type"]},
            "then": {"properties": {"Fields": {"$ref": "#/$defs/summaryFields"}}},
        }
    )
