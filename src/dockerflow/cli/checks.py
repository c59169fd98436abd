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
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, cast

import click

from dockerflow.checks import STATUSES, CheckResults, Registry, default_registry, level_to_text
from dockerflow.cli._exit import FAILED
from dockerflow.config import Config, ConfigError

_FAIL_LEVELS: Final = {name: level for level, name in STATUSES.items() if level >= logging.WARNING}
_MAX_WRAPPERS: Final = 20


class _Checks(NamedTuple):
    """What to run: a registry, its settings (``None``: those of the environment), its context."""

    registry: Registry
    config: Config | None = None
    context: Callable[[], AbstractContextManager[Any]] = nullcontext


@click.command()
@click.argument("target", required=False)
@click.option(
    "--django",
    "settings",
    metavar="SETTINGS",
    help="Run the checks of the Django project with this settings module; "
    "$DJANGO_SETTINGS_MODULE does the same where there is no TARGET.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    help="A table for people, or the heartbeat's JSON with durations (seconds) and exceptions.",
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
    """Run an app's registered checks without HTTP, for CI, a job or a person at a shell.

    TARGET is MODULE or MODULE:ATTRIBUTE, imported with the working directory on the path. The
    attribute may be an app, a function without arguments that makes one, or a registry. Where an
    app has no registry of its own it is that of the process, which importing the module fills.
    A Flask app's checks run in its app context. A check that isn't critical counts as a warning
    at most.

    \b
      dockerflow checks myapp.main:app
      dockerflow checks myapp:create_app --format json
      dockerflow checks --django mysite.settings --fail-level warning

    Exit codes: 0 if nothing fails, 1 if something does, 2 if the checks could not be run. What the
    app prints goes to standard error.
    """  # noqa: D301 - \b is click's sign for text that keeps its lines
    with redirect_stdout(sys.stderr):
        if verbose:
            logging.basicConfig(level=logging.INFO, stream=sys.stderr)
        try:
            loaded = _load(target, settings)
            with _exceptions(propagate=verbose) as exceptions, loaded.context():
                results = loaded.registry.run(loaded.config)
        except ConfigError as error:
            raise click.ClickException(str(error)) from None
    if not results.statuses:
        click.echo(f"dockerflow checks: {target or settings or 'Django'} has no checks", err=True)
    click.echo((_as_json if format_ == "json" else _as_table)(results, exceptions))
    if results.level >= _FAIL_LEVELS[fail_level]:
        raise click.exceptions.Exit(FAILED)


def _load(target: str | None, settings: str | None) -> _Checks:
    if target is not None and settings is not None:
        message = "TARGET and --django exclude each other."
        raise click.UsageError(message)
    sys.path.insert(0, str(Path.cwd()))
    if target is None:
        settings = settings or os.environ.get("DJANGO_SETTINGS_MODULE")
        if not settings:
            message = "TARGET is missing, such as myapp.main:app."
            raise click.UsageError(message)
        os.environ["DJANGO_SETTINGS_MODULE"] = settings
        with _one_line(settings):
            return _of_django()
    module, _, path = target.partition(":")
    with _one_line(target):
        found: Any = importlib.import_module(module)
        if not path:
            return _Checks(default_registry)
        for name in path.removesuffix("()").split("."):
            found = getattr(found, name)
        if inspect.isfunction(found) and not _parameters(found):
            found = found()
        return _of(found)


@contextmanager
def _one_line(target: str) -> Generator[None]:
    """Turn whatever importing an app raises into one line that says what and where."""
    try:
        yield
    except (click.ClickException, ConfigError):
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an app may raise anything
        text = " ".join(str(error).split())
        where = [
            f" ({frame.filename}, line {frame.lineno})"
            for frame in traceback.extract_tb(error.__traceback__)
            if not frame.filename.startswith("<frozen") and frame.filename != __file__
        ]
        message = f"{target!r} can't be loaded: {type(error).__name__}: {text}{''.join(where[-1:])}"
        raise click.ClickException(message) from None


def _parameters(function: Any) -> list[str]:
    """Return the names of those that must be given: an ASGI or WSGI app has some."""
    return [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]


def _of(app: Any) -> _Checks:
    """Return the checks of an app: of our middleware around it, or in it, or else the process's."""
    if isinstance(app, Registry):
        return _Checks(app)
    if type(app).__module__.startswith("django.core.handlers"):
        return _of_django()
    context = getattr(app, "app_context", nullcontext)
    for core in _cores(app):
        registry = getattr(core, "registry", None)
        if isinstance(registry, Registry):
            return _Checks(registry, getattr(core, "config", None), context)
    return _Checks(default_registry, None, context)


def _cores(app: Any) -> Iterator[Any]:
    """Return what has the registry, and perhaps the settings, wherever ours may be in an app."""
    extensions: Any = getattr(app, "extensions", None)
    if isinstance(extensions, dict):  # Flask's, whatever was put around the app since
        yield getattr(cast("dict[str, Any]", extensions).get("dockerflow.site"), "_core", None)
    live = getattr(getattr(app, "ctx", None), "dockerflow_live", None)  # Sanic's
    if live is not None:
        yield live.get()
    for wrapper in _wrappers(app):
        yield getattr(wrapper, "_core", None)
    cores = getattr(app, "_dockerflow", None)  # what dockerflow.fastapi.install() leaves
    if cores is not None:
        yield cores.get(app)
    for middleware in getattr(app, "user_middleware", ()):  # Starlette's, not built yet
        yield SimpleNamespace(**getattr(middleware, "kwargs", {}))
    for endpoint in _endpoints(app):
        if hasattr(endpoint, "_dockerflow"):  # a router's, of dockerflow.fastapi
            yield endpoint._dockerflow.get(app)  # noqa: SLF001 - the package's own


def _endpoints(router: Any) -> Iterator[Any]:
    """Return the functions behind FastAPI's routes."""
    for route in getattr(router, "routes", ()):
        yield getattr(route, "endpoint", None)
        yield from _endpoints(getattr(route, "original_router", None))  # of newer releases


def _wrappers(app: Any) -> Iterator[Any]:
    """Return the app, what is around it and in it, from the outside."""
    for _ in range(_MAX_WRAPPERS):
        if app is None:
            return
        yield app
        app = getattr(app, "wsgi_app", None) or getattr(app, "app", None)


def _of_django() -> _Checks:
    importlib.import_module("django").setup()
    if not _uses_adapter():
        return _Checks(default_registry)
    from dockerflow.django import _settings, checks  # noqa: PLC0415 - they need Django set up

    checks.update()
    return _Checks(default_registry, _settings.live().get().config, checks.in_surroundings)


def _uses_adapter() -> bool:
    """Whether the project's heartbeat is that of ``dockerflow.django``, not of a bare driver."""
    # By their names, as Django has no types.
    if importlib.import_module("django.apps").apps.is_installed("dockerflow.django"):
        return True
    import_string = importlib.import_module("django.utils.module_loading").import_string
    settings = importlib.import_module("django.conf").settings
    middleware: list[Any] = [import_string(path) for path in settings.MIDDLEWARE]
    module = sys.modules.get("dockerflow.django.middleware")
    return module is not None and any(
        isinstance(item, type) and issubclass(item, module.DockerflowMiddleware)
        for item in middleware
    )


@contextmanager
def _exceptions(*, propagate: bool) -> Generator[dict[str, str]]:
    """Give a dictionary that is filled with what checks raised, by the message about it.

    The results name an exception's class only, as anybody may read the heartbeat.
    """
    raised: dict[str, str] = {}

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            exception = record.exc_info[1] if record.exc_info else None
            if exception is not None and isinstance(record.args, tuple) and record.args:
                text = " ".join(str(exception).split())
                raised[str(record.args[-1])] = f"{type(exception).__name__}: {text}"

    logger = logging.getLogger("dockerflow.checks.registry")
    collector = Collector()
    before = logger.propagate, logger.disabled
    logger.addHandler(collector)
    # An app's logging settings may have disabled every logger that was there already.
    logger.propagate, logger.disabled = propagate, False
    try:
        yield raised
    finally:
        logger.removeHandler(collector)
        logger.propagate, logger.disabled = before


def _as_json(results: CheckResults, exceptions: dict[str, str]) -> str:
    by_check = {
        name: exceptions[message]
        for name, detail in results.details.items()
        for message in detail["messages"].values()
        if message in exceptions
    }
    content = {
        "status": level_to_text(results.level),
        "checks": results.statuses,
        "details": results.details,
        "durations": {name: round(seconds, 6) for name, seconds in results.durations.items()},
        "exceptions": by_check,
    }
    return json.dumps(content, indent=2)


def _as_table(results: CheckResults, exceptions: dict[str, str]) -> str:
    width = max(map(len, (*results.statuses, "status")))
    lines: list[str] = []
    for name, status in results.statuses.items():
        lines.append(f"{name:<{width}}  {status:<8}  {results.durations[name]:.3f} s")
        detail = results.details.get(name)
        for id_, message in detail.messages.items() if detail else ():
            lines.append(f"    {id_}: {message}")
            if message in exceptions:
                lines.append(f"    {exceptions[message]}")
    lines.append(f"{'status':<{width}}  {level_to_text(results.level)}")
    return "\n".join(lines)
