"""``dockerflow checks``: runs an app's registered checks without HTTP."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from pathlib import Path
from typing import Any, Final, cast

import click

from dockerflow._core.app import Core
from dockerflow.asgi import DockerflowMiddleware
from dockerflow.checks import STATUSES, CheckResults, Registry, level_to_text
from dockerflow.checks._check import signature
from dockerflow.cli._exit import FAILED
from dockerflow.config import ConfigError
from dockerflow.logging._json import escape_controls

_FAIL_LEVELS: Final = {name: level for level, name in STATUSES.items() if level >= logging.WARNING}
_MAX_WRAPPERS: Final = 20


EXAMPLES: Final = """\b
Examples:
  dockerflow checks myapp.main:app
  dockerflow checks myapp:create_app --format json
  dockerflow checks --django mysite.settings --fail-level warning
"""


@click.command(epilog=EXAMPLES)
@click.argument("target", required=False)
@click.option(
    "--django",
    "settings",
    metavar="SETTINGS",
    help="Run the checks of the Django project with this settings module. Without TARGET, "
    "the default is $DJANGO_SETTINGS_MODULE.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    help="A table, or the heartbeat's JSON with durations (seconds) and exceptions.",
)
@click.option(
    "--fail-level",
    type=click.Choice(list(_FAIL_LEVELS)),
    default="error",
    help="Lowest level that makes the exit code 1; by default error, as for the heartbeat.",
)
@click.option("--verbose", is_flag=True, help="Log to standard error, with tracebacks.")
def checks(
    target: str | None, settings: str | None, format_: str, fail_level: str, *, verbose: bool
) -> None:
    """Run an app's registered checks without HTTP, for CI, jobs or interactive use.

    TARGET is MODULE or MODULE:ATTRIBUTE, imported with the working directory on the path. The
    attribute may be an app, a function without arguments that makes one, or a registry. An app
    without its own registry uses the default one, which is filled when the module is imported. A
    Flask app's checks run in its app context. A check that isn't critical counts as a warning at
    most.

    Exit codes: 0 if nothing fails, 1 if something does, 2 if the checks could not be run. The app's
    output goes to standard error.
    """
    with redirect_stdout(sys.stderr):
        if verbose:
            logging.basicConfig(level=logging.INFO, stream=sys.stderr)
        core = _load(target, settings)
        with _exceptions(is_logged=verbose) as exceptions:
            results = core.run_checks()
            core.registry.close()  # so that observers have been called
    if not results.statuses:
        click.echo(f"dockerflow checks: {target or settings or 'Django'} has no checks", err=True)
    click.echo((_as_json if format_ == "json" else _as_table)(results, exceptions))
    if results.level >= _FAIL_LEVELS[fail_level]:
        raise click.exceptions.Exit(FAILED)


def _load(target: str | None, settings: str | None) -> Core:
    """Load the app. Any exception of its import is reported in one line, with its place."""
    if target is None:
        settings = settings or os.environ.get("DJANGO_SETTINGS_MODULE")
        if not settings:
            message = (
                "TARGET is required, such as myapp.main:app, or --django with a settings module."
            )
            raise click.UsageError(message)
        os.environ["DJANGO_SETTINGS_MODULE"] = settings
    elif settings is not None:
        message = "TARGET and --django can't be combined."
        raise click.UsageError(message)
    elif not _is_target(target):
        shown = escape_controls(repr(target[:80]))
        message = f"TARGET must be MODULE or MODULE:ATTRIBUTE, such as myapp.main:app, not {shown}."
        raise click.UsageError(message)
    sys.path.insert(0, str(Path.cwd()))
    try:
        return _load_django() if target is None else _load_target(target)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an app may raise anything
        where = [
            f" ({frame.filename}, line {frame.lineno})"
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename not in (__file__, importlib.__file__)
            and not frame.filename.startswith("<frozen")
        ]
        name = settings if target is None else target
        message = f"{name!r} can't be loaded: {_in_one_line(error)}{''.join(where[-1:])}"
        raise click.ClickException(escape_controls(message)) from None


def _in_one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _is_target(text: str) -> bool:
    module, colon, path = text.removesuffix("()").partition(":")
    names = [*module.split("."), *(path.split(".") if colon else ())]
    return all(map(str.isidentifier, names))


def _load_target(target: str) -> Core:
    module, _, path = target.partition(":")
    found: Any = importlib.import_module(module)
    if not path:
        return Core()
    for name in path.removesuffix("()").split("."):
        found = getattr(found, name)
    if inspect.isfunction(found) and _needs_no_arguments(found):  # unlike an ASGI or WSGI app
        found = found()
    if isinstance(found, Registry):
        return Core(registry=found)
    if type(found).__module__.startswith("django.core.handlers"):
        return _load_django()
    wrapped = found
    for _ in range(_MAX_WRAPPERS):
        for core in _cores(wrapped):
            if isinstance(core, Core):
                return core
        names = ("wsgi_app", "asgi_app", "app")  # Flask's, Quart's and a middleware's
        wrapped = next(filter(None, (getattr(wrapped, name, None) for name in names)), None)
    if not _is_app(found):
        kind = type(found).__name__
        message = f"it is a {kind}, not an app, a registry, or a function that makes an app"
        raise TypeError(message)
    return Core(check_context=getattr(found, "app_context", nullcontext))  # Flask's, if any


def _is_app(found: object) -> bool:
    """Whether it can be called as WSGI or ASGI has it, with two or three arguments."""
    if not callable(found):
        return False
    for arguments in ((None,) * 2, (None,) * 3):
        with suppress(TypeError, ValueError):  # ValueError: its arguments aren't known
            signature(found).bind(*arguments)
            return True
    return False


def _needs_no_arguments(function: Callable[..., Any]) -> bool:
    try:
        signature(function).bind()
    except TypeError:
        return False
    return True


def _cores(app: Any) -> Iterator[object]:
    """Return what each place has where an adapter or a middleware keeps its core."""
    yield getattr(app, "_core", None)  # a middleware
    extensions: Any = getattr(app, "extensions", None)
    if isinstance(extensions, dict):  # Flask
        yield getattr(cast("dict[str, Any]", extensions).get("dockerflow.site"), "_core", None)
    if (reloading := getattr(getattr(app, "ctx", None), "dockerflow_cores", None)) is not None:
        yield reloading.get()  # Sanic
    for owner in (app, *_endpoints(app)):  # FastAPI's install() and make_router()
        if (core_by_app := getattr(owner, "dockerflow_cores", None)) is not None:
            yield core_by_app.get(app)
    for middleware in getattr(app, "user_middleware", ()):  # Starlette's add_middleware()
        if getattr(middleware, "cls", None) is DockerflowMiddleware:
            yield Core(**middleware.kwargs)
    for middleware in getattr(app, "middlewares", ()):  # aiohttp
        yield getattr(getattr(middleware, "__self__", None), "_core", None)


def _endpoints(router: Any) -> Iterator[Any]:
    """Return the functions behind FastAPI's routes."""
    for route in getattr(router, "routes", ()):
        yield getattr(route, "endpoint", None)
        yield from _endpoints(getattr(route, "original_router", None))  # newer releases


