"""The settings of ``dockerflow verify``: dockerflow.toml, or a table of pyproject.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import click

FILE: Final = "dockerflow.toml"
TABLE: Final = "tool.dockerflow.verify"


@dataclass(frozen=True)
class Settings:
    """The settings of one file.

    :param file: where they are; None if there is no file.
    :param shared: what holds for every target.
    :param targets: the tables of the named targets.
    """

    file: Path | None = None
    shared: Mapping[str, Any] = field(default_factory=dict[str, Any])
    targets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    def where(self, target: str = "") -> str:
        """Return the file and the table, for messages."""
        is_own = self.file is not None and self.file.name == FILE
        table = ("" if is_own else TABLE) + (f".targets.{target}" if target else "")
        return f"{self.file}:" + (f" [{table.lstrip('.')}]" if table else "")


def find(here: Path) -> Settings:
    """Return the settings of the nearest folder that has some, up to the repository's root.

    :raises click.UsageError: if they can't be read, or a folder has them in two files.
    """
    for folder in (here, *here.parents):
        own, project = folder / FILE, folder / "pyproject.toml"
        table = _read(project, TABLE.split(".")) if project.is_file() else None
        if own.is_file() and table is not None:
            message = f"{own} and {project}: [{TABLE}] are both there; remove one of them."
            raise click.UsageError(message)
        if own.is_file():
            return _settings(own, _read(own, []))
        if table is not None:
            return _settings(project, table)
        if (folder / ".git").exists():
            break
    return Settings()


def _settings(file: Path, content: object) -> Settings:
    shared = as_table(content)
    if shared is None:
        raise click.UsageError(f"{Settings(file).where()} is not a table")
    tables = as_table(shared.pop("targets", {}))
    targets = {name: as_table(table) for name, table in (tables or {}).items()}
    if tables is None or None in targets.values():
        raise click.UsageError(f"{Settings(file).where('NAME')} is not a table")
    return Settings(file, shared, cast("dict[str, dict[str, Any]]", targets))


def _read(path: Path, names: Collection[str]) -> object:
    """Return the table of this name; None if there is none."""
    try:
        content: object = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise click.UsageError(f"{path} can't be read: {error}") from None
    for name in names:
        content = (as_table(content) or {}).get(name)
    return content


def as_table(value: object) -> dict[str, Any] | None:
    """Return the value if it is a table."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def defaults(
    table: Mapping[str, Any], parameters: Mapping[str, click.Parameter], where: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a table's settings by the names of the command's parameters, and the command to start.

    :param parameters: the parameters that may be set, by the names of their settings.
    :raises click.UsageError: if there is no such setting; values are checked with the arguments.
    """
    values = dict(table)
    command: object = values.pop("command", [])
    if not _is_strings(command) or ("command" in table and not command):
        raise click.UsageError(f"{where} command must be a list of strings")
    if unknown := [key for key in values if key not in parameters]:
        known = ", ".join(sorted([*parameters, "command"]))
        raise click.UsageError(f"{where} unknown setting {unknown[0]!r}; the settings are {known}")
    try:
        by_name = {
            str(parameters[key].name): _as_given(value, parameters[key])
            for key, value in values.items()
        }
    except TypeError as error:
        raise click.UsageError(f"{where} {error}") from None
    return by_name, tuple(cast("list[str]", command))


def _as_given(value: object, parameter: click.Parameter) -> str | list[str]:
    """Return a setting's value as the command line would have it."""
    is_multiple = bool(getattr(parameter, "multiple", False))
    table = as_table(value)
    if is_multiple and table is not None:  # env = { NAME = "value" }
        return [
            f"{name}={','.join(item) if _is_strings(item) else _text(item, parameter)}"
            for name, item in table.items()
        ]
    if is_multiple and isinstance(value, list):
        return [_text(item, parameter) for item in cast("list[object]", value)]
    return [_text(value, parameter)] if is_multiple else _text(value, parameter)


def _text(value: object, parameter: click.Parameter) -> str:
    if not isinstance(value, str | int | float):
        name = parameter.opts[0].lstrip("-")
        is_misspelt = name == "target" and as_table(value) is not None
        hint = "; did you mean targets?" if is_misspelt else ""
        raise TypeError(f"{name} can't be {value!r}{hint}")
    return str(value)


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, str) for item in cast("list[object]", value)
    )
