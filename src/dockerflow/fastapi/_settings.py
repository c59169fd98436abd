"""The settings of an application, ``app.state.DOCKERFLOW_*``, read when they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast
from weakref import WeakKeyDictionary, ref

from dockerflow._core.app import Core
from dockerflow._core.endpoints import LBHEARTBEAT_JSON
from dockerflow._core.messages import Response
from dockerflow._core.settings import Reloading, present, warn_of_unknown
from dockerflow.checks.registry import Registry
from dockerflow.config import SETTINGS, Config


class CoreByApp:
    """A core for each application that uses a router or a middleware.

    :param config: the settings; by default those of the application.
    :param registry: the checks of the heartbeat; by default the registry of the process.
    :param lbheartbeat: the response of ``/__lbheartbeat__``.
    """

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
        self._by_app: WeakKeyDictionary[Any, Reloading[Core]] = WeakKeyDictionary()
        self._last: tuple[Callable[[], Any], Reloading[Core] | None] = (lambda: None), None

    def get(self, app: Any) -> Core:
        """Return the core for the settings that ``app`` has now.

        :raises ConfigError: when one of its first settings is invalid.
        """
        last, reloading = self._last
        if reloading is None or last() is not app:
            reloading = self._by_app.get(app)
            if reloading is None:
                # Not the app itself: it is the key, and would keep itself alive.
                state = getattr(app, "state", None)
                if self._config is None:
                    warn_of_unknown(getattr(state, "_state", ()), "app.state")
                read = _reader(state)
                reloading = self._by_app[app] = Reloading(read, self._make)
            self._last = ref(app), reloading
        return reloading.get()

    def _make(self, settings: Mapping[str, Any]) -> Core:
        config = self._config or Config.from_settings(settings)
        return Core(config, self._registry, lbheartbeat=self._lbheartbeat)


def _reader(state: Any) -> Callable[[], dict[str, Any]]:
    # Starlette's State raises for each setting that isn't there, which takes long.
    values: Any = getattr(state, "_state", None)
    if isinstance(values, dict):
        return partial(present, cast("dict[str, Any]", values))
    return lambda: {name: getattr(state, name) for name in SETTINGS if hasattr(state, name)}
