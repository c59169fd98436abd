"""Dockerflow for FastAPI and Starlette: a router, middlewares, or both by :func:`install`."""

from __future__ import annotations

from starlette.applications import Starlette

from dockerflow.asgi import DockerflowMiddleware
from dockerflow.checks.registry import Registry
from dockerflow.config import Config
from dockerflow.fastapi.router import make_router, router

__all__ = ["install", "make_router", "router"]


def install(
    app: Starlette, *, config: Config | None = None, registry: Registry | None = None
) -> None:
    """Serve Dockerflow's endpoints and summarise requests, outside of everything else in the app.

    Unlike what ``add_middleware`` adds, this is also around Starlette's page for exceptions, so
    that it carries the request's id too.

    :param app: a FastAPI or Starlette application that hasn't started yet.
    :param config: the settings; by default those of the environment.
    :param registry: the checks of the heartbeat; by default the process's own.
    :raises RuntimeError: when the app has started.
    :raises ConfigError: when a setting in the environment is wrong.

    .. versionadded:: 0.1.0
    """
    if app.middleware_stack is not None:
        message = "Dockerflow can't be installed after the application has started"
        raise RuntimeError(message)
    config = Config() if config is None else config
    build = app.build_middleware_stack

    def build_within() -> DockerflowMiddleware:
        return DockerflowMiddleware(build(), config=config, registry=registry)

    app.build_middleware_stack = build_within  # type: ignore[method-assign]
