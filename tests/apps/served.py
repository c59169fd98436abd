"""What the tests with real servers serve; mozlog goes to stdout."""

import asyncio
import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from apps import bare
from dockerflow import checks
from dockerflow.asgi import DockerflowMiddleware as ASGIMiddleware
from dockerflow.logging import MozlogHandler
from dockerflow.wsgi import DockerflowMiddleware as WSGIMiddleware

logger = logging.getLogger("request.summary")
logger.addHandler(MozlogHandler(stream=sys.stdout, name="served"))
logger.setLevel(logging.INFO)
logger.propagate = False

CHUNK = b"x" * 65_536


@checks.register
async def good() -> None: ...


@checks.register
def sync() -> None: ...


if "HUNG" in os.environ:

    @checks.register
    def hung() -> None:
        threading.Event().wait()


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise RuntimeError("this app takes no lifespan events")
    if scope["path"] != "/endless":
        await bare.asgi_app(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 206, "headers": []})
    await receive()
    gone = asyncio.ensure_future(receive())
    while not gone.done():
        await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        await asyncio.wait((gone,), timeout=0.01)


def wsgi_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    if environ["PATH_INFO"] != "/endless":
        return bare.wsgi_app(environ, start_response)

    def endless() -> Iterator[bytes]:
        while True:
            yield CHUNK
            time.sleep(0.01)

    start_response("206 Partial", [])
    return endless()


asgi = ASGIMiddleware(asgi_app)
wsgi = WSGIMiddleware(wsgi_app)
