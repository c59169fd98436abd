"""The two halves of the ASGI middleware, for ``app.add_middleware``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar
from weakref import WeakKeyDictionary, ref

from dockerflow._core import Core, LiveCore, summary_logger
from dockerflow._endpoints import Endpoint
from dockerflow._http import Response
from dockerflow.asgi import (
    ASGIApp,
    DockerflowMiddleware,
    Receive,
    Scope,
    Send,
    _accept,  # pyright: ignore[reportPrivateUsage] - the package's own
)
from dockerflow.config import ConfigError
from dockerflow.fastapi import views
from dockerflow.fastapi._settings import Cores
from dockerflow.logging import MozlogHandler

__all__ = ["DockerflowMiddleware", "MozlogRequestSummaryLogger", "RequestIdMiddleware"]


class _Driver(DockerflowMiddleware):
    """The driver for one application, with the settings that it has now."""

    def __init__(self, app: ASGIApp, core: Core, logger: logging.Logger | None) -> None:
        self._set_up(app, core)
        self.core = core
        self._logger = logger

    async def _respond(self, endpoint: Endpoint, scope: Scope) -> Response:
        core, method = self.core, scope["method"]
        if endpoint == "lbheartbeat":  # which nothing of the app has a part in
            return core.respond(endpoint, method, None)
        return await views.answer(core, endpoint, method, scope.get("app"), _accept(scope))


class _IdDriver(_Driver):
    _has_endpoints: ClassVar[bool] = False
    _summarises: ClassVar[bool] = False


class _SummaryDriver(_Driver):
    _has_endpoints: ClassVar[bool] = False


class Installed:
    """A middleware with the settings that the application of a connection has now.

    :param app: the application within.
    :param cores: where the settings come from.
    """

    _driver: ClassVar[type[_Driver]] = _Driver
    _logger: logging.Logger | None = None

    def __init__(self, app: ASGIApp, cores: Cores) -> None:
        self.app = app
        self._cores = cores
        self._drivers: WeakKeyDictionary[Any, _Driver] = WeakKeyDictionary()
        self._last: tuple[Callable[[], Any], LiveCore, _Driver] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        try:
            # Around an application, and not within it, its settings aren't known.
            driver = self._driver_for(scope.get("app", self))
        except ConfigError as error:
            if scope["type"] != "lifespan":
                raise
            # The server ends, and shows the one line.
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await driver(scope, receive, send)

    def _driver_for(self, app: Any) -> _Driver:
        last = self._last
        live: LiveCore
        driver: _Driver | None
        if last is not None and last[0]() is app:
            live, driver = last[1:]
        else:
            live, driver = self._cores.live(app), self._drivers.get(app)
        core = live.get()
        if driver is None or driver.core is not core:
            driver = self._drivers[app] = self._driver(self.app, core, self._logger)
        if last is None or last[2] is not driver:
            # The next request is nearly always for the same application.
            self._last = ref(app), live, driver
        return driver


class RequestIdMiddleware(Installed):
    """Give each request an id, and send it back.

    :param app: the application.
    :raises ConfigError: when a setting in the environment is wrong.
    """

    _driver: ClassVar[type[_Driver]] = _IdDriver

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, Cores())
        self._cores.get(self)


class MozlogRequestSummaryLogger(RequestIdMiddleware):
    """Log a summary of each request.

    :param app: the application.
    :param logger: where to. By default ``request.summary``; being asked for, the summaries count
        as on there unless a level is set, and go to stdout as mozlog where no handler is set.
    :raises ConfigError: when a setting in the environment is wrong.
    """

    _driver: ClassVar[type[_Driver]] = _SummaryDriver

    def __init__(self, app: ASGIApp, logger: logging.Logger | None = None) -> None:
        self._logger = _Unconfigured(summary_logger) if logger is None else logger
        super().__init__(app)


class _Unconfigured(logging.Logger):
    """A logger that is heard before anybody has configured logging, which it leaves as it is."""

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logger.name)
        self._configured = logger

    @property
    def makeRecord(  # noqa: N802  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
    ) -> Callable[..., logging.LogRecord]:
        """What makes the records: the app may have a class of loggers that has its own way."""
        return self._configured.makeRecord

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - logging's name
        logger: logging.Logger | None = self._configured
        while logger is not None and logger is not logging.root:
            if logger.level or logger.disabled:
                return self._configured.isEnabledFor(level)
            logger = logger.parent
        return level >= logging.INFO and level > logging.root.manager.disable

    def handle(self, record: logging.LogRecord) -> None:
        if self._configured.hasHandlers():
            self._configured.handle(record)
        elif not self._configured.disabled and self._configured.filter(record):
            MozlogHandler().handle(record)  # a new one, since sys.stdout may be another by now
