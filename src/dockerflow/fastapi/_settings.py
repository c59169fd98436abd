"""The settings of an application: ``app.state.DOCKERFLOW_*``, read when they are used."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary

from dockerflow._core.app import Core, LiveCore
from dockerflow._core.endpoints import LBHEARTBEAT_JSON
from dockerflow._core.messages import Response
from dockerflow.checks.registry import Registry
from dockerflow.config import SETTINGS, Config, Picker


class Cores:
    """A core for each application that uses a router or a middleware."""

    def __init__(
        self,
        config: Config | None = None,
        registry: Registry | None = None,
        *,
        lbheartbeat: Response = LBHEARTBEAT_JSON,
    ) -> None:
        self._config = config
        self._registry = registry
        self._lbheartbeat = lbheartbeat
        self._by_app: WeakKeyDictionary[Any, LiveCore] = WeakKeyDictionary()

    def get(self, app: Any) -> Core:
        """Return the core for the settings that ``app`` has now.

        :raises ConfigError: when one of its first settings is wrong.
        """
        return self.live(app).get()

    def live(self, app: Any) -> LiveCore:
        """Return what follows the settings of ``app``.

        :raises ConfigError: when one of its first settings is wrong.
        """
        live = self._by_app.get(app)
        if live is None:
            # Not the app itself: it is the key, and would keep itself alive.
            live = self._by_app[app] = LiveCore(_reader(getattr(app, "state", None)), self._make)
        return live

    def _make(self, settings: Any) -> Core:
        config = self._config or Config.from_settings(settings)
        return Core(config, self._registry, lbheartbeat=self._lbheartbeat)


def _reader(state: Any) -> Callable[[], dict[str, Any]]:
    # Starlette's State finds that something isn't there by raising, 25 times for each request.
    values: Any = getattr(state, "_state", None)
    if type(values) is dict:
        return partial(Picker().pick, cast("dict[str, Any]", values))
    return lambda: {name: getattr(state, name) for name in SETTINGS if hasattr(state, name)}
