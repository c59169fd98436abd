"""HTTP by httpx, and bare TCP."""

from __future__ import annotations

import functools
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any, Final, cast, overload

from dockerflow import health
from dockerflow.checks.contrib._common import load, named, report
from dockerflow.checks.messages import CheckMessage, Error, Warning  # noqa: A004 - our own
from dockerflow.config import parse_seconds

if TYPE_CHECKING:
    from httpx import AsyncClient, Client

Check = Callable[[], CheckMessage | None]
AsyncCheck = Callable[[], Awaitable[CheckMessage | None]]

MAX_BODY: Final = 65_536
"""Bytes of a body that are read, so that the connection can be used again."""
DAY: Final = 86_400.0


@overload
def http(
    url: str,
    *,
    client: Client | None = ...,
    method: str = ...,
    expected: int | Collection[int] = ...,
    timeout: float = ...,
    certificate_days: float = ...,
) -> Check: ...
@overload
def http(
    url: str,
    *,
    client: AsyncClient,
    method: str = ...,
    expected: int | Collection[int] = ...,
    timeout: float = ...,
    certificate_days: float = ...,
) -> AsyncCheck: ...
def http(  # noqa: PLR0913 - all but the URL are by name, and have a default
    url: str,
    *,
    client: Client | AsyncClient | None = None,
    method: str = "GET",
    expected: int | Collection[int] = range(200, 300),
    timeout: float = 3.0,
    certificate_days: float = 14.0,
) -> Check | AsyncCheck:
    """Make a check that a URL answers with an expected status.

    Redirects aren't followed, unless your own client is made to follow them: the status is that
    of the first answer. At most 64 KiB of the body are read, and not looked at.

    :param url: an absolute ``http`` or ``https`` URL.
    :param client: the app's own ``httpx.Client`` or ``httpx.AsyncClient``, whose settings hold,
        time-outs and redirects among them. With an ``AsyncClient`` the check is a coroutine
        function. Without one, the check makes a ``Client`` when it first runs, and keeps it.
    :param method: ``GET``, or ``HEAD`` where that is enough.
    :param expected: one status or several.
    :param timeout: seconds; for each step of the check's own client, and for the body with any.
    :param certificate_days: how many days before the certificate of an ``https`` URL expires
        the check warns. Not known where the client is told not to verify certificates.
    :returns: the check, to be registered. It gives ``dockerflow.health.E016`` when it can't
        connect, ``E017`` when there is no answer in time, ``E018`` on another status, ``E019``
        when the certificate is refused, ``E020`` on any other error, and ``W004`` when the
        certificate expires soon.
    :raises ValueError: when the URL, a status or a number can't be right.
    :raises TypeError: when ``client`` is no client of httpx.
    :raises ImportError: without httpx.

    .. versionadded:: 0.1.0
    """
    httpx = load("httpx", "http")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parsed = None
    if parsed is None or parsed.scheme not in {"http", "https"} or not parsed.host:
        # Without the URL, as a password may be in it.
        message = "url takes an absolute URL such as 'https://example.org/health'"
        raise ValueError(message)
    statuses = frozenset((expected,) if isinstance(expected, int) else expected)
    if not statuses or not all(100 <= status <= 599 for status in statuses):  # noqa: PLR2004
        raise ValueError(f"expected is {expected!r}, but takes statuses from 100 to 599")
    target = _Target(parsed, method, statuses, _seconds("timeout", timeout), certificate_days * DAY)
    if client is None:
        return functools.partial(_http, target, None)
    if isinstance(client, httpx.AsyncClient):
        return functools.partial(_http_async, target, client)
    if not isinstance(client, httpx.Client):
        message = f"client takes a Client or an AsyncClient of httpx, not {type(client).__name__}"
        raise TypeError(message)
    return functools.partial(_http, target, client)


