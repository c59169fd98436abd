"""Sanic, with its extension; it has an ASGI mode and a server of its own."""

import itertools
from typing import Any

from sanic import HTTPResponse, Request, Sanic, text

from apps import BROKEN, CHUNKS, CORS, settings_of
from dockerflow.checks import Registry
from dockerflow.config import Config
from dockerflow.sanic import Dockerflow

numbers = itertools.count()


def make_asgi() -> Sanic[Any, Any]:
    # Its way to have several apps in one process, one after the other.
    Sanic.test_mode = True
    Sanic._app_registry.clear()
    # Two apps must not have the same name.
    app: Sanic[Any, Any] = Sanic(f"app{next(numbers)}", configure_logging=False)
    add_routes(app)
    return app


def add_routes(app: Sanic[Any, Any]) -> None:
    @app.get("/")
    async def root(request: Request) -> HTTPResponse:
        return text("hello")

    @app.get("/fail")
    async def fail(request: Request) -> HTTPResponse:
        raise ValueError(BROKEN)

    @app.get("/status/500")
    async def status_500(request: Request) -> HTTPResponse:
        return text("oh", 500, CORS)

    @app.get("/stream")
    async def stream(request: Request) -> None:
        response = await request.respond()
        for chunk in CHUNKS:
            await response.send(chunk)
        await response.eof()


def build_sanic(config: Config, registry: Registry) -> Sanic[Any, Any]:
    app = make_asgi()
    app.config.update(settings_of(config))
    Dockerflow(app, registry=registry)
    return app
