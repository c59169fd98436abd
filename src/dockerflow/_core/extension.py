"""The common part of the extensions for Flask and Sanic."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from dockerflow import version
from dockerflow._core.app import GET_VERSION, Core
from dockerflow._core.exchange import summary_logger
from dockerflow._core.settings import present
from dockerflow.checks.registry import Registry, default_registry
from dockerflow.config import Config

ALREADY_ADDED: Final = "this app already has Dockerflow: call Dockerflow(app) or init_app(app) once"

VersionCallback = Callable[[str], Any]
_V = TypeVar("_V", bound=VersionCallback)


class Extension:
    """Dockerflow in the form of a framework's extension.

    :param silenced_checks: IDs of check messages to leave out.
    :param registry: the checks of the heartbeat; by default the registry of the process.
    :param logger: for what goes wrong in the extension, and for ``/__error__``.
    """

    def __init__(
        self,
        silenced_checks: Iterable[str] | None,
        registry: Registry | None,
        logger: logging.Logger,
    ) -> None:
        logger.disabled = False  # by dictConfig(), if the module was imported before
        # Apps may replace these loggers.
        self.logger: logging.Logger = logger
        # A list is kept, as the app may change it.
        self.silenced_checks: list[str] = (
            silenced_checks if isinstance(silenced_checks, list) else list(silenced_checks or ())
        )
        self.registry: Registry = default_registry if registry is None else registry
        self.summary_logger: logging.Logger = summary_logger
        self._version_callback: VersionCallback = version.get_version

    def version_callback(self, func: _V) -> _V:
        """Have ``func`` return the content of ``/__version__``; a decorator.

        It is called with the version path and returns an object for JSON, or ``None`` when there
        is no version. For Flask it runs within the app's context, for Sanic it may be async.
        """
        self._version_callback = func
        return func

    @property
    def checks(self) -> dict[str, Callable[[], Any]]:
        """The registered checks by name. Deprecated: use ``dockerflow.checks.get_checks()``."""
        _deprecated("checks", "get_checks()")
        return self.registry.get_checks()

    def check(self, func: Callable[..., Any] | None = None, name: str | None = None) -> Any:
        """Register a check. Deprecated: use ``dockerflow.checks.register``."""
        _deprecated("check", "register")
        return self.registry.register(func, name)

    def init_check(self, check: Callable[..., Any], obj: Any) -> Any:
        """Register a check of ``obj``. Deprecated: use ``dockerflow.checks.register_partial``."""
        _deprecated("init_check", "register_partial")
        return self.registry.register_partial(check, obj)


def read_settings(
    extension: Extension, settings: Mapping[str, Any], version_path: str | Path | None
) -> dict[str, Any]:
    """Return our settings among an app's, and the arguments of the extension."""
    return {
        **present(settings),
        # Apps may change these attributes, too.
        "version_path": version_path,
        "silenced_checks": tuple(extension.silenced_checks or ()),
    }


def make_config(settings: Mapping[str, Any], default_version_path: str) -> Config:
    """Make a config of what :func:`read_settings` returns; arguments take precedence.

    :raises ConfigError: when a setting is invalid.
    """
    given = {name: settings[name] for name in ("version_path", "silenced_checks")}
    return Config.from_settings(
        settings,
        defaults={"version_path": default_version_path},
        **{name: value for name, value in given.items() if value},
    )


def version_of(extension: Extension, core: Core) -> Callable[[], object] | None:
    """Return the argument ``version`` of :meth:`Core.answer`."""
    callback = extension._version_callback  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    if callback is GET_VERSION:
        return None
    return partial(callback, str(core.config.version_path))


def is_overridden(instance: object, name: str, base: type) -> bool:
    """Whether a subclass, or an attribute of the instance, replaces a method of ``base``."""
    return getattr(getattr(instance, name), "__func__", None) is not getattr(base, name)


def _deprecated(name: str, instead: str) -> None:
    message = f"Dockerflow.{name} is deprecated: use dockerflow.checks.{instead}"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
