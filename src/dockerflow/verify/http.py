"""Requests that always end: in time, and without reading more than was asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from html.parser import HTMLParser
from typing import Final, Self
from urllib.parse import urljoin, urlsplit

import httpx

from dockerflow import __version__
from dockerflow.verify.evidence import ENDPOINTS, MAX_BODY, Answer, Service, printable

CONNECT_RETRIES: Final = 5
"""Servers that take one connection at a time are not listening for moments."""
MAX_ASSETS: Final = 10

HEADERS: Final = {
    "User-Agent": f"dockerflow-verify/{__version__}",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


class Prober:
    """Asks one app, and says what it answered, whatever that was.

    :param base: the URL before ``/__version__``.
    :param timeout: seconds that one request may take from its start to the end of its body.
    :param limit: seconds for all requests together.
    :param transport: how to reach an app that is not on the network.
    """

    def __init__(
        self,
        base: str,
        *,
        timeout: float,
        limit: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.base: str = base.rstrip("/")
        self.timeout = timeout
        self.end: float = time.monotonic() + limit
        self._client = httpx.AsyncClient(
            transport=transport,
            headers=HEADERS,
            trust_env=False,
            timeout=None,  # noqa: S113 - ask() has one for all of a request
        )

    async def ask(self, method: str, path: str, *, at_most: float | None = None) -> Answer:
        """Make one request; never raises."""
        url = path if "://" in path else self.base + path
        started = time.monotonic()
        seconds = min(at_most or self.timeout, self.end - started)
        if seconds <= 0:
            return Answer(method, url, error="it was not asked, as the time for all was over")
        seen = _Seen()
        try:
            async with asyncio.timeout(seconds):
                # A little less for the connection, so that it is known what did not come.
                await self._ask(method, url, seen, httpx.Timeout(None, connect=0.9 * seconds))
        except TimeoutError:
            what = "the answer did not end" if seen.status else "there was no answer"
            seen.error = f"{what} within {seconds:.1f} s"
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            seen.unreachable = True
            why = printable(str(error)) or f"no connection within {seconds:.1f} s"
            seen.error = f"nothing could be reached there ({why})"
        except httpx.RemoteProtocolError as error:
            seen.error = f"the answer is not valid HTTP ({printable(str(error))})"
        except Exception as error:  # noqa: BLE001 - an app in this process may raise anything
            # httpx has errors without a text.
            seen.error = ": ".join(filter(None, (type(error).__name__, printable(str(error)))))
        return Answer(
            method,
            url,
            seen.status,
            seen.headers,
            bytes(seen.body),
            time.monotonic() - started,
            seen.error,
            seen.unreachable,
        )

    async def _ask(self, method: str, url: str, seen: _Seen, times: httpx.Timeout) -> None:
        for attempt in range(CONNECT_RETRIES + 1):
            try:
                async with self._client.stream(method, url, timeout=times) as response:
                    seen.status = response.status_code
                    seen.headers = {k.lower(): v for k, v in response.headers.items()}
                    async for chunk in response.aiter_raw():
                        seen.body += chunk[: MAX_BODY - len(seen.body)]
                        if len(seen.body) >= MAX_BODY:
                            seen.error = f"its body is {MAX_BODY} bytes or more"
                            break
            except httpx.ConnectError:
                if attempt == CONNECT_RETRIES:
                    raise
                await asyncio.sleep(0.1)
            else:
                return

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()


class _Seen:
    """What is known of an answer so far."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.error = ""
        self.unreachable = False


def questions(
    service: Service, base: str, static: tuple[str, ...] = ()
) -> Generator[tuple[str, str], Answer]:
    """Yield each request to make, as method and path or URL, and be sent its answer.

    So it serves whoever asks over the network, and whoever asks in this process.
    """
    for path in ENDPOINTS:
        answer = yield "GET", path
        service.answers["GET", path] = answer
        if answer.error:
            continue  # what doesn't answer one method needn't be waited for by another
        for method in ("HEAD", "POST"):
            service.answers[method, path] = yield method, path
    if all(service.answers["GET", path].status is None for path in ENDPOINTS):
        return
    wanted = [urljoin(base + "/", path.lstrip("/")) for path in static]
    if not wanted:
        page = yield "GET", "/"
        if page.status == 200 and "html" in page.headers.get("content-type", ""):  # noqa: PLR2004
            wanted = assets(page)
    for url in wanted[:MAX_ASSETS]:
        service.assets.append((yield "GET", url))


async def look_at(prober: Prober, service: Service, static: tuple[str, ...] = ()) -> None:
    """Ask for all that the rules on a running app judge."""
    asking = questions(service, prober.base, static)
    try:
        question = next(asking)
        while True:
            question = asking.send(await prober.ask(*question))
    except StopIteration:
        return


def assets(page: Answer) -> list[str]:
    """Return the URLs of the files that a page is made of and that its own server has."""
    parser = _Assets()
    parser.feed(page.body.decode("utf-8", "replace"))
    own = urlsplit(page.url)[:2]
    urls: dict[str, None] = {}
    for link in parser.links:
        try:
            url = urljoin(page.url, link)
            same = urlsplit(url)[:2] == own
        except ValueError:
            continue  # no URL at all
        if same:
            urls[url.partition("#")[0]] = None
    return list(urls)


class _Assets(HTMLParser):
    """Collects what scripts, style sheets, icons and images link to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img"):
            link = given.get("src")
        elif tag == "link" and {"stylesheet", "icon"} & set((given.get("rel") or "").split()):
            link = given.get("href")
        else:
            return
        if link:
            self.links.append(link)
