"""The two values that a driver exchanges with the core: a request in, a response out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

EXPOSE: Final = "Access-Control-Expose-Headers"
"""The header that names those which a script of another origin may read (CORS)."""


class Request(NamedTuple):
    """What the core needs to know of an HTTP request, in any protocol.

    ``path`` is the full path, including the mount point. ``headers`` has only the headers that
    the core needs, by lower-case name, as ISO 8859-1 text (RFC 9110).
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


class Response(NamedTuple):
    """The whole response of a Dockerflow endpoint; ``body`` is what is sent."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers as ASGI has them."""
        return [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self.headers
        ]