def _seconds(name: str, value: object) -> float:
    try:
        return parse_seconds(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is {value!r}, but takes a number of seconds over 0") from None


class _Target:
    """What to ask, and what to make of the answer."""

    def __init__(
        self,
        url: Any,
        method: str,
        expected: frozenset[int],
        timeout: float,
        certificate_seconds: float,
    ) -> None:
        self.request = (method, url)
        self.expected = expected
        self.timeout = timeout
        self.certificate_seconds = certificate_seconds
        self._client: Any = None

    def _values(self) -> tuple[object, ...]:
        return self.request, self.expected, self.timeout, self.certificate_seconds

    def __eq__(self, other: object) -> bool:
        # So that registering the same check again, as after a reload, is no other check.
        return isinstance(other, _Target) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    @property
    def client(self) -> Any:
        """The check's own client, made when first used: that takes a while, for the TLS."""
        if self._client is None:
            self._client = load("httpx", "http").Client(timeout=self.timeout)
        return self._client

    def judge(self, status: int, expires: float | None) -> CheckMessage | None:
        if status not in self.expected:
            message = Error(f"The answer was status {status}.", id=health.ERROR_HTTP_STATUS)
            return self.report(message, detail=f"status {status}")
        if expires is None or expires - time.time() >= self.certificate_seconds:
            return None
        days = max(0, int((expires - time.time()) // DAY))
        text = f"The TLS certificate expires in {days} days."
        return self.report(Warning(text, id=health.WARNING_CERTIFICATE_EXPIRES), detail=text)

    def failure(self, error: Exception) -> CheckMessage:
        httpx = load("httpx", "http")
        if isinstance(error, httpx.TimeoutException):
            message = Error("There was no answer in time.", id=health.ERROR_HTTP_TIMED_OUT)
        elif _is_certificate_error(error):
            message = Error("The TLS certificate is refused.", id=health.ERROR_HTTP_CERTIFICATE)
        elif isinstance(error, httpx.ConnectError | httpx.ProxyError):
            message = Error("Could not connect.", id=health.ERROR_CANNOT_CONNECT_HTTP)
        else:
            message = Error("The request failed.", id=health.ERROR_HTTP_EXCEPTION)
        return self.report(message, error)

    def report(
        self, message: CheckMessage, error: Exception | None = None, detail: str = ""
    ) -> CheckMessage:
        url = self.request[1]
        host = f"{url.scheme}://{url.host}{url.path}"  # neither user info nor a query
        detail = detail or (f"{type(error).__name__}: {error}" if error else "")
        return report(message, error, detail=f"{host}: {detail}", secrets=(url.password,))


def _is_certificate_error(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def _expires(response: Any) -> float | None:
    """Return when the certificate expires, in seconds since 1970, if that is known."""
    stream = response.extensions.get("network_stream")  # a transport of tests has none
    tls = stream.get_extra_info("ssl_object") if stream is not None else None
    certificate = cast("dict[str, Any]", tls.getpeercert() or {}) if tls is not None else {}
    not_after = certificate.get("notAfter")
    return None if not_after is None else float(ssl.cert_time_to_seconds(not_after))


class _Bound:
    """How much more of a body may be read: so many bytes, and for so long."""

    def __init__(self, timeout: float) -> None:
        self._end = time.monotonic() + timeout
        self._left = MAX_BODY

    def is_passed(self, chunk: bytes) -> bool:
        self._left -= len(chunk)
        return self._left < 0 or time.monotonic() > self._end


def _was_stale(error: Exception) -> bool:
    """Whether a kept connection may have been closed by the server when it was used again."""
    httpx = load("httpx", "http")
    stale = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
    return isinstance(error, stale)


def _ask(client: Any, target: _Target) -> CheckMessage | None:
    with client.stream(*target.request) as response:
        bound = _Bound(target.timeout)
        for chunk in response.iter_raw():
            if bound.is_passed(chunk):
                break
        return target.judge(response.status_code, _expires(response))


async def _ask_async(client: Any, target: _Target) -> CheckMessage | None:
    async with client.stream(*target.request) as response:
        bound = _Bound(target.timeout)
        async for chunk in response.aiter_raw():
            if bound.is_passed(chunk):
                break
        return target.judge(response.status_code, _expires(response))


@named("http")
def _http(target: _Target, client: Any) -> CheckMessage | None:
    client = target.client if client is None else client
    try:
        try:
            return _ask(client, target)
        except Exception as error:
            if not _was_stale(error):
                raise
        return _ask(client, target)
    except load("httpx", "http").HTTPError as error:
        return target.failure(error)


@named("http")
async def _http_async(target: _Target, client: Any) -> CheckMessage | None:
    try:
        try:
            return await _ask_async(client, target)
        except Exception as error:
            if not _was_stale(error):
                raise
        return await _ask_async(client, target)
    except load("httpx", "http").HTTPError as error:
        return target.failure(error)


def tcp(host: str, port: int, *, timeout: float = 3.0) -> Check:
    """Make a check that something accepts TCP connections.

    Under a server that has stopped working its system may still accept some, so prefer a check
    that asks for an answer where there is one. Each run connects anew, and sends nothing.

    :param host: its name or address.
    :param port: from 1 to 65535.
    :param timeout: seconds for connecting.
    :returns: the check, to be registered. It gives ``dockerflow.health.E021`` when the
        connection is refused or broken, ``E022`` when it isn't there in time, and ``E023`` when
        the name can't be resolved.
    :raises ValueError: when the port or the timeout can't be right.

    .. versionadded:: 0.1.0
    """
    if isinstance(port, bool) or not 0 < port < 65_536:  # noqa: PLR2004
        raise ValueError(f"port is {port!r}, but takes a number from 1 to 65535")
    return functools.partial(_tcp, host, port, _seconds("timeout", timeout))


@named("tcp")
def _tcp(host: str, port: int, timeout: float) -> CheckMessage | None:
    try:
        socket.create_connection((host, port), timeout).close()
    except socket.gaierror as error:
        message = Error("The host is unknown.", id=health.ERROR_TCP_UNKNOWN_HOST)
        return report(message, error, detail=f"{host}: {error}")
    except TimeoutError as error:
        message = Error("Could not connect in time.", id=health.ERROR_TCP_TIMED_OUT)
        return report(message, error, detail=f"{host}:{port}: {error}")
    except (OSError, UnicodeError) as error:
        message = Error("Could not connect.", id=health.ERROR_CANNOT_CONNECT_TCP)
        return report(message, error, detail=f"{host}:{port}: {error}")
    return None
