"""What tests/servers/ serves of Sanic, on its own server and on others."""

import asyncio
import os
from pathlib import Path
from typing import Any

from sanic import HTTPResponse, Request, Sanic, text

from apps import BROKEN, CHUNKS, served
from dockerflow.sanic import Dockerflow

app: Sanic[Any, Any] = Sanic("served", configure_logging=False)
Dockerflow(app)


@app.after_server_start
async def ready(app: Sanic[Any, Any]) -> None:
    # Sanic answers requests before its start is over; a SIGTERM is lost by then.
    asyncio.get_running_loop().call_later(0.2, Path("ready").touch)


@app.get("/")
async def root(request: Request) -> HTTPResponse:
    served.log.info("/")
    return text(str(os.getpid()))


@app.get("/fail")
async def fail(request: Request) -> HTTPResponse:
    raise ValueError(BROKEN)


@app.get("/stream")
async def stream(request: Request) -> None:
    response = await request.respond()
    for part in served.stream("/stream", CHUNKS):
        await response.send(part)
    await response.eof()


@app.post("/upload", stream=True)
async def upload(request: Request) -> HTTPResponse:
    served.log.info("/upload")
    async for _ in request.stream:
        pass
    return text("")


@app.get("/late")
async def late(request: Request) -> HTTPResponse:
    served.log.info("/late")
    await asyncio.sleep(60)
    return text("late")


@app.get("/endless")
async def endless(request: Request) -> None:
    response = await request.respond(status=206)
    await response.send(served.CHUNK)
    served.log.info("/endless")
    # Under ASGI Sanic doesn't notice that a client left.
    for _ in range(200):
        await asyncio.sleep(0.01)
        await response.send(served.CHUNK)
