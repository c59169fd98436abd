"""The two values that a driver exchanges with the core: a request in, a response out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Request(NamedTuple):
    """What the core needs to know of an HTTP request, whichever protocol brought it.

    ``path`` is the full path, with whatever the app is mounted under. ``headers`` has only
    the headers that the core asked for, by lower-case name, as ISO 8859-1 text (RFC 9110).
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


class Response(NamedTuple):
    """A whole answer of a Dockerflow endpoint: ``body`` is already what is to be sent."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
