"""Falcon, for both protocols."""

from collections.abc import AsyncIterator
from typing import Any

import falcon
import falcon.asgi

from apps import BROKEN, CHUNKS, CORS


class Root:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.text = "hello"


class Fail:
    def on_get(self, req: Any, resp: Any) -> None:
        raise ValueError(BROKEN)


class Status500:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.status = 500
        resp.set_headers(CORS)


class Stream:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.stream = (chunk for chunk in CHUNKS)


def as_async(resource: Any) -> Any:
    class Async:
        async def on_get(self, req: Any, resp: Any) -> None:
            resource.on_get(req, resp)

    return Async()


class AsyncStream:
    async def on_get(self, req: Any, resp: Any) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for chunk in CHUNKS:
                yield chunk

        resp.stream = chunks()


def add_routes(app: Any, *resources: Any) -> Any:
    for path, resource in zip(("/", "/fail", "/status/500", "/stream"), resources, strict=True):
        app.add_route(path, resource)
    return app


def make_wsgi() -> falcon.App:
    return add_routes(falcon.App(), Root(), Fail(), Status500(), Stream())


def make_asgi() -> falcon.asgi.App:
    resources = map(as_async, (Root(), Fail(), Status500()))
    return add_routes(falcon.asgi.App(), *resources, AsyncStream())
