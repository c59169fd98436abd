"""What the router's endpoints answer."""

from __future__ import annotations

import logging
import os
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dockerflow._core import messages as _http
from dockerflow._core.app import EXCHANGE, VERSION_FILE, Core, Exchange
from dockerflow._core.endpoints import Endpoint
from dockerflow.fastapi._settings import Cores
from dockerflow.version import get_version

__all__ = ["get_version", "heartbeat", "lbheartbeat", "version"]

logger: logging.Logger = logging.getLogger("dockerflow.fastapi.views")

_cores = Cores()
_get_version = get_version


async def version(request: Request) -> Response:
    """Answer ``/__version__``."""
    return await respond(_cores, "version", request)


async def heartbeat(request: Request) -> Response:
    """Answer ``/__heartbeat__``."""
    return await respond(_cores, "heartbeat", request)


async def lbheartbeat(request: Request) -> Response:
    """Answer ``/__lbheartbeat__``."""
    return await respond(_cores, "lbheartbeat", request)


async def respond(cores: Cores, endpoint: Endpoint, request: Request) -> Response:
    """Return the core's answer as Starlette's."""
    app = request.scope["app"]
    core = cores.get(app)
    exchange: Exchange | None = request.scope.get(EXCHANGE)
    if exchange is not None:
        exchange.endpoint = endpoint
    if endpoint == "error" and not core.config.error_endpoint:
        raise HTTPException(404)
    accept = ",".join(request.headers.getlist("accept"))
    made = await answer(core, endpoint, request.method, app, accept)
    response = Response(made.body, made.status)
    response.raw_headers = list(made.raw_headers())
    return response


async def answer(
    core: Core, endpoint: Endpoint, method: str, app: Any, accept: str
) -> _http.Response:
    """Return what ``app`` answers.

    :raises RuntimeError: at ``/__error__``.
    """
    results = None
    if core.needs_checks(endpoint, method):
        results = await core.registry.arun(core.config)
    content = _version(app, core.config.version_path) if endpoint == "version" else VERSION_FILE
    debug = bool(getattr(app, "debug", False))
    return core.respond(endpoint, method, results, accept=accept, debug=debug, version=content)


def _version(app: Any, configured: object) -> object:
    """Return what is to be served as the version, looked up when asked for."""
    is_ours = get_version is _get_version
    if is_ours and configured is not None:
        return VERSION_FILE  # cached, and found by the settings
    root: Any = getattr(getattr(app, "state", None), "APP_DIR", None) or os.environ.get("APP_DIR")
    if is_ours and root is None:
        return VERSION_FILE
    try:
        return get_version(root or "/app")
    except Exception as error:  # noqa: BLE001 - the answer says so
        return error
