"""Dockerflow for FastAPI and Starlette: a router, middlewares, or both by :func:`install`."""

from __future__ import annotations

from starlette.applications import Starlette

from dockerflow._core.endpoints import LBHEARTBEAT
from dockerflow.asgi import ASGIApp
from dockerflow.checks.registry import Registry
from dockerflow.config import Config
from dockerflow.fastapi._settings import CoreByApp
from dockerflow.fastapi.middleware import Installed
from dockerflow.fastapi.router import make_router, router
from dockerflow.fastapi.views import error, heartbeat, lbheartbeat, version

__all__ = ["error", "heartbeat", "install", "lbheartbeat", "make_router", "router", "version"]


def install(
    app: Starlette, *, config: Config | None = None, registry: Registry | None = None
) -> None:
    """Serve Dockerflow's endpoints and log request summaries, around everything else in the app.

    Unlike a middleware added with ``add_middleware``, it also wraps Starlette's error page, which
    then has the request ID, too.

    :param app: a FastAPI or Starlette application that hasn't started yet.
    :param config: the settings; by default ``app.state.DOCKERFLOW_*``, then the environment.
    :param registry: the checks of the heartbeat; by default the registry of the process.
    :raises RuntimeError: when the app has started.
    :raises ConfigError: when a setting is wrong.
    :raises TypeError: when ``config`` isn't a ``Config``, or ``registry`` isn't a ``Registry``.

    .. versionadded:: 0.1.0
    """
    if app.middleware_stack is not None:
        message = "Dockerflow can't be installed after the application has started"
        raise RuntimeError(message)
    cores = CoreByApp(config, registry, lbheartbeat=LBHEARTBEAT)
    # A wrong setting fails here, and one that comes later when the application starts.
    CoreByApp(config, registry).get(app)
    build = app.build_middleware_stack

    def build_within() -> ASGIApp:
        return Installed(build(), cores)

    app.dockerflow_cores = cores  # type: ignore[attr-defined]  # for the command line
    app.build_middleware_stack = build_within  # type: ignore[method-assign]
