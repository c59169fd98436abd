"""``dockerflow version``: write, check and show version.json."""

from __future__ import annotations

import os
from pathlib import Path

import click

from dockerflow.cli import _version_json as writer
from dockerflow.cli._group import Finding
from dockerflow.config import Config, ConfigError
from dockerflow.version import VersionError, get_version, release, resolve

_PATH = click.Path(path_type=Path)


@click.group()
def version() -> None:
    """Write, check and show version.json.

    The file says what is deployed: source, version, commit and build. The app serves it at
    /__version__.
    """


def _parse_extra(
    _ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]
) -> dict[str, str]:
    extra: dict[str, str] = {}
    for item in value:
        key, equals, text = item.partition("=")
        if not key or not equals:
            message = f"{item!r} is not of the form KEY=VALUE."
            raise click.BadParameter(message)
        if key in writer.KEYS:
            message = f"{key} has an option of its own, --{key}."
            raise click.BadParameter(message)
        extra[key] = text
    return extra


@version.command()
@click.argument("path", type=_PATH, default="version.json")
@click.option("--source", default="", help="URL of the repository.")
@click.option("--version", "version_", default="", help="Release tag, or a text for people.")
@click.option("--commit", default="", help="Hash of the commit.")
@click.option("--build", default="", help="URL of the CI build.")
@click.option(
    "--set",
    "extra",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_parse_extra,
    help="Add another key. May be given several times.",
)
@click.option(
    "--from",
    "origin",
    type=click.Choice(writer.ORIGINS),
    help="Where to take values from; by default recognised by the environment.",
)
@click.option("--replace", is_flag=True, help="Replace an existing file, its other keys included.")
def write(  # noqa: PLR0913 - an option each
    *,
    path: Path,
    source: str,
    version_: str,
    commit: str,
    build: str,
    extra: dict[str, str],
    origin: str | None,
    replace: bool,
) -> None:
    """Write version.json to PATH: a file, or the folder for it; - prints it instead.

    Each value is the first that isn't empty: the option; the variable DOCKERFLOW_SOURCE,
    DOCKERFLOW_VERSION, DOCKERFLOW_COMMIT or DOCKERFLOW_BUILD (a Dockerfile's ARG, for one); what
    GitHub Actions, CircleCI, GitLab or Taskcluster say in the environment; and the git checkout
    that this runs in. A changed working tree adds -dirty to git's version.

    URLs are written without credentials, ssh addresses as https. Other keys of an existing file
    stay. Run it after the last checkout step, as a clean checkout deletes the file, and in the
    build context, so that the Dockerfile can copy it to /app.
    """
    given = {"source": source, "version": version_, "commit": commit, "build": build}
    to_stdout = str(path) == "-"
    file = resolve(path)
    try:
        values, notes = writer.gather(given, env=os.environ, folder=Path(), origin=origin)
        content = _merge(None if replace or to_stdout else file, values, extra)
        if not to_stdout:
            writer.write(file, content)
    except VersionError as error:
        raise click.ClickException(str(error)) from None
    for note in (*notes, *writer.problems(content)):
        click.echo(f"dockerflow version: note: {note}", err=True)
    if to_stdout:
        click.echo(writer.dump(content).encode(), nl=False)
    else:
        name = origin or writer.detect(os.environ)
        text = " ".join(str(content["version"] or content["commit"]).split())
        click.echo(f"wrote {file}: {text} (from {name})")


def _merge(file: Path | None, values: dict[str, str], extra: dict[str, str]) -> dict[str, object]:
    try:
        return writer.merge(file, values, extra)
    except VersionError as error:
        message = f"{error}; --replace forgets that file"
        raise VersionError(message) from None


def _read(path: Path | None) -> dict[str, object]:
    """Return the content of the file that an app here would serve."""
    try:
        where = resolve(Config().version_path if path is None else path)
        content = get_version(where)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    except VersionError as error:
        raise Finding(str(error)) from None
    if content is None:
        message = f"there is no {where}"
        raise Finding(message)
    return content


@version.command()
@click.argument("path", type=_PATH, required=False)
def check(path: Path | None) -> None:
    """Check the version.json at PATH: a file, or its folder.

    By default that is $DOCKERFLOW_VERSION_PATH, /app/version.json or ./version.json, whichever an
    app would serve. All four keys must be there, as texts; commit must be a git hash; source
    and build must be URLs without credentials, or empty. Other keys may be anything.

    Exit code 1 if something is wrong, with one line for each thing.
    """
    found = writer.problems(_read(path))
    for problem in found:
        click.echo(problem, err=True)
    if found:
        raise click.exceptions.Exit(Finding.exit_code)
    click.echo("version.json is valid")


@version.command()
@click.argument("path", type=_PATH, required=False)
@click.option("--release", "only_release", is_flag=True, help="Print only the name of the release.")
def show(path: Path | None, *, only_release: bool) -> None:
    """Print the version.json at PATH: a file, or its folder.

    By default that is $DOCKERFLOW_VERSION_PATH, /app/version.json or ./version.json, whichever an
    app would serve. With --release it is only the name that dockerflow.version.release() gives an
    error tracker, so that a deployment can announce the same one.
    """
    content = _read(path)
    if only_release:
        name = release(path)
        if name is None:
            message = "version.json has neither a version nor a commit"
            raise Finding(message)
        click.echo(name)
    else:
        click.echo(writer.dump(content).encode(), nl=False)
