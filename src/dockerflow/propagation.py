"""Pass the request ID on with outgoing requests of httpx2, httpx, requests and aiohttp.

Imports none of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from dockerflow._core.request_id import get_request_id, is_valid
from dockerflow.config import DEFAULT_HEADER, parse_header_names, parse_list

__all__ = ["RequestIdPropagator"]

_MARK: Final = "dockerflow.request_id"
_is_name: Final = re.compile(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*").fullmatch


class RequestIdPropagator:
    """Sends the current request's ID with outgoing requests to the given hosts.

    Each redirect is judged separately, so the ID doesn't reach other hosts. A request that
    already has the header keeps its own value. Outside of a request there is no ID, and nothing
    is sent.

    :param hosts: host names or IP addresses; any port, HTTP and HTTPS. ``.example.com`` means
        ``example.com`` and all its subdomains. Write names that aren't ASCII as ``xn--...``.
    :param header_name: the header to send.
    :raises ValueError: if a host contains more than a name or an address, such as a scheme, a port
        or a path, or if the header name is invalid.
    :raises TypeError: if ``hosts`` are not strings.

    .. versionadded:: 0.1.0
    """

    def __init__(self, hosts: Collection[str], *, header_name: str = DEFAULT_HEADER) -> None:
        names = [host.lower() for host in parse_list(hosts)]
        for name in names:
            if not (_is_name(name) or _is_address(name)):
                raise ValueError(f"hosts must be host names or IP addresses, not {name!r}")
        self._hosts = {name for name in names if not name.startswith(".")}
        self._domains = tuple(name for name in names if name.startswith("."))
        self.header_name: str = parse_header_names([header_name])[0]

    def httpx_hook(self, request: Any) -> None:
        """Add the ID to a request of httpx2 or httpx: ``event_hooks={"request": [...]}``."""
        headers, extensions = request.headers, request.extensions
        # A redirected request has the headers and extensions of the one before.
        if extensions.pop(_MARK, False):
            headers.pop(self.header_name, None)
        rid = self._id_for(request.url.raw_host.decode("ascii"), headers)
        if rid is not None:
            headers[self.header_name] = rid
            extensions[_MARK] = True

    async def httpx_async_hook(self, request: Any) -> None:
        """Do the same as :meth:`httpx_hook`, for an ``AsyncClient``."""
        self.httpx_hook(request)

    def mount(self, session: Any) -> None:
        """Add the ID to the requests of a ``requests.Session`` by wrapping its adapters.

        Adapters that are mounted later aren't wrapped.
        """
        for prefix, adapter in list(session.adapters.items()):
            session.mount(prefix, _Adapter(adapter, self.header_name, self._id_for))

    async def aiohttp_middleware(self, request: Any, handler: Any) -> Any:
        """Add the ID to a request of aiohttp: ``ClientSession(middlewares=[...])``."""
        rid = self._id_for(request.url.raw_host, request.headers)
        if rid is not None:
            request.headers[self.header_name] = rid
        return await handler(request)

    def _id_for(self, host: str | None, headers: Any) -> str | None:
        """Return the ID to add to a request, if any.

        :param host: the host in the request's URL, in ASCII.
        """
        rid: object = get_request_id()
        # An app may have set any object.
        if not isinstance(rid, str) or not host or self.header_name in headers or not is_valid(rid):
            return None
        name = host.lower().removesuffix(".")
        is_named = name in self._hosts or f".{name}".endswith(self._domains)
        return rid if is_named else None


class _Adapter:
    """A transport adapter of requests around another one."""

    # Not a hook of the session, which copies the first request's headers to redirected ones.

    def __init__(
        self, adapter: Any, header_name: str, id_for: Callable[[str | None, Any], str | None]
    ) -> None:
        self._adapter = adapter
        self._header_name = header_name
        self._id_for = id_for

    def send(self, request: Any, *args: Any, **options: Any) -> Any:
        url: str = request.url
        rid = self._id_for(urlsplit(url).hostname, request.headers)
        if rid is not None:
            request = request.copy()
            request.headers[self._header_name] = rid
        return self._adapter.send(request, *args, **options)

    def close(self) -> None:
        self._adapter.close()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
