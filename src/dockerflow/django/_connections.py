"""The context that each check runs in, so that none leaves a database connection open.

Django closes connections when a request ends, and no request ends in a check's thread.
"""

# Django has no type hints.
# pyright: basic, reportMissingTypeStubs=false

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, suppress

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import connections

from dockerflow.checks.contrib._django import closing_django_connections

_closing: set[asyncio.Task[None]] = set()
"""The event loop holds only weak references to its tasks."""


@contextmanager
def check_context() -> Generator[None]:
    """Close the connections that a check has opened, when it ends."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        with closing_django_connections():
            yield
        return
    try:
        yield
    finally:
        task = loop.create_task(_close_connections())
        _closing.add(task)
        task.add_done_callback(_closing.discard)


async def _close_connections() -> None:
    """Close the connections of the async ORM's thread, unless it ends with the request anyway."""
    # Each of Django's requests has its own thread.
    request = SyncToAsync.thread_sensitive_context.get(None)
    if request is None or request in SyncToAsync.context_to_thread_executor:
        await sync_to_async(_close_idle)()


def _close_idle() -> None:
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            with suppress(Exception):  # it is lost anyway
                connection.close()
