"""``dockerflow verify``: the command line of the verifier."""

from __future__ import annotations

import re
import signal
import sys
import tomllib
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import click
from rich.console import Console

from dockerflow.verify import formats, run
from dockerflow.verify.evidence import ENDPOINTS, hide_passwords
from dockerflow.verify.probes import Targets
from dockerflow.verify.rules import RULES, matching
from dockerflow.verify.verdicts import FAIL_ON

_is_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch  # RFC 9110, section 5.6.2
_has_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search

TABLE: Final = "tool.dockerflow.verify"
MAX_SECONDS: Final = 86_400


class _Command(click.Command):
    """Takes the command to start from after ``--``, and settings from pyproject.toml."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            args, command = args[:at], tuple(args[at + 1 :])
            if not command and not ctx.resilient_parsing:
                message = "There is no command after --."
                raise click.UsageError(message, ctx)
            ctx.meta[TABLE] = command
        if not ctx.resilient_parsing:
            ctx.default_map = self._settings(ctx)
        return super().parse_args(ctx, args)

    def _settings(self, ctx: click.Context) -> dict[str, Any]:
        """Return the settings of the nearest pyproject.toml, by the parameters' names."""
        here = Path.cwd()
        files = (folder / "pyproject.toml" for folder in (here, *here.parents))
        path = next(filter(Path.is_file, files), None)
        if path is None:
            return {}
        table = _read_table(path)
        if "command" in table:
            command = table.pop("command")
            if not command or not _is_strings(command):
                raise click.UsageError(f"{path}: [{TABLE}] command must be a list of strings", ctx)
            ctx.meta.setdefault(TABLE, tuple(command))
        parameters = {
            option.lstrip("-"): parameter
            for parameter in self.params
            for option in parameter.opts
            if parameter.name != "explain"
        }
        if unknown := [key for key in table if key not in parameters]:
            known = ", ".join(sorted([*parameters, "command"]))
            message = f"{path}: [{TABLE}] has no setting {unknown[0]!r}; there are {known}"
            raise click.UsageError(message, ctx)
        return {
            str(parameters[key].name): _from_toml(value, parameters[key])
            for key, value in table.items()
        }


def _read_table(path: Path) -> dict[str, Any]:
    try:
        content: object = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path} can't be read: {error}") from None
    for name in TABLE.split("."):
        content = (_as_table(content) or {}).get(name, {})
    table = _as_table(content)
    if table is None:
        raise click.UsageError(f"{path}: [{TABLE}] is not a table")
    return table


def _from_toml(value: object, parameter: click.Parameter) -> object:
    table = _as_table(value)
    if table is not None:  # env = { NAME = "value" }
        return [f"{name}={text}" for name, text in table.items()]
    is_single = isinstance(value, str | int | float)
    return [value] if is_single and getattr(parameter, "multiple", False) else value


def _as_table(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, str) for item in cast("list[object]", value)
    )


def _seconds(value: Any) -> float:
    with suppress(TypeError, ValueError):
        if not isinstance(value, bool) and 0 < float(value) <= MAX_SECONDS:
            return float(value)
    raise click.BadParameter(f"{value!r} is not a number of seconds over 0.")


def _pair(value: str) -> tuple[str, str]:
    name, equals, text = str(value).partition("=")
    if not (name and equals) or "\0" in text:
        raise click.BadParameter(f"{value!r} is not NAME=VALUE.")
    return name, text


def _rule_ids(value: str) -> set[str]:
    try:
        parts = str(value).replace(" ", "").split(",")
        return {id_ for part in parts for id_ in matching(part)}
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def _url(value: str) -> str:
    shown = hide_passwords(repr(value))
    with suppress(ValueError):  # also of the port
        parts = urlsplit(value)
        is_http = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        if is_http or (parts.scheme == "unix" and parts.path):
            path = parts.path.rstrip("/")
            ending = next((end for end in ENDPOINTS if path.endswith(end)), "")
            if ending or parts.query or parts.fragment:
                raise click.BadParameter(f"{shown} is not the URL before /__version__.")
            return value
    raise click.BadParameter(
        f"{shown} is not an http:// or https:// URL, nor unix:PATH. "
        "A command to start goes after --."
    )


def _header(value: str) -> tuple[str, str]:
    name, equals, text = value.partition("=")
    if not (equals and _is_token(name)) or _has_control(text):
        message = "A header is NAME=VALUE, without control characters."  # it may be a secret
        raise click.BadParameter(message)
    return name, text


_several = partial(click.option, multiple=True)
_files = partial(_several, type=click.Path(path_type=Path), metavar="FILE")
_pairs = partial(_several, type=_pair, metavar="NAME=VALUE")
_rules = partial(_several, type=_rule_ids, metavar="IDS")
_time = partial(click.option, type=_seconds, metavar="SECONDS", show_default=True)


