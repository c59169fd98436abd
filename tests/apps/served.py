"""What tests/servers/ serves, and what it shares with the frameworks' apps; mozlog goes to stdout.

Besides what the other apps have: ``/`` returns the id of the process, ``/upload`` reads the
request's body, ``/endless`` streams until the client leaves. What they log has the request's path.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import anyio

from apps import bare
from dockerflow import checks, drain
from dockerflow.asgi import DockerflowMiddleware as ASGIMiddleware
from dockerflow.logging import configure_logging
from dockerflow.testing import Client
from dockerflow.wsgi import DockerflowMiddleware as WSGIMiddleware

configure_logging("served", format="mozlog")
log = logging.getLogger("app")

if "INSTALL_DRAIN" in os.environ:
    drain.install()

CHUNK = b"x" * 65_536


class ClientLeftError(Exception):
    """As Starlette and Werkzeug have it."""


@checks.register
async def good() -> None: ...


@checks.register
def sync() -> None: ...


if "BROKEN" in os.environ:

    @checks.register
    def hung() -> None:
        threading.Event().wait()

    @checks.register
    async def hung_async() -> None:
        await anyio.sleep_forever()

    @checks.register
    def exits() -> None:
        sys.exit("no configuration")

    @checks.register
    async def exits_async() -> None:
        sys.exit("no configuration")

    @checks.register
    def crashes() -> None:
        raise ValueError("broken")

    @checks.register
    async def crashes_async() -> None:
        raise ValueError("broken")


def answer(path: str) -> tuple[int, tuple[bytes, ...]]:
    log.info(path)
    return (200, (str(os.getpid()).encode(),)) if path == "/" else bare.answer(path)


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise RuntimeError("this app takes no lifespan events")

    async def begin(status: int) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})

    async def send_part(part: bytes, *, more: bool = True) -> None:
        await send({"type": "http.response.body", "body": part, "more_body": more})

    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if path == "/upload":
        log.info(path)
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            raise ClientLeftError
        await begin(200)
        await send_part(b"", more=False)
    elif path == "/endless":
        await begin(206)
        await receive()  # the request's body
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                await receive()
                group.cancel_scope.cancel()

            group.start_soon(watch)
            await send_part(CHUNK)
            log.info(path)
            while True:
                await anyio.sleep(0.01)
                await send_part(CHUNK)
    else:
        status, parts = answer(path)
        await begin(status)
        for part in parts if scope["method"] != "HEAD" else ():
            log.info(path)
            await send_part(part)
        await send_part(b"", more=False)


def wsgi_app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/upload":
        log.info(path)
        length = int(environ["CONTENT_LENGTH"])
        if len(environ["wsgi.input"].read(length)) < length:
            raise ClientLeftError
        start_response("200 OK", [("Content-Length", "0")])
        return []
    if path == "/endless":
        start_response("206 Partial", [])
        return endless()
    status, parts = answer(path)
    start_response(f"{status} Phrase", [("Content-Type", "text/plain")])
    return stream(path, parts if environ["REQUEST_METHOD"] != "HEAD" else ())


def stream(path: str, parts: Iterable[bytes]) -> Iterator[bytes]:
    for part in parts:
        log.info(path)
        yield part


def endless() -> Iterator[bytes]:
    yield CHUNK
    log.info("/endless")
    while True:
        time.sleep(0.01)
        yield CHUNK


asgi = ASGIMiddleware(asgi_app)
wsgi = WSGIMiddleware(wsgi_app)

if "BEFORE_FORK" in os.environ:  # as apps do that fill caches before the server forks
    for path in ("/", "/__heartbeat__"):
        Client(wsgi).get(path)
    # uWSGI forks without holding the interpreter's lock: a thread that runs at that moment would
    # leave the worker without it. See docs/servers.md.
    time.sleep(0.3)