def _load_django() -> Core:
    # By their names, as Django has no types.
    importlib.import_module("django").setup()
    import_string = importlib.import_module("django.utils.module_loading").import_string
    for path in importlib.import_module("django.conf").settings.MIDDLEWARE:
        import_string(path)  # may be a subclass of ours, and then imports it
    if sys.modules.keys().isdisjoint(("dockerflow.django.apps", "dockerflow.django.middleware")):
        return Core()  # the heartbeat is that of a driver
    from dockerflow.django import _settings, checks  # they need Django set up

    checks.update()
    return _settings.reloading().get()


@contextmanager
def _exceptions(*, is_logged: bool) -> Generator[dict[str, str]]:
    """Collect the exceptions that checks raise, by the message that is logged for each.

    Results only have their class, as the heartbeat may be public.
    """
    exceptions: dict[str, str] = {}

    def collect(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] and isinstance(record.args, tuple):
            message = ": ".join(map(str, record.args[:2]))  # its ID and text, without a detail
            exceptions[message] = _in_one_line(record.exc_info[1])
        return is_logged

    logger = logging.getLogger("dockerflow.checks.registry")
    logger.disabled = False  # an app's logging settings may have disabled all existing loggers
    logger.addFilter(collect)
    try:
        yield exceptions
    finally:
        logger.removeFilter(collect)


def _messages(results: CheckResults, name: str) -> list[str]:
    """Return the messages of a check, as they are logged."""
    detail = results.details.get(name)
    return [f"{id_}: {text}" for id_, text in detail.messages.items()] if detail else []


def _as_json(results: CheckResults, exceptions: dict[str, str]) -> str:
    content = {
        "status": level_to_text(results.level),
        "checks": results.statuses,
        "details": results.details,
        "durations": {name: round(seconds, 6) for name, seconds in results.durations.items()},
        "exceptions": {
            name: exceptions[message]
            for name in results.statuses
            for message in _messages(results, name)
            if message in exceptions
        },
    }
    return json.dumps(content, indent=2)


def _as_table(results: CheckResults, exceptions: dict[str, str]) -> str:
    width = max(map(len, (*results.statuses, "status")))
    lines: list[str] = []
    for name, status in results.statuses.items():
        lines.append(
            f"{escape_controls(name):<{width}}  {status:<8}  {results.durations[name]:.3f} s"
        )
        for message in _messages(results, name):
            lines.append(f"    {escape_controls(message)}")
            if message in exceptions:
                lines.append(f"    {escape_controls(exceptions[message])}")
    lines.append(f"{'status':<{width}}  {level_to_text(results.level)}")
    return "\n".join(lines)
