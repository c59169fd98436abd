"""The two halves of the ASGI middleware, for ``app.add_middleware``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, ClassVar
from weakref import ref

from dockerflow._core.app import LiveCore, summary_logger
from dockerflow._core.endpoints import Endpoint
from dockerflow._core.messages import Response
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


class Installed(DockerflowMiddleware):
    """The driver, with the settings that the application of a connection has now.

    :param app: the application within.
    :param cores: where the settings come from.
    """

    _has_live_core: ClassVar[bool] = True

    def __init__(  # pyright: ignore[reportMissingSuperCall] - the core comes later
        self, app: ASGIApp, cores: Cores
    ) -> None:
        self.app = app
        self._cores = cores
        self._last: tuple[Callable[[], Any], LiveCore] | None = None

    def _update(self, scope: Scope) -> None:
        # Around an application, and not within it, its settings aren't known.
        app: Any = scope.get("app", self)
        last = self._last
        is_same = last is not None and last[0]() is app  # as nearly always
        live = last[1] if last is not None and is_same else self._cores.live(app)
        core = live.get()
        if not is_same or core is not self._core:
            self._set_up(self.app, core)
            self._has_installed = False
            self._last = ref(app), live

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._update(scope)
        except ConfigError as error:
            if scope["type"] != "lifespan":
                raise
            # The server ends, and shows the one line.
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await super()._pass_on(scope, receive, send)

    async def _respond(self, endpoint: Endpoint, scope: Scope) -> Response:
        core, method = self._core, scope["method"]
        if endpoint == "lbheartbeat":  # which nothing of the app has a part in
            return core.respond(endpoint, method, None)
        return await views.answer(core, endpoint, method, scope.get("app"), _accept(scope))


class RequestIdMiddleware(Installed):
    """Give each request an id, and send it back.

    :param app: the application.
    :raises ConfigError: when a setting in the environment is wrong.
    """

    _has_endpoints: ClassVar[bool] = False
    _summarises: ClassVar[bool] = False

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

    _summarises: ClassVar[bool] = True

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
