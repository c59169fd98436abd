"""The endpoints of the router."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dockerflow import version as versions
from dockerflow._core.app import GET_VERSION, Core
from dockerflow._core.endpoints import Endpoint
from dockerflow._core.exchange import EXCHANGE, Exchange
from dockerflow._core.messages import Request as CoreRequest
from dockerflow._core.messages import Response as CoreResponse
from dockerflow.asgi import make_request
from dockerflow.fastapi._settings import CoreByApp
from dockerflow.version import get_version

__all__ = ["error", "get_version", "heartbeat", "lbheartbeat", "version"]

logger: logging.Logger = logging.getLogger("dockerflow.fastapi.views")

default_cores: CoreByApp = CoreByApp()


async def version(request: Request) -> Response:
    """Serve ``/__version__``."""
    return await respond(default_cores, "version", request)


async def heartbeat(request: Request) -> Response:
    """Serve ``/__heartbeat__``."""
    return await respond(default_cores, "heartbeat", request)


async def lbheartbeat(request: Request) -> Response:
    """Serve ``/__lbheartbeat__``."""
    return await respond(default_cores, "lbheartbeat", request)


async def error(request: Request) -> Response:
    """Serve ``/__error__``.

    :raises RuntimeError: where the setting ``error_endpoint`` is on.
    """
    return await respond(default_cores, "error", request)


async def respond(cores: CoreByApp, endpoint: Endpoint, request: Request) -> Response:
    """Return the core's response as Starlette's."""
    app = request.scope["app"]
    core = cores.get(app)
    exchange: Exchange | None = request.scope.get(EXCHANGE)
    if exchange is not None:
        exchange.endpoint = endpoint
    if endpoint == "error" and not core.config.error_endpoint:
        raise HTTPException(404)
    made = await answer(core, endpoint, make_request(request.scope, core.settings), app)
    response = Response(made.body, made.status)
    response.raw_headers = made.raw_headers()
    return response


async def answer(core: Core, endpoint: Endpoint, request: CoreRequest, app: Any) -> CoreResponse:
    """Return the response of ``app``.

    :raises RuntimeError: at ``/__error__``.
    """
    return await core.aanswer(
        endpoint,
        request,
        debug=bool(getattr(app, "debug", False)),
        version=_version_of(app, core.config.version_path),
        error_logger=logger,
    )


def _version_of(app: Any, configured: object) -> Callable[[], object] | None:
    """Return what reads the version, if an app has replaced ``get_version`` or set ``APP_DIR``."""
    root: Any = getattr(getattr(app, "state", None), "APP_DIR", None) or os.environ.get("APP_DIR")
    if get_version is not GET_VERSION:
        return partial(get_version, root or "/app")
    if root is None or configured is not None:
        return None
    return partial(versions.get_version, root)
