"""The two halves of the ASGI middleware, for ``app.add_middleware``."""

from __future__ import annotations

import logging
from logging.handlers import QueueHandler

from dockerflow._core.app import Core
from dockerflow._core.endpoints import Endpoint
from dockerflow._core.exchange import Exchange, summary_logger
from dockerflow._core.messages import Response
from dockerflow.asgi import ASGIApp, DockerflowMiddleware, Receive, Scope, Send, make_request
from dockerflow.config import ConfigError
from dockerflow.fastapi import views
from dockerflow.fastapi._settings import CoreByApp
from dockerflow.logging import MozlogFormatter, MozlogHandler

__all__ = ["DockerflowMiddleware", "MozlogRequestSummaryLogger", "RequestIdMiddleware"]


class Installed(DockerflowMiddleware):
    """The driver, with the settings that the application of a connection has now.

    :param app: the application within.
    :param cores: where the settings come from.
    """

    def __init__(  # pyright: ignore[reportMissingSuperCall] - there is a core for each app
        self, app: ASGIApp, cores: CoreByApp
    ) -> None:
        self.app = app
        self._cores = cores

    def _core_of(self, scope: Scope) -> Core:
        # A middleware around the whole application doesn't know its settings.
        return self._cores.get(scope.get("app", self))

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._core_of(scope)
        except ConfigError as error:
            if scope["type"] != "lifespan":
                raise
            # The server ends, and shows the one line.
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await super()._pass_on(scope, receive, send)

    async def _answer(self, core: Core, endpoint: Endpoint, scope: Scope) -> Response:
        request = make_request(scope, core.settings)
        return await views.answer(core, endpoint, request, scope.get("app"))


class RequestIdMiddleware(Installed):
    """Give each request an ID, and return it in the response.

    :param app: the application.
    :raises ConfigError: when a setting in the environment is invalid.
    """

    _serves_endpoints = False

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, CoreByApp())
        self._cores.get(self)

    def _join(self, exchange: Exchange) -> None: ...


class MozlogRequestSummaryLogger(RequestIdMiddleware):
    """Log a summary of each request.

    :param app: the application.
    :param logger: where to. By default ``request.summary``, which gets the level INFO if it has
        none, and a handler that writes mozlog to standard output, unless it has a handler, or one
        of the root logger is from :mod:`dockerflow.logging` or has a formatter from there.
    :raises ConfigError: when a setting in the environment is invalid.
    """

    def __init__(self, app: ASGIApp, logger: logging.Logger | None = None) -> None:
        super().__init__(app)
        if logger is None:
            logger = summary_logger
            if logger.level == logging.NOTSET:
                logger.setLevel(logging.INFO)
            if not _is_configured(logger):
                logger.addHandler(MozlogHandler())
        # Apps may replace it.
        self.logger: logging.Logger = logger

    def _join(self, exchange: Exchange) -> None:
        exchange.logger = self.logger


def _is_configured(logger: logging.Logger) -> bool:
    """Whether the app has chosen how summaries are written."""
    while logger.parent is not None:
        if logger.handlers or not logger.propagate:
            return bool(logger.handlers)
        logger = logger.parent
    # A root logger that writes text is for other records: mozlog is what this middleware is for.
    return any(
        isinstance(handler, MozlogHandler | QueueHandler)
        or isinstance(handler.formatter, MozlogFormatter)
        for handler in logger.handlers
    )
