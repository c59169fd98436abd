"""What the extensions for Flask and Sanic share: checks by the names that python-dockerflow has."""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from dockerflow.checks.registry import Registry


class RegistersChecks:
    """Registers checks in ``registry``, which the extension sets."""

    registry: Registry

    @property
    def checks(self) -> OrderedDict[str, Callable[[], Any]]:
        """The registered checks by name. Deprecated: use ``dockerflow.checks.get_checks()``."""
        _deprecated("checks", "get_checks()")
        return OrderedDict(self.registry.get_checks())

    def check(self, func: Callable[..., Any] | None = None, name: str | None = None) -> Any:
        """Register a check. Deprecated: use ``dockerflow.checks.register``."""
        _deprecated("check", "register")
        return self.registry.register(func, name)

    def init_check(self, check: Callable[..., Any], obj: Any) -> None:
        """Register a check of ``obj``. Deprecated: use ``dockerflow.checks.register_partial``."""
        _deprecated("init_check", "register_partial")
        self._register_for(check, obj)

    def _register_for(self, check: Callable[..., Any], obj: Any) -> None:
        """Register a check of an extension or client, in the place of the same one of another.

        An app's factory makes new ones each time, and its last ones are those to check.
        """
        known = self.registry.get_checks().get(check.__name__)
        if isinstance(known, functools.partial) and known.func == check:
            self.registry.unregister(check.__name__)
        self.registry.register_partial(check, obj)


def _deprecated(name: str, instead: str) -> None:
    message = f"Dockerflow.{name} is deprecated: use dockerflow.checks.{instead}"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
