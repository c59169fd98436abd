"""Long polling: ``GET /api/links?wait=2`` answers as soon as there is a new link."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

MAX_WAIT = 2.0
"""Seconds. Whoever waits keeps a thread, of which a server has few."""
_INTERVAL = 0.1


class _Coded(Protocol):
    code: str


_Link = TypeVar("_Link", bound=_Coded)


def newest(find: Callable[[], list[_Link]], wait: str) -> list[_Link]:
    """Return the newest links; wait for one that isn't there yet.

    :param find: returns the newest links of now, the newest first.
    :param wait: how many seconds to wait at most, as a client writes it; 0 if that's no number.
    """
    try:
        seconds = min(float(wait), MAX_WAIT)
    except ValueError:
        seconds = 0.0
    end = time.monotonic() + seconds
    links = known = find()
    while [link.code for link in links] == [link.code for link in known] and time.monotonic() < end:
        time.sleep(_INTERVAL)
        links = find()
    return links
