"""``dockerflow version``: write, check and show version.json."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from dockerflow.cli import _make_version_json as maker
from dockerflow.cli._group import Finding
from dockerflow.config import Config, ConfigError
from dockerflow.logging._json import escape_controls
from dockerflow.version import KEYS, VersionError, get_version, release, resolve

_PATH = click.Path(path_type=Path)


@click.group()
def version() -> None:
    """Write, check and show version.json.

    The file describes what is deployed: source, version, commit and build. The app serves it at
    /__version__.
    """


def _pair(value: str) -> tuple[str, str]:
    key, equals, text = value.partition("=")
    if not key or not equals:
        raise click.BadParameter(f"must be KEY=VALUE, not {value!r}.")
    if key in KEYS:
        raise click.BadParameter(f"use --{key} for {key}.")
    return key, text


@version.command()
@click.argument("path", type=_PATH, default="version.json")
@click.option("--source", default="", help="URL of the repository.")
@click.option("--version", default="", help="Release tag, or any other name of the version.")
@click.option("--commit", default="", help="Hash of the commit.")
@click.option("--build", default="", help="URL of the CI build.")
@click.option(
    "--set",
    "extra",
    metavar="KEY=VALUE",
    multiple=True,
    type=_pair,
    help="Add another key. Can be given several times.",
)
@click.option(
    "--from",
    "origin",
    type=click.Choice(maker.ORIGINS),
    help="Where to read values from; by default detected from the environment.",
)
@click.option("--replace", is_flag=True, help="Discard an existing file, including its other keys.")
def write(
    *,
    path: Path,
    extra: tuple[tuple[str, str], ...],
    origin: str | None,
    replace: bool,
    **given: str,
) -> None:
    """Write version.json to PATH, a file or its folder; - prints it.

    Each value comes from the first of these that isn't empty: the option; the variable
    DOCKERFLOW_SOURCE, DOCKERFLOW_VERSION, DOCKERFLOW_COMMIT or DOCKERFLOW_BUILD, such as a
    Dockerfile's ARG; the variables of GitHub Actions, CircleCI, GitLab or Taskcluster; the current
    git checkout. If its working tree has changes, -dirty is appended to git's version.

    URLs are written without credentials, ssh addresses as https. Other keys of an existing file
    are kept. Run it after the last checkout step, because a clean checkout deletes the file, and in
    the build context, so that the Dockerfile can copy it to /app.
    """
    origin = origin or maker.detect(os.environ)
    to_stdout = str(path) == "-"
    file = resolve(path)
    try:
        values, notes, origins = maker.gather(given, origin, env=os.environ, folder=Path())
        content = maker.merge(None if replace or to_stdout else file, values, dict(extra))
        if not to_stdout:
            maker.write(file, content)
    except VersionError as error:
        raise click.ClickException(str(error)) from None
    for note in (*notes, *maker.problems(content)):
        click.echo(f"dockerflow version: note: {note}", err=True)
    if to_stdout:
        click.echo(maker.dump(content).encode(), nl=False)
    else:
        text = " ".join((content["version"] or content["commit"]).split())
        click.echo(f"wrote {file}: {text} (from {', '.join(origins)})")


def _read(path: Path | None) -> dict[str, object]:
    """Return the content of the file; by default the one that an app here would serve."""
    try:
        where = resolve(Config().version_path if path is None else path)
        content = get_version(where)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    except VersionError as error:
        is_unreadable = isinstance(error.__cause__, OSError)
        raise (click.ClickException if is_unreadable else Finding)(str(error)) from None
    if content is None:
        raise click.ClickException(f"there is no {where}")
    return content


@version.command()
@click.argument("path", type=_PATH, required=False)
def check(path: Path | None) -> None:
    """Check the version.json at PATH: a file, or its folder.

    The default is the file that an app would serve: the first of $DOCKERFLOW_VERSION_PATH,
    /app/version.json and ./version.json. All four keys are required and must be strings; commit
    must be a git hash; source and build must be URLs without credentials, or empty. Other keys may
    have any value.

    Exit code 1 if something is wrong, with one line for each problem; 2 if the file can't be read.
    """
    found = maker.problems(_read(path))
    for problem in found:
        click.echo(problem, err=True)
    if found:
        raise click.exceptions.Exit(Finding.exit_code)
    click.echo("version.json is valid")


def _visible(content: str) -> str:
    """Return the same JSON with control characters escaped."""
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in content)


@version.command()
@click.argument("path", type=_PATH, required=False)
@click.option("--release", "only_release", is_flag=True, help="Print only the name of the release.")
def show(path: Path | None, *, only_release: bool) -> None:
    """Print the version.json at PATH: a file, or its folder.

    The default is the file that an app would serve: the first of $DOCKERFLOW_VERSION_PATH,
    /app/version.json and ./version.json. With --release it prints only the name that
    dockerflow.version.release() gives an error tracker, so that a deployment can use the same one.
    """
    content = _read(path)
    if not only_release:
        click.echo(_visible(maker.dump(content)).encode(), nl=False)
    elif name := release(path):
        click.echo(escape_controls(name))
    else:
        message = "version.json has neither a version nor a commit"
        raise Finding(message)
