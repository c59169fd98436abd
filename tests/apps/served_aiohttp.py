"""What tests/servers/ serves of aiohttp, on its own server and under gunicorn."""

import contextlib
import os

from aiohttp import web

from apps import BROKEN, CHUNKS, served
from dockerflow.aiohttp import setup


async def root(request: web.Request) -> web.Response:
    served.log.info("/")
    return web.Response(text=str(os.getpid()))


async def fail(request: web.Request) -> web.Response:
    raise ValueError(BROKEN)


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for part in served.stream("/stream", CHUNKS):
        await response.write(part)
    return response


async def upload(request: web.Request) -> web.Response:
    served.log.info("/upload")
    await request.read()
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=206)
    await response.prepare(request)
    served.log.info("/endless")
    with contextlib.suppress(ConnectionError):
        while True:
            await response.write(served.CHUNK)
    return response


def make(_: object = None) -> web.Application:
    app = web.Application()
    app.router.add_get("/", root)
    app.router.add_get("/fail", fail)
    app.router.add_get("/stream", stream)
    app.router.add_post("/upload", upload)
    app.router.add_get("/endless", endless)
    setup(app)
    return app


app = make()
