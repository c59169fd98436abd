"""Streamed responses: the request's ID while the app's code runs, the summary at the end."""

# Django has no type hints.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.http import FileResponse

from dockerflow._core.exchange import Exchange


def watch(exchange: Exchange, response: Any) -> None:
    """Log the summary when the last byte of a streamed response has been sent."""

    def close() -> None:
        if not exchange.finished:
            if isinstance(response, FileResponse):
                exchange.finished = time.monotonic()  # the server reads the file itself
            else:
                exchange.client_gone = True
        exchange.end()

    response._resource_closers.append(close)  # noqa: SLF001 - Django calls them when it closes
    if isinstance(response, FileResponse):
        return
    content = response.streaming_content
    wrap: Any = _astream if response.is_async else _stream
    response.streaming_content = wrap(exchange, content)


def _stream(exchange: Exchange, content: Iterator[bytes]) -> Iterator[bytes]:
    iterator = iter(content)
    while True:
        with exchange:
            chunk = next(iterator, None)
        if chunk is None:
            exchange.finished = time.monotonic()
            return
        yield chunk


async def _astream(exchange: Exchange, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    iterator = aiter(content)
    while True:
        with exchange:
            chunk = await anext(iterator, None)
        if chunk is None:
            exchange.finished = time.monotonic()
            exchange.end()
            return
        yield chunk
