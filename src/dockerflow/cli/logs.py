"""``dockerflow logs``: prints mozlog as readable text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Final

import click

from dockerflow.cli._exit import discard_stdout
from dockerflow.logging import _text
from dockerflow.logging._json import escape_controls
from dockerflow.logging._mozlog import SEVERITIES
from dockerflow.version import parse_json

MAX_LINE: Final = 1 << 20
"""How many bytes of a line are read at a time; longer lines are passed through in parts."""

_KEYS: Final = frozenset(
    {"Timestamp", "Type", "Logger", "Hostname", "EnvVersion", "Severity", "Pid", "Fields"}
)
_LEVELS: Final = {name.lower(): number for number, name in enumerate(SEVERITIES)}


EXAMPLES: Final = """\b
Examples:
  docker compose logs --follow web | dockerflow logs --level warning
  kubectl logs deploy/web | dockerflow logs --rid 4bf92f3577b34da6
"""


@click.command(epilog=EXAMPLES)
@click.argument("files", nargs=-1, type=click.Path())
@click.option(
    "--level",
    type=click.Choice(list(_LEVELS), case_sensitive=False),
    default="debug",
    help="Only lines of this level or higher.",
)
@click.option(
    "--type",
    "types",
    metavar="PATTERN",
    multiple=True,
    help="Only lines of this Type, such as request.summary or 'myapp.*'; can be repeated.",
)
@click.option("--rid", help="Only the request with this ID.")
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="auto: on a terminal; $NO_COLOR and $FORCE_COLOR have precedence.",
)
def logs(
    files: tuple[str, ...], level: str, types: tuple[str, ...], rid: str | None, color: str
) -> None:
    """Print mozlog from FILES, or from standard input, as text: one line per record.

    Each line has the time (UTC), level, type, message and fields; tracebacks and other long texts
    follow. A line without a level counts as info. Lines that are not mozlog are always printed,
    regardless of the filters. Text before the JSON is kept, as in docker compose's output. Control
    characters are escaped, because a terminal would interpret them.
    """
    is_colored = color == "always" or (color == "auto" and _text.use_colors())
    max_severity = _LEVELS[level]

    def is_wanted(line: dict[str, Any]) -> bool:
        if _text.severity_of(line) > max_severity:
            return False
        if types and not any(fnmatchcase(str(line.get("Type", "")), type_) for type_ in types):
            return False
        return rid is None or _text.fields_of(line).get("rid") == rid

    output = sys.stdout.buffer
    try:
        for raw in _lines(files):
            text = convert(raw, is_wanted, color=is_colored)
            if text is not None:
                output.write(text)
                output.flush()  # somebody may be watching
    except BrokenPipeError:  # as by `dockerflow logs | head`
        discard_stdout()


def _lines(files: tuple[str, ...]) -> Iterator[bytes]:
    for name in files or ("-",):
        try:
            with click.open_file(name, "rb") as file:
                # Unlike `for line in file`, this never holds a line of a gigabyte in memory.
                yield from iter(partial(file.readline, MAX_LINE), b"")
        except OSError as error:
            message = f"{name} can't be read: {error.strerror or error}"
            raise click.ClickException(message) from None


def convert(
    raw: bytes, is_wanted: Callable[[dict[str, Any]], bool], *, color: bool
) -> bytes | None:
    """Return the text to print for a line; ``None`` for mozlog that isn't wanted."""
    before, brace, after = raw.partition(b"{")
    try:
        line: Any = parse_json(brace + after)
    except ValueError:
        return _printable(raw)
    if not _text.is_mozlog(line) or _has_wrong_types(line):
        return _printable(raw)
    if not is_wanted(line):
        return None
    others = {key: value for key, value in line.items() if key not in _KEYS}
    line["Fields"] = others | _text.fields_of(line)
    return _printable(before) + _text.render(line, color=color).encode() + b"\n"


def _has_wrong_types(line: dict[str, Any]) -> bool:
    """Whether values would be lost if this was shown as mozlog."""
    severity = line.get("Severity", 0)
    is_severity = type(severity) is int and 0 <= severity < len(SEVERITIES)
    return not is_severity or not isinstance(line.get("Fields", {}), dict)


def _printable(raw: bytes) -> bytes:
    """Return a line that isn't mozlog, with what a terminal would interpret escaped."""
    text = raw.decode("utf-8", "backslashreplace")
    end = "\r\n" if text.endswith("\r\n") else ""
    return (escape_controls(text.removesuffix(end), keep="\n\t") + end).encode()
