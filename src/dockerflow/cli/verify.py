"""``dockerflow verify``: the command line of the verifier."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
from click.core import ParameterSource
from rich.console import Console

from dockerflow.cli import _verify_settings
from dockerflow.cli._verify_settings import Settings
from dockerflow.verify import baseline as baselines
from dockerflow.verify import formats, run
from dockerflow.verify.evidence import ENDPOINTS, hide_passwords
from dockerflow.verify.probes import Targets
from dockerflow.verify.rules import RULES, matching
from dockerflow.verify.verdicts import FAIL_ON, Report, exit_code

_is_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch  # RFC 9110, section 5.6.2
_has_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search

MAX_SECONDS: Final = 86_400
RUNS: Final = "dockerflow.verify.runs"

EXAMINED: Final = (
    "given", "url", "dockerfiles", "images", "archives", "manifests", "composes", "logs",
    "version_jsons",
)  # fmt: skip
"""The parameters that name something to examine."""
KINDS: Final = {
    "projects": re.compile(r"(docker-)?compose([-._].*)?\.ya?ml"),
    "manifests": re.compile(r".+\.ya?ml"),
    "dockerfiles": re.compile(r".+"),
}
"""What a file is by its name, if it is given without an option; the first that matches."""
_is_base = re.compile(r"(docker-)?compose\.ya?ml").fullmatch
NO_SETTINGS: Final = ("explain", "given", "only", "update_baseline")
"""The parameters that are for the command line only."""
SHARED: Final = ("baseline", "format", "output", "per-file-ignores")
"""The settings that can't be different for each target."""


@dataclass(frozen=True)
class _Run:
    """The parameters for one target: what is given, else its settings, else those for all."""

    settings: Settings
    params: Mapping[str, Any]
    command: tuple[str, ...]
    name: str = ""

    def targets(self) -> Targets:
        names = {field.name for field in fields(Targets)}
        values = {name: value for name, value in self.params.items() if name in names}
        for one in self.params["given"]:
            if isinstance(one, str):
                values["url"] = one
            else:
                kind = _kind(one)
                value = one if kind == "dockerfiles" else str(one)
                values[kind] = (*values.get(kind, ()), value)
        # Hooks give files by their names, which has compose.override.yaml before compose.yaml.
        files: tuple[str, ...] = values.pop("projects", ())
        projects = tuple(sorted(files, key=lambda file: not _is_base(Path(file).name)))
        return Targets(command=self.command, projects=projects, **values)

    def selected(self) -> set[str]:
        select, ignore = self.params["select"] or [RULES], self.params["ignore"]
        return set[str]().union(*select).difference(*ignore)

    def required(self) -> set[str]:
        selected, require = self.selected(), self.params["require"]
        if ids := next((ids for ids in require if not ids & selected), None):
            raise click.UsageError(f"--require {', '.join(sorted(ids))}: it is not selected.")
        return selected.intersection(set[str]().union(*require))


