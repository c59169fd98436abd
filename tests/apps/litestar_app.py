"""Litestar."""

from collections.abc import AsyncIterator
from typing import Any

from litestar import Litestar, MediaType, Response, get
from litestar.response import Stream

from apps import BROKEN, CHUNKS, CORS


@get("/", media_type=MediaType.TEXT, sync_to_thread=False)
def root() -> str:
    return "hello"


@get("/fail", sync_to_thread=False)
def fail() -> str:
    raise ValueError(BROKEN)


@get("/status/500", sync_to_thread=False)
def status_500() -> Response[str]:
    return Response("oh", status_code=500, headers=CORS)


@get("/stream", sync_to_thread=False)
def stream() -> Stream:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in CHUNKS:
            yield chunk

    return Stream(chunks())


def make_asgi() -> Any:
    return Litestar([root, fail, status_500, stream], openapi_config=None, logging_config=None)
