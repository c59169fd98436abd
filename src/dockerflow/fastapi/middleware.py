"""The two halves of the ASGI middleware, for ``app.add_middleware``."""

from __future__ import annotations

import logging
from typing import ClassVar

from dockerflow._core import EXCHANGE
from dockerflow.asgi import ASGIApp, DockerflowMiddleware, Receive, Scope, Send
from dockerflow.fastapi._settings import Cores

__all__ = ["DockerflowMiddleware", "MozlogRequestSummaryLogger", "RequestIdMiddleware"]


class RequestIdMiddleware(DockerflowMiddleware):
    """Give each request an id, and send it back.

    :param app: the application.
    :raises ConfigError: when a setting in the environment is wrong.
    """

    _has_endpoints: ClassVar[bool] = False
    _summarises: ClassVar[bool] = False

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app)
        self._cores = Cores()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection, by the settings that its application has now."""
        if "app" in scope:
            core = self._cores.get(scope["app"])
            if core is not self._core:
                self._set_up(self.app, core)
        await super().__call__(scope, receive, send)


class MozlogRequestSummaryLogger(RequestIdMiddleware):
    """Log a summary of each request.

    :param app: the application.
    :param logger: where to; by default ``request.summary``.
    :raises ConfigError: when a setting in the environment is wrong.
    """

    _summarises: ClassVar[bool] = True

    def __init__(self, app: ASGIApp, logger: logging.Logger | None = None) -> None:
        self._logger = logger
        inner = app if logger is None else self._with_logger(app, logger)
        super().__init__(inner)

    @staticmethod
    def _with_logger(app: ASGIApp, logger: logging.Logger) -> ASGIApp:
        async def tell(scope: Scope, receive: Receive, send: Send) -> None:
            if EXCHANGE in scope:
                scope[EXCHANGE].logger = logger
            await app(scope, receive, send)

        return tell
