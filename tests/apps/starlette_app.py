"""Starlette."""

from collections.abc import Iterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from apps import BROKEN, CHUNKS, CORS


async def root(request: Request) -> Response:
    return PlainTextResponse("hello")


async def fail(request: Request) -> Response:
    raise ValueError(BROKEN)


def status_500(request: Request) -> Response:
    return PlainTextResponse("oh", status_code=500, headers=CORS)


def chunks() -> Iterator[bytes]:
    yield from CHUNKS


async def stream(request: Request) -> Response:
    return StreamingResponse(chunks())


def make_asgi() -> Starlette:
    return Starlette(
        routes=[
            Route("/", root),
            Route("/fail", fail),
            Route("/status/500", status_500),
            Route("/stream", stream),
        ]
    )
