"""The two values that a driver exchanges with the core: a request in, a response out."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Plain classes, as named tuples need typing, which takes long to import.


class Request:
    """What the core needs to know of an HTTP request, whichever protocol brought it.

    ``path`` is the full path, with whatever the app is mounted under. ``headers`` has only
    the headers that the core asked for, by lower-case name, as ISO 8859-1 text (RFC 9110).
    """

    __slots__ = ("headers", "method", "path", "query")

    def __init__(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> None:
        self.method: str = method
        self.path: str = path
        self.query: str = query
        self.headers: Mapping[str, str] = headers


class Response:
    """A whole answer of a Dockerflow endpoint: ``body`` is already what is to be sent."""

    __slots__ = ("_raw_headers", "body", "headers", "status")

    def __init__(self, status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
        self.status: int = status
        self.headers: tuple[tuple[str, str], ...] = headers
        self.body: bytes = body
        self._raw_headers: tuple[tuple[bytes, bytes], ...] | None = None

    def raw_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers as ASGI has them."""
        raw = self._raw_headers
        if raw is None:
            self._raw_headers = raw = tuple(
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in self.headers
            )
        return raw
