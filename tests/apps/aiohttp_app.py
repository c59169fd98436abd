"""aiohttp.web, which has a server of its own and knows no ASGI: a bridge serves it to the tests."""

import asyncio
import contextlib
from collections.abc import Callable
from http.client import HTTPResponse
from io import BytesIO
from typing import Any
from urllib.parse import quote

from aiohttp import web

from apps import BROKEN, CHUNKS, CORS
from dockerflow.aiohttp import setup
from dockerflow.checks import Registry
from dockerflow.config import Config


async def root(request: web.Request) -> web.Response:
    return web.Response(text="hello")


async def fail(request: web.Request) -> web.Response:
    raise ValueError(BROKEN)


async def status_500(request: web.Request) -> web.Response:
    return web.Response(text="oh", status=500, headers=CORS)


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for chunk in CHUNKS:
        await response.write(chunk)
    return response


def make_app() -> web.Application:
    app = web.Application()
    app.router.add_get("/", root)
    app.router.add_get("/fail", fail)
    app.router.add_get("/status/500", status_500)
    app.router.add_get("/stream", stream)
    return app


class Bridge:
    """ASGI in front of aiohttp's own server, which runs in the same process.

    :param make: makes the application, which is made once for each mount point.
    """

    def __init__(self, make: Callable[[], web.Application]) -> None:
        self.make = make
        self.runners: dict[str, web.AppRunner] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                if event == "shutdown":
                    for runner in self.runners.values():
                        await runner.cleanup()
                await send({"type": f"lifespan.{event}.complete"})
            return
        body = (await receive())["body"]
        raw = await self.send(scope, body)
        response = HTTPResponse(Received(raw), method=scope["method"])  # type: ignore[arg-type]
        response.begin()
        content = response.read()
        # Of the server and the connection, not of the application.
        own = ("connection", "date", "server", "transfer-encoding")
        headers = [
            (name.encode(), value.encode("latin-1"))
            for name, value in response.getheaders()
            if name.lower() not in own
        ]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def send(self, scope: Any, body: bytes) -> bytes:
        """Send a request; return all that comes until the connection is closed."""
        address = (await self.runner(scope.get("root_path", ""))).addresses[0]
        reader, writer = await asyncio.open_connection(*address)
        path = scope.get("raw_path") or quote(scope["path"]).encode()
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        lines = [b"%b %b%b HTTP/1.1" % (scope["method"].encode(), path, query)]
        lines += [b"%b: %b" % header for header in scope["headers"] if header[0] != b"connection"]
        writer.write(b"\r\n".join([*lines, b"connection: close", b"", body]))
        raw = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        return raw

    async def runner(self, mount: str) -> web.AppRunner:
        if mount not in self.runners:
            app = self.make()
            if mount:
                inner, app = app, web.Application()
                app.add_subapp(mount, inner)
            self.runners[mount] = runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        return self.runners[mount]


class Received:
    """What http.client takes for a socket."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def makefile(self, mode: str) -> BytesIO:
        return BytesIO(self.raw)


def make_asgi() -> Bridge:
    return Bridge(make_app)


def build_aiohttp(config: Config, registry: Registry) -> Bridge:
    def make() -> web.Application:
        app = make_app()
        setup(app, config=config, registry=registry)
        return app

    return Bridge(make)