class _Command(click.Command):
    """Takes the command to start from after ``--``, and settings from a file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        command: tuple[str, ...] = ()
        if "--" in args:
            at = args.index("--")
            args, command = args[:at], tuple(args[at + 1 :])
            if not command and not ctx.resilient_parsing:
                message = "There is no command after --."
                raise click.UsageError(message, ctx)
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        settings = _verify_settings.find(Path.cwd())
        parameters = {
            option.lstrip("-"): parameter
            for parameter in self.params
            for option in parameter.opts
            if parameter.name not in NO_SETTINGS
        }
        shared, configured = _verify_settings.defaults(
            settings.shared, parameters, settings.where()
        )
        ctx.default_map = shared
        rest = super().parse_args(ctx, list(args))
        if ctx.params["given"]:
            configured = ()
            _forget_settings(ctx)
        ctx.meta[RUNS] = _by_url(_Run(settings, ctx.params, command or configured))
        is_given = command or any(map(partial(_is_given, ctx), EXAMINED))
        only: tuple[str, ...] = ctx.params["only"]
        names = [] if is_given else list(settings.targets)
        if unknown := [name for name in only if name not in names]:
            known = f"the targets are {', '.join(names)}" if names else "no named target is checked"
            raise click.UsageError(f"There is no target {unknown[0]!r}; {known}.", ctx)
        if names:
            for name in SHARED:
                del parameters[name]
            ctx.meta[RUNS] = [
                self._named(ctx, _Run(settings, shared, configured, name), args, parameters)
                for name in dict.fromkeys(only) or names
            ]
        return rest

    def _named(
        self,
        ctx: click.Context,
        run: _Run,
        args: list[str],
        parameters: Mapping[str, click.Parameter],
    ) -> _Run:
        """Parse the arguments once more, with the settings of a named target."""
        where = run.settings.where(run.name)
        own, command = _verify_settings.defaults(run.settings.targets[run.name], parameters, where)
        context = click.Context(self, info_name=ctx.info_name, default_map={**run.params, **own})
        try:
            super().parse_args(context, list(args))
        except click.UsageError as error:
            raise click.UsageError(f"{where} {error.format_message()}", ctx) from None
        return replace(run, params=context.params, command=command or run.command)


def _forget_settings(ctx: click.Context) -> None:
    """Drop what the settings would have examined, as arguments name it; options are kept."""
    if _is_given(ctx, "url") and any(isinstance(one, str) for one in ctx.params["given"]):
        message = "Give all URLs as arguments, or a single one with --url."
        raise click.UsageError(message, ctx)
    for name in EXAMINED:
        if not _is_given(ctx, name):
            ctx.params[name] = None if name == "url" else ()


def _kind(path: Path) -> str:
    return next(kind for kind, name in KINDS.items() if name.fullmatch(path.name))


def _by_url(run: _Run) -> list[_Run]:
    """Return a run for each URL that is given, named after it if there are several."""
    given = run.params["given"]
    urls = [one for one in given if isinstance(one, str)]
    if len(urls) < 2:  # noqa: PLR2004
        return [run]
    files = [one for one in given if isinstance(one, Path)]
    return [
        replace(run, params={**run.params, "given": [url, *files]}, name=hide_passwords(url))
        for url in urls
    ]


def _is_given(ctx: click.Context, name: str) -> bool:
    # For click 8.1, arguments are given even if there are none.
    is_given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    return is_given and bool(ctx.params[name])


def _seconds(value: Any) -> float:
    with suppress(TypeError, ValueError):
        if 0 < float(value) <= MAX_SECONDS:
            return float(value)
    raise click.BadParameter(f"must be a number of seconds greater than 0, not {value!r}.")


def _pair(value: str) -> tuple[str, str]:
    name, equals, text = str(value).partition("=")
    if not (name and equals) or "\0" in text:
        raise click.BadParameter(f"must be NAME=VALUE, not {value!r}.")
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
            is_endpoint = any(path in parts.path for path in ENDPOINTS)
            if is_endpoint or parts.query or parts.fragment:
                raise click.BadParameter(f"must be the URL before /__version__, not {shown}.")
            return value
    raise click.BadParameter(
        f"must be an http:// or https:// URL or unix:PATH, not {shown}. "
        "A command to start goes after --."
    )


def _header(value: str) -> tuple[str, str]:
    name, equals, text = value.partition("=")
    if not (equals and _is_token(name)) or _has_control(text):
        message = "must be NAME=VALUE, without control characters."  # it may be a secret
        raise click.BadParameter(message)
    return name, text


def _target(value: str) -> str | Path:
    path = Path(value)
    with suppress(OSError):  # of a name that is too long
        if path.is_file():
            return path
    if ":" in value:
        return _url(value)
    message = f"must be a file or a URL, not {value!r}. A command to start goes after --."
    raise click.BadParameter(message)


def _ignored_at(value: str) -> tuple[str, set[str]]:
    pattern, ids = _pair(value)
    return pattern, _rule_ids(ids)


def _output(value: str) -> tuple[str, str]:
    name, path = _pair(value)
    if name not in formats.FORMATS:
        raise click.BadParameter(
            f"the format must be one of {', '.join(formats.FORMATS)}, not {name!r}."
        )
    return name, path


_several = partial(click.option, multiple=True)
_files = partial(_several, type=click.Path(path_type=Path), metavar="FILE")
_pairs = partial(_several, type=_pair, metavar="NAME=VALUE")
_rules = partial(_several, type=_rule_ids, metavar="IDS")
_time = partial(click.option, type=_seconds, metavar="SECONDS", show_default=True)


@click.command(
    cls=_Command,
    short_help="Check an app, its image or deployment against Dockerflow.",
    options_metavar="[OPTIONS]",
    epilog="Exit codes: 0 passed, 1 findings, 2 could not run.",
)
@click.argument("given", nargs=-1, type=_target, metavar="[URL | DOCKERFILE]... [-- COMMAND ...]")
@click.option("--url", type=_url, metavar="URL", help="The URL of an app to check.")
@_files("--dockerfile", "dockerfiles", help="A Dockerfile to check.")
@_several("--image", "images", metavar="NAME", help="An image to check, from docker or podman.")
@_files("--archive", "archives", help="A saved image to check.")
@_several("--manifest", "manifests", metavar="FILE", help="A Kubernetes manifest; - is stdin.")
@_several(
    "--compose",
    "composes",
    metavar="FILE",
    help="A Compose file; - is stdin. Several are merged, as by docker compose.",
)
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
    "--read-only",
    is_flag=True,
    help="Make the container's file system read-only, except /tmp, a tmpfs.",
)
@click.option("--network", metavar="NAME", help="Network that the container joins.")
@_pairs("--env", "environ", help="Set a variable for the command or the container.")
@_pairs(
    "--break",
    "breaks",
    help="Start it again with a variable that breaks a backing service.",
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
    help="Path that takes more than 0.5 s to respond; SIGTERM is sent during a request to it.",
)
@_pairs("--build-arg", "build_args", help="Build argument of the Dockerfile.")
@click.option(
    "--target", metavar="STAGE", help="Stage of the Dockerfile to check; by default the last."
)
@_time(
    "--wait",
    show_default=False,
    help="How long to wait until the URL responds (default 0), or the command or container "
    "listens (default 20).",
)
@_time("--timeout", default=10.0, help="Time limit of one request.")
@_time("--grace", default=10.0, help="Time from SIGTERM to the end of the process.")
@_time("--limit", default=120.0, help="Time limit of all requests to one target.")
@_rules("--select", help="Check only these rules or groups of rules: DF101,DF2")
@_rules("--ignore", help="Check all rules but these.")
@_several(
    "--per-file-ignores",
    "ignored_at",
    type=_ignored_at,
    metavar="PATTERN=IDS",
    help="Ignore rules in matching places: services/legacy/*=DF203,DF204",
)
@_several("--only", metavar="NAME", help="Check only this target from the settings.")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Accept the findings in this file: only new ones fail.",
)
@click.option(
    "--update-baseline", is_flag=True, help="Write the current findings to the baseline file."
)
@_rules("--require", help="Fail unless each of these rules could be checked.")
@click.option(
    "--fail-on",
    type=click.Choice(FAIL_ON),
    default="error",
    show_default=True,
    help="What makes the exit code 1. Each value includes those before it, except never.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(list(formats.FORMATS)),
    default="text",
    show_default=True,
    help="Output format.",
)
@_several(
    "--output",
    "outputs",
    type=_output,
    metavar="FORMAT=FILE",
    help="Write the results to a file as well, such as sarif=verify.sarif",
)
@click.option("--explain", metavar="ID", help="Explain a rule and exit.")
@click.pass_context
def verify(
    ctx: click.Context,
    /,
    *,
    format_: str,
    outputs: tuple[tuple[str, str], ...],
    baseline: Path | None,
    update_baseline: bool,
    ignored_at: tuple[tuple[str, set[str]], ...],
    explain: str | None,
    **_: Any,
) -> None:
    """Check an app, its image or its deployment against the Dockerflow specification.

    The app runs at a URL or on a Unix socket (unix:PATH), or is a command or an image that is
    started with a free port as $PORT. It can be written in any language.

    \b
      dockerflow verify http://localhost:8000
      dockerflow verify --dockerfile Dockerfile -- python app.py
      dockerflow verify --dockerfile Dockerfile --image app --run --read-only
      helm template chart | dockerflow verify --manifest -
      docker logs app 2>&1 | dockerflow verify --logs -
    """  # noqa: D301 - click's mark for a paragraph that is not wrapped
    if explain is not None:
        _explain(explain)
        return
    runs: list[_Run] = ctx.meta[RUNS]
    for one in runs:
        try:
            _check_combination(one.targets(), _meant(ctx, one))
            one.required()
        except click.UsageError as error:
            where = f"{one.settings.where(one.name)} " if one.name in one.settings.targets else ""
            raise click.UsageError(where + error.message, ctx) from None
    accepted = _read_baseline(baseline, is_updated=update_baseline)
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    with _exit_on_sigterm(), console.status("starting") as status:
        reports = [_verify(one, ignored_at, status.update) for one in runs]
    if baseline is not None and update_baseline:
        accepted = baselines.update(reports, accepted)
        _write(baseline, baselines.dump(accepted))
    for report in reports:
        baselines.apply(report, accepted)
    if format_ == "text":
        out = Console()
        color = out.is_terminal and not out.no_color
        result = formats.text(reports, width=max(out.width, 60), color=color)
    else:
        result = formats.FORMATS[format_](reports)
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(result.encode(encoding, "replace").decode(encoding), nl=False)
    for name, path in outputs:
        _write(Path(path), formats.FORMATS[name](reports))
    ctx.exit(exit_code(reports))


def _verify(
    one: _Run, ignored_at: tuple[tuple[str, set[str]], ...], on_progress: Callable[[str], None]
) -> Report:
    targets = one.targets()
    report = run.verify(
        targets,
        selected=one.selected(),
        ignored_at=ignored_at,
        fail_on=one.params["fail_on"],
        required=one.required(),
        on_progress=on_progress,
    )
    report.name = one.name
    files = [*targets.dockerfiles, one.settings.file]
    report.file = str(files[0] or "")
    return report


def _read_baseline(path: Path | None, *, is_updated: bool) -> set[baselines.Entry]:
    if path is None:
        if is_updated:
            message = "--update-baseline needs --baseline."
            raise click.UsageError(message)
        return set()
    try:
        return baselines.read(path)
    except FileNotFoundError as error:
        if is_updated:
            return set()
        hint = "--update-baseline writes it."
        raise click.UsageError(f"{path} can't be read: {error.strerror}; {hint}") from None
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path} can't be read: {error}") from None


def _write(path: Path, content: str) -> None:
    try:
        path.write_bytes(content.encode("utf-8", "replace"))
    except OSError as error:
        raise click.UsageError(f"{path} can't be written: {error.strerror}") from None


def _meant(ctx: click.Context, one: _Run) -> set[str]:
    """Return the options that are for this run, and not for others as well."""
    own = one.settings.targets.get(one.name)
    is_only = own is None and not ctx.params["given"]
    return {
        option
        for parameter in ctx.command.params
        for option in parameter.opts
        if is_only or _is_given(ctx, str(parameter.name)) or option.lstrip("-") in (own or ())
    }


def _check_combination(targets: Targets, options: Collection[str]) -> None:
    """Refuse to do nothing, and any of these options that would have no effect."""
    is_started = (targets.run and bool(targets.images)) or bool(targets.command)
    has_app = targets.url is not None or is_started
    streams = (*targets.logs, *targets.manifests, *targets.composes, *targets.projects)
    files = (targets.dockerfiles, targets.images, targets.archives, targets.version_jsons)
    if not (has_app or any(files) or streams):
        message = (
            "There is nothing to check: give a URL, --dockerfile, --image, --archive, --manifest, "
            "--compose, --logs, --version-json, or a command after --."
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
        if value and not is_given and name in options:
            raise click.UsageError(f"{name} needs {needed}.")
    if streams.count("-") > 1:
        message = "- can be given once: there is only one stdin."
        raise click.UsageError(message)


def _explain(id_: str) -> None:
    rule = RULES.get(id_.strip().upper())
    if rule is None:
        raise click.UsageError(f"There is no rule {id_!r}; the rules are {', '.join(RULES)}.")
    click.echo(formats.explain(rule), nl=False)


@contextmanager
def _exit_on_sigterm() -> Generator[None]:
    """Turn SIGTERM into SystemExit, so that what was started is ended too."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
