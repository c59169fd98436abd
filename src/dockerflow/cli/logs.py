"""``dockerflow logs``: prints mozlog for people."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any, Final

import click

from dockerflow.cli._exit import forget_stdout
from dockerflow.logging import _text as _log_text

MAX_LINE: Final = 1 << 20
"""How many bytes of one line are looked at, and kept, together."""

_LEVELS: Final = {name.lower(): number for number, name in enumerate(_log_text.SEVERITIES)}


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--level",
    type=click.Choice(list(_LEVELS), case_sensitive=False),
    default="debug",
    help="Only lines of this level or a higher one.",
)
@click.option(
    "--type",
    "types",
    metavar="PATTERN",
    multiple=True,
    help="Only lines of this Type, such as request.summary or 'myapp.*'; may be repeated.",
)
@click.option("--rid", help="Only the request with this id.")
@click.option(
    "--color",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    help="auto: on a terminal, unless $NO_COLOR is set.",
)
def logs(
    files: tuple[Path, ...], level: str, types: tuple[str, ...], rid: str | None, color: str
) -> None:
    """Print mozlog from FILES, or from standard input, as text: one line a record.

    It shows time (UTC), level, type, message and fields; below them tracebacks and other long
    texts. A line without a level counts as info. Lines that are not mozlog are printed as they
    are, whatever the filters. What stands before the JSON stays, as in docker compose's output.

    \b
      docker compose logs --follow web | dockerflow logs --level warning
      kubectl logs deploy/web | dockerflow logs --rid 4bf92f3577b34da6
    """  # noqa: D301 - \b is click's sign for text that keeps its lines
    painted = color == "always" or (color == "auto" and _is_terminal())
    most = _LEVELS[level.lower()]

    def is_wanted(line: dict[str, Any]) -> bool:
        if _log_text.severity_of(line) > most:
            return False
        if types and not any(fnmatchcase(str(line.get("Type", "")), type_) for type_ in types):
            return False
        return rid is None or _log_text.fields_of(line).get("rid") == rid

    output = sys.stdout.buffer
    try:
        for raw in _read(files):
            made = convert(raw, is_wanted, color=painted)
            if made is not None:
                output.write(made)
                # Somebody may look on: a line is of use when it comes, not with the next 8 KiB.
                output.flush()
    except BrokenPipeError:  # as by `dockerflow logs | head`
        forget_stdout()


def _is_terminal() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _read(files: tuple[Path, ...]) -> Iterator[bytes]:
    if not files:
        yield from _lines(sys.stdin.buffer)
    for path in files:
        if str(path) == "-":
            yield from _lines(sys.stdin.buffer)
            continue
        try:
            with path.open("rb") as file:
                yield from _lines(file)
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            message = f"{path} can't be read: {error.strerror or error}"
            raise click.ClickException(message) from None


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    # Not `for line in file`: a line of a gigabyte must not be held as a whole.
    while line := file.readline(MAX_LINE):
        yield line


def convert(
    raw: bytes, is_wanted: Callable[[dict[str, Any]], bool], *, color: bool
) -> bytes | None:
    """Return what to print for a line; ``None`` for mozlog that isn't wanted."""
    start = raw.find(b"{")
    if start < 0 or not raw.rstrip().endswith(b"}"):
        return raw
    try:
        line: Any = json.loads(raw[start:])
    except (ValueError, RecursionError):
        return raw
    if not _log_text.is_mozlog(line):
        return raw
    if not is_wanted(line):
        return None
    return raw[:start] + _log_text.render(line, color=color).encode() + b"\n"
