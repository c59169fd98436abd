"""HTTP requests with time limits that hold, which never read more than they should."""

from __future__ import annotations

import asyncio
import secrets
import shlex
import time
from collections.abc import Callable, Iterable
from html.parser import HTMLParser
from http import HTTPStatus
from typing import Final, Self
from urllib.parse import urljoin, urlsplit

import httpx2

from dockerflow import __version__
from dockerflow.verify.evidence import (
    ENDPOINTS,
    HEARTBEAT,
    LBHEARTBEAT,
    MAX_BODY,
    Response,
    Service,
    hide_credential,
    printable,
)

CONNECT_RETRIES: Final = 5
"""Servers that accept one connection at a time don't listen for short moments."""
MAX_ASSETS: Final = 10

HEADERS: Final = {
    "User-Agent": f"dockerflow-verify/{__version__}",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


class Prober:
    """Sends requests to one app; a context manager.

    :param base: the URL before ``/__version__``; ``unix:SOCKET`` or ``unix:SOCKET:/PREFIX`` for a
        Unix socket.
    :param timeout: seconds for one request, from its start to the end of the response's body.
    :param limit: seconds for all requests together.
    :param headers: are sent with each request.
    """

    def __init__(
        self, base: str, *, timeout: float, limit: float, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        self.where: str = base.rstrip("/")
        self.base: str = self.where
        self._socket: str | None = None
        if self.where.startswith("unix:"):
            self._socket, _, prefix = self.where.removeprefix("unix:").partition(":/")
            self.base = f"http://localhost/{prefix}".rstrip("/")
        self._headers = tuple(headers)
        self._timeout = timeout
        self._end = time.monotonic() + limit
        self._runner = asyncio.Runner()  # an event loop can cancel a request at any moment
        given = {name.lower() for name, _ in self._headers}
        defaults = [(name, text) for name, text in HEADERS.items() if name.lower() not in given]
        self._client = httpx2.AsyncClient(
            headers=[(name.encode(), text.encode()) for name, text in (*defaults, *self._headers)],
            transport=httpx2.AsyncHTTPTransport(uds=self._socket) if self._socket else None,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()

    @property
    def curl(self) -> str:
        """The command that makes such requests, without the values of credentials."""
        words = ["curl", "-i"]
        if self._socket is not None:
            words += ["--unix-socket", self._socket]
        for name, text in self._headers:
            words += ["-H", f"{name}: {hide_credential(name, text)}"]
        return shlex.join(words)

    def request(self, method: str, path: str) -> Response:
        """Make one request; its errors are in the response.

        :param path: a path of the app, with or without the slash before it, or a URL.
        """
        response = Response(method, path if "://" in path else f"{self.base}/{path.lstrip('/')}")
        seconds = min(self._timeout, self._end - time.monotonic())
        if seconds > 0:
            self._runner.run(self._send(response, seconds))
        else:
            response.error = "not requested: the time limit for all requests was reached"
        return response

    async def _send(self, response: Response, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                # Less time for the connection, so that the two timeouts can be told apart.
                await self._connect(response, 0.9 * seconds)
        except TimeoutError:
            what = "the response was not complete" if response.status else "there was no response"
            response.error = f"{what} within {seconds:.1f} s"
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            reason = printable(str(error)) or f"no connection within {seconds:.1f} s"
            response.error = f"could not connect ({reason})"
            response.unreachable = True
        except httpx2.RemoteProtocolError as error:
            response.error = f"the response is not valid HTTP ({printable(str(error))})"
            if "without sending a response" in str(error):
                response.error = "the server closed the connection without a response"
                response.is_closed = True
        except (httpx2.ReadError, httpx2.WriteError):
            response.error = "the server reset the connection"
            response.is_closed = response.status is None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            # Some of httpx2's errors have no text.
            parts = type(error).__name__, printable(str(error))
            response.error = ": ".join(filter(None, parts))

    async def _connect(self, response: Response, connect_seconds: float) -> None:
        for _ in range(CONNECT_RETRIES):
            try:
                return await self._receive(response, connect_seconds)
            except httpx2.ConnectError:
                await asyncio.sleep(0.1)
        return await self._receive(response, connect_seconds)

    async def _receive(self, response: Response, connect_seconds: float) -> None:
        limits = httpx2.Timeout(None, connect=connect_seconds)
        async with self._client.stream(response.method, response.url, timeout=limits) as received:
            response.status = received.status_code
            response.headers = {name.lower(): value for name, value in received.headers.items()}
            body = bytearray()
            try:
                async for chunk in received.aiter_raw():
                    body += chunk[: MAX_BODY - len(body)]
                    if len(body) >= MAX_BODY:
                        response.error = f"its body is {MAX_BODY} bytes or more"
                        break
            finally:
                response.body = bytes(body)


def random_path() -> str:
    """Return a path that an app serves only if it serves every path."""
    return f"/{secrets.token_hex(8)}"


def request_all(
    request: Callable[[str, str], Response], service: Service, static: Iterable[str]
) -> None:
    """Make all requests that the rules on a running app judge.

    :param request: makes one, of a method to a path or URL.
    :param service: gets the responses; if it is broken, only those of the heartbeats.
    :param static: paths of static files; if empty, what the page at / refers to.
    """
    if service.broken_by:
        for path in (HEARTBEAT, LBHEARTBEAT):
            service.responses["GET", path] = request("GET", path)
        return
    for path in ENDPOINTS:
        response = service.responses["GET", path] = request("GET", path)
        if not response.error:  # otherwise the other methods would only take time
            for method in ("HEAD", "POST"):
                service.responses[method, path] = request(method, path)
    if not service.has_responded:
        return
    service.unknown_path = request("GET", random_path())
    urls = list(static) or _assets(request("GET", "/"))
    service.assets.extend(request("GET", url) for url in urls[:MAX_ASSETS])


def _assets(page: Response) -> list[str]:
    """Return the URLs of the files on the same server that a page refers to."""
    if page.status != HTTPStatus.OK or "html" not in page.headers.get("content-type", ""):
        return []
    parser = _AssetParser()
    parser.feed(page.body.decode("utf-8", "replace"))
    server = urlsplit(page.url)[:2]
    urls: dict[str, None] = {}
    for link in parser.links:
        try:
            url = urljoin(page.url, link)
            is_own = urlsplit(url)[:2] == server
        except ValueError:  # not a URL
            continue
        if is_own:
            urls[url.partition("#")[0]] = None
    return list(urls)


class _AssetParser(HTMLParser):
    """Collects the links of scripts, style sheets, icons and images."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        kinds = {"stylesheet", "icon"} & set((given.get("rel") or "").split())
        link = given.get("href" if tag == "link" else "src")
        if link and (tag in ("script", "img") or (tag == "link" and kinds)):
            self.links.append(link)
