"""``dockerflow verify``: the command line of the conformance checker."""

from __future__ import annotations

import math
import signal
import sys
import threading
import tomllib
from pathlib import Path
from types import FrameType
from typing import Any, Final, cast
from urllib.parse import urlsplit

import click
from rich.console import Console

from dockerflow.verify import formats as reports
from dockerflow.verify.probes import Targets
from dockerflow.verify.probes import verify as run
from dockerflow.verify.rules import RULES

TABLE: Final = "tool.dockerflow.verify"
MAX_SECONDS: Final = 86_400


class _Command(click.Command):
    """Takes what stands after ``--`` as the command to start, and settings from pyproject.toml."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            args, command = args[:at], tuple(args[at + 1 :])
            if not command and not ctx.resilient_parsing:
                message = "There is no command after --."
                raise click.UsageError(message, ctx)
            ctx.meta[TABLE] = command
        if not ctx.resilient_parsing:
            ctx.default_map = {**self._settings(ctx), **(ctx.default_map or {})}
        return super().parse_args(ctx, args)

    def _settings(self, ctx: click.Context) -> dict[str, Any]:
        """Return what the nearest pyproject.toml says, by the names of the parameters."""
        here = Path.cwd()
        path = next(
            (p for f in (here, *here.parents) if (p := f / "pyproject.toml").is_file()), None
        )
        if path is None:
            return {}
        try:
            content: Any = tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise click.UsageError(f"{path} can't be read: {error}", ctx) from None
        for name in TABLE.split("."):
            content = (
                cast("dict[str, Any]", content).get(name, {}) if isinstance(content, dict) else {}
            )
        if not isinstance(content, dict):
            raise click.UsageError(f"{path}: [{TABLE}] is no table", ctx)
        table = cast("dict[str, Any]", content)
        names = {
            option.lstrip("-"): parameter
            for parameter in self.params
            for option in parameter.opts
            if parameter.name != "explain"
        }
        settings: dict[str, Any] = {}
        for key, value in table.items():
            if key == "command":
                parts: list[Any] = []
                if isinstance(value, list):
                    parts = value  # pyright: ignore[reportUnknownVariableType] - TOML's
                if not parts or not all(isinstance(part, str) for part in parts):
                    raise click.UsageError(f"{path}: [{TABLE}] command takes a list of texts", ctx)
                ctx.meta.setdefault(TABLE, tuple(parts))
                continue
            parameter = names.get(key)
            if parameter is None:
                takes = ", ".join(sorted([*names, "command"]))
                raise click.UsageError(f"{path}: [{TABLE}] takes no {key!r}, but {takes}", ctx)
            settings[str(parameter.name)] = _from_toml(value, parameter)
        return settings


def _from_toml(value: Any, parameter: click.Parameter) -> Any:
    if isinstance(value, dict):  # env = { NAME = "value" }
        value = [f"{name}={text}" for name, text in cast("dict[str, Any]", value).items()]
    if parameter.multiple and not isinstance(value, list):  # pyright: ignore[reportAttributeAccessIssue]
        return [value]
    return cast("Any", value)


class _Seconds(click.ParamType):  # type: ignore[type-arg,unused-ignore] # pyright: ignore[reportMissingTypeArgument] - generic since click 8.4
    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            seconds = math.nan
        if isinstance(value, bool) or not 0 < seconds <= MAX_SECONDS:
            self.fail(f"{value!r} is not a number of seconds over 0.", param, ctx)
        return seconds


class _Pair(click.ParamType):  # type: ignore[type-arg,unused-ignore] # pyright: ignore[reportMissingTypeArgument]
    name = "name=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return cast("tuple[str, str]", value)
        name, has, text = str(value).partition("=")
        if not (name and has) or "\0" in text:
            self.fail(f"{value!r} is not NAME=VALUE.", param, ctx)
        return name, text


class _RuleIds(click.ParamType):  # type: ignore[type-arg,unused-ignore] # pyright: ignore[reportMissingTypeArgument]
    name = "ids"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> frozenset[str]:
        if isinstance(value, frozenset):
            return cast("frozenset[str]", value)
        found: set[str] = set()
        for part in str(value).upper().replace(" ", "").split(","):
            matches = {id_ for id_ in RULES if part and id_.startswith(part)}
            if not matches:
                self.fail(f"there is no rule {part!r}; there are {', '.join(RULES)}.", param, ctx)
            found |= matches
        return frozenset(found)


def _url(_: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        _port = parts.port
        fine = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        fine = False
    if not fine:
        raise click.BadParameter(
            f"{value!r} is no http:// or https:// URL. A command to start goes after --.",
            param=param,
        )
    return value


_PATH: Final = click.Path(path_type=Path)
_SECONDS: Final = _Seconds()
_PAIR: Final = _Pair()
_IDS: Final = _RuleIds()


@click.command(
    cls=_Command,
    short_help="Check an app, a Dockerfile or an image against Dockerflow.",
    options_metavar="[OPTIONS]",
    epilog="Exit codes: 0 passed, 1 findings, 2 could not run.",
)
@click.argument("url", required=False, callback=_url, metavar="[URL] [-- COMMAND ...]")
@click.option(
    "--dockerfile", multiple=True, type=_PATH, metavar="FILE", help="A Dockerfile to check."
)
@click.option(
    "--image", multiple=True, metavar="NAME", help="An image to check, of docker or podman."
)
@click.option(
    "--archive", multiple=True, type=_PATH, metavar="FILE", help="A saved image to check."
)
@click.option("--logs", multiple=True, metavar="FILE", help="A log file to check; - is stdin.")
@click.option(
    "--version-json",
    multiple=True,
    type=_PATH,
    metavar="FILE",
    help="A version.json to check, and to compare `/__version__` with.",
)
@click.option(
    "--env", multiple=True, type=_PAIR, metavar="NAME=VALUE", help="Set a variable for the command."
)
@click.option(
    "--break",
    "breaks",
    multiple=True,
    type=_PAIR,
    metavar="NAME=VALUE",
    help="Start the command once more with a variable that breaks a backing service.",
)
@click.option(
    "--static", multiple=True, metavar="PATH", help="Path of a static file that the app serves."
)
@click.option(
    "--slow",
    metavar="PATH",
    help="Path that takes over 0.5 s to answer: it is requested, and SIGTERM sent meanwhile.",
)
@click.option(
    "--build-arg",
    multiple=True,
    type=_PAIR,
    metavar="NAME=VALUE",
    help="Build argument of the Dockerfile.",
)
@click.option(
    "--target", metavar="STAGE", help="Stage of the Dockerfile to check; by default the last."
)
@click.option(
    "--wait",
    type=_SECONDS,
    metavar="SECONDS",
    help="How long to wait until the URL answers (default 0) or the command listens (default 20).",
)
@click.option(
    "--timeout", type=_SECONDS, default=10.0, show_default=True, help="Time limit of one request."
)
@click.option(
    "--grace",
    type=_SECONDS,
    default=10.0,
    show_default=True,
    help="Time from SIGTERM to the end of the process.",
)
@click.option(
    "--limit",
    type=_SECONDS,
    default=120.0,
    show_default=True,
    help="Time limit of all requests to one target.",
)
@click.option(
    "--select",
    multiple=True,
    type=_IDS,
    metavar="IDS",
    help="Check only these rules, or those that begin so: DF101,DF2",
)
@click.option(
    "--ignore", multiple=True, type=_IDS, metavar="IDS", help="Check all rules but these."
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "never"]),
    default="error",
    show_default=True,
    help="Lowest level of a finding that makes the exit code 1.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(reports.FORMATS)),
    default="text",
    show_default=True,
)
@click.option("--explain", metavar="ID", help="Explain a rule, and check nothing.")
@click.pass_context
def verify(ctx: click.Context, /, **given: Any) -> None:
    """Check an app, a Dockerfile or an image against the Dockerflow specification.

    The app is one that runs at a URL, or a command that is started with a free port as $PORT. It
    may be written in any language.

    \b
      dockerflow verify http://localhost:8000
      dockerflow verify --dockerfile Dockerfile -- python app.py
      docker logs app 2>&1 | dockerflow verify --logs -
    """  # noqa: D301 - click's mark for a paragraph that stays as it is
    if given["explain"] is not None:
        _explain(given["explain"])
        return
    targets = Targets(
        url=given["url"],
        command=ctx.meta.get(TABLE, ()),
        dockerfiles=given["dockerfile"],
        images=given["image"],
        archives=given["archive"],
        logs=given["logs"],
        version_jsons=given["version_json"],
        environ=dict(given["env"]),
        breaks=given["breaks"],
        static=given["static"],
        slow=given["slow"],
        build_args=dict(given["build_arg"]),
        target=given["target"],
        wait=given["wait"],
        timeout=given["timeout"],
        grace=given["grace"],
        limit=given["limit"],
    )
    _refuse_what_has_no_effect(targets)
    selected = frozenset[str]().union(*given["select"]) if given["select"] else frozenset(RULES)
    selected -= frozenset[str]().union(*given["ignore"])
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    with _ended_by_sigterm(), console.status("starting") as status:
        report = run(targets, selected=selected, fail_on=given["fail_on"], say=status.update)
    if given["format_"] == "text":
        out = Console()
        color = out.is_terminal and not out.no_color
        result = reports.text(report, width=max(out.width, 60), color=color)
    else:
        result = reports.FORMATS[given["format_"]](report)
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(result.encode(encoding, "replace").decode(encoding), nl=False)
    ctx.exit(report.exit_code)


def _refuse_what_has_no_effect(targets: Targets) -> None:
    has_app = targets.url is not None or bool(targets.command)
    if not has_app and not any(
        (
            targets.dockerfiles,
            targets.images,
            targets.archives,
            targets.logs,
            targets.version_jsons,
        )
    ):
        message = (
            "There is nothing to look at: give a URL, --dockerfile, --image, --archive, --logs, "
            "--version-json, or a command after --."
        )
        raise click.UsageError(message)
    for name, value, needed, has in (
        ("--env", targets.environ, "a command after --", targets.command),
        ("--break", targets.breaks, "a command after --", targets.command),
        ("--slow", targets.slow, "a command after --", targets.command),
        ("--static", targets.static, "a URL or a command", has_app),
        ("--build-arg", targets.build_args, "--dockerfile", targets.dockerfiles),
        ("--target", targets.target, "--dockerfile", targets.dockerfiles),
    ):
        if value and not has:
            raise click.UsageError(f"{name} needs {needed}.")
    if targets.logs.count("-") > 1:
        message = "--logs - can be given once."
        raise click.UsageError(message)


def _explain(id_: str) -> None:
    rule = RULES.get(id_.strip().upper())
    if rule is None:
        raise click.UsageError(f"There is no rule {id_!r}; there are {', '.join(RULES)}.")
    click.echo(reports.explain(rule), nl=False)


class _ended_by_sigterm:  # noqa: N801 - used like a function
    """Turn SIGTERM into an exception, so that what was started is ended, too."""

    def __enter__(self) -> None:
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._raise)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    @staticmethod
    def _raise(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)
