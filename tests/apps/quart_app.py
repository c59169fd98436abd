"""Quart, which is Flask under ASGI."""

from collections.abc import AsyncIterator
from typing import Any

from quart import Quart

from apps import BROKEN, CHUNKS, CORS


async def root() -> str:
    return "hello"


async def fail() -> str:
    raise ValueError(BROKEN)


async def status_500() -> tuple[str, int, dict[str, str]]:
    return "oh", 500, CORS


async def stream() -> AsyncIterator[bytes]:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in CHUNKS:
            yield chunk

    return chunks()


def make_asgi() -> Any:
    app = Quart(__name__)
    app.add_url_rule("/", view_func=root)
    app.add_url_rule("/fail", view_func=fail)
    app.add_url_rule("/status/500", view_func=status_500)
    app.add_url_rule("/stream", view_func=stream)
    return app
