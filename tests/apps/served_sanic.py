"""What the tests with real servers serve of Sanic, on its own server and on others."""

import asyncio
from pathlib import Path
from typing import Any

from sanic import HTTPResponse, Request, Sanic, text

from apps import served
from apps.sanic_app import add_routes
from dockerflow.sanic import Dockerflow

app: Sanic[Any, Any] = Sanic("served", configure_logging=False)
Dockerflow(app)
add_routes(app)


@app.after_server_start
async def ready(app: Sanic[Any, Any]) -> None:
    # Sanic answers requests before its start is over; a SIGTERM is lost by then.
    asyncio.get_running_loop().call_later(0.2, Path("ready").touch)


@app.get("/late")
async def late(request: Request) -> HTTPResponse:
    Path("late").touch()
    await asyncio.sleep(60)
    return text("late")


@app.get("/endless")
async def endless(request: Request) -> None:
    response = await request.respond(status=206)
    # Under ASGI Sanic doesn't notice that a client left.
    for _ in range(200):
        await response.send(served.CHUNK)
        await asyncio.sleep(0.01)