@click.command(
    cls=_Command,
    short_help="Check an app, a Dockerfile or an image against Dockerflow.",
    options_metavar="[OPTIONS]",
    epilog="Exit codes: 0 passed, 1 findings, 2 could not run.",
)
@click.argument("url", required=False, type=_url, metavar="[URL] [-- COMMAND ...]")
@_files("--dockerfile", "dockerfiles", help="A Dockerfile to check.")
@_several("--image", "images", metavar="NAME", help="An image to check, from docker or podman.")
@_files("--archive", "archives", help="A saved image to check.")
@_several("--logs", metavar="FILE", help="A log file to check; - is stdin.")
@_files(
    "--version-json",
    "version_jsons",
    help="A version.json to check, and to compare `/__version__` with.",
)
@click.option(
    "--run",
    is_flag=True,
    help="Start a container of the image, without capabilities, and check it like a command.",
)
@click.option(
    "--read-only", is_flag=True, help="The container may write to /tmp only, which is a tmpfs."
)
@click.option("--network", metavar="NAME", help="Network that the container joins.")
@_pairs("--env", "environ", help="Set a variable for the command or the container.")
@_pairs(
    "--break",
    "breaks",
    help="Start it once more with a variable that breaks a backing service.",
)
@_several(
    "--header",
    "headers",
    type=_header,
    metavar="NAME=VALUE",
    help="Send a header with each request.",
)
@_several("--static", metavar="PATH", help="Path of a static file that the app serves.")
@click.option(
    "--slow",
    metavar="PATH",
    help="Path that takes over 0.5 s to answer; SIGTERM is sent during a request to it.",
)
@_pairs("--build-arg", "build_args", help="Build argument of the Dockerfile.")
@click.option(
    "--target", metavar="STAGE", help="Stage of the Dockerfile to check; by default the last."
)
@_time(
    "--wait",
    show_default=False,
    help="How long to wait until the URL answers (default 0), or the command or the container "
    "listens (default 20).",
)
@_time("--timeout", default=10.0, help="Time limit of one request.")
@_time("--grace", default=10.0, help="Time from SIGTERM to the end of the process.")
@_time("--limit", default=120.0, help="Time limit of all requests to one target.")
@_rules("--select", help="Check only these rules; the beginning of ids will do: DF101,DF2")
@_rules("--ignore", help="Check all rules but these.")
@_rules("--require", help="Fail if one of these rules was not checked, or is unknown.")
@click.option(
    "--fail-on",
    type=click.Choice(FAIL_ON),
    default="error",
    show_default=True,
    help="What makes the exit code 1; each includes those before it, but never is nothing.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(formats.FORMATS)),
    default="text",
    show_default=True,
    help="How to print the results.",
)
@click.option("--explain", metavar="ID", help="Explain a rule, and check nothing.")
@click.pass_context
def verify(
    ctx: click.Context,
    /,
    *,
    select: tuple[set[str], ...],
    ignore: tuple[set[str], ...],
    require: tuple[set[str], ...],
    fail_on: str,
    format_: str,
    explain: str | None,
    **given: Any,
) -> None:
    """Check an app, a Dockerfile or an image against the Dockerflow specification.

    The app runs at a URL or on a Unix socket (unix:PATH), or is a command or an image that is
    started with a free port as $PORT. It may be written in any language.

    \b
      dockerflow verify http://localhost:8000
      dockerflow verify --dockerfile Dockerfile -- python app.py
      dockerflow verify --dockerfile Dockerfile --image app --run --read-only
      docker logs app 2>&1 | dockerflow verify --logs -
    """  # noqa: D301 - click's mark for a paragraph that is not wrapped
    if explain is not None:
        _explain(explain)
        return
    targets = Targets(command=ctx.meta.get(TABLE, ()), **given)
    _check_combination(targets)
    selected = set[str]().union(*select or [RULES]).difference(*ignore)
    required = selected.intersection(set[str]().union(*require))
    if ids := next((ids for ids in require if not ids & selected), None):
        raise click.UsageError(f"--require {', '.join(sorted(ids))}: it is not selected.")
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    with _exit_on_sigterm(), console.status("starting") as status:
        report = run.verify(
            targets,
            selected=selected,
            fail_on=fail_on,
            required=required,
            on_progress=status.update,
        )
    if format_ == "text":
        out = Console()
        color = out.is_terminal and not out.no_color
        result = formats.text(report, width=max(out.width, 60), color=color)
    else:
        result = formats.FORMATS[format_](report)
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(result.encode(encoding, "replace").decode(encoding), nl=False)
    ctx.exit(report.exit_code)


def _check_combination(targets: Targets) -> None:
    """Refuse to do nothing, and options that would have no effect."""
    is_started = targets.run or bool(targets.command)
    files = (targets.dockerfiles, targets.images, targets.archives, targets.logs)
    has_app = targets.url is not None or is_started
    if not (has_app or any(files) or targets.version_jsons):
        message = (
            "There is nothing to check: give a URL, --dockerfile, --image, --archive, --logs, "
            "--version-json, or a command after --."
        )
        raise click.UsageError(message)
    for name, value, needed, is_given in (
        ("--run", targets.run, "--image", targets.images),
        ("--read-only", targets.read_only, "--run", targets.run),
        ("--network", targets.network, "--run", targets.run),
        ("--env", targets.environ, "a command after --, or --run", is_started),
        ("--break", targets.breaks, "a command after --, or --run", is_started),
        ("--slow", targets.slow, "a command after --, or --run", is_started),
        ("--static", targets.static, "a URL, a command or --run", has_app),
        ("--header", targets.headers, "a URL, a command or --run", has_app),
        ("--build-arg", targets.build_args, "--dockerfile", targets.dockerfiles),
        ("--target", targets.target, "--dockerfile", targets.dockerfiles),
    ):
        if value and not is_given:
            raise click.UsageError(f"{name} needs {needed}.")
    if targets.logs.count("-") > 1:
        message = "--logs - can be given once."
        raise click.UsageError(message)


def _explain(id_: str) -> None:
    rule = RULES.get(id_.strip().upper())
    if rule is None:
        raise click.UsageError(f"There is no rule {id_!r}; there are {', '.join(RULES)}.")
    click.echo(formats.explain(rule), nl=False)


@contextmanager
def _exit_on_sigterm() -> Generator[None]:
    """Turn SIGTERM into SystemExit, so that what was started is ended too."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
