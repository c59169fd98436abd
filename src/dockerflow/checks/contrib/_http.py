"""HTTP by httpx2 or httpx, and bare TCP."""

from __future__ import annotations

import functools
import os
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, overload

from dockerflow import health
from dockerflow.checks import messages
from dockerflow.checks.contrib._common import (
    AsyncCheck,
    Check,
    describe,
    fail,
    load,
    named,
    report,
    seconds,
)
from dockerflow.checks.messages import CheckMessage, Error

MAX_BODY: Final = 65_536
"""Bytes of a body that are read, so that the connection can be used again."""
DAY: Final = 86_400.0


class Client(Protocol):
    """A ``Client`` of httpx2 or of httpx, only one of which may be installed."""

    def close(self) -> None:
        """Close its connections."""


class AsyncClient(Protocol):
    """An ``AsyncClient`` of httpx2 or of httpx."""

    def aclose(self) -> Awaitable[None]:
        """Close its connections."""
        ...


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
def http(
    url: str,
    *,
    client: Client | AsyncClient | None = None,
    method: str = "GET",
    expected: int | Collection[int] = range(200, 300),
    timeout: float = 3.0,
    certificate_days: float = 14.0,
) -> Check | AsyncCheck:
    """Make a check that a URL responds with an expected status.

    Redirects aren't followed, unless your client is configured to follow them. At most 64 KiB of
    the body are read, and ignored.

    :param url: an absolute ``http`` or ``https`` URL.
    :param client: the ``Client`` or ``AsyncClient`` of httpx2 or httpx that your app uses, with
        its settings, such as timeouts and redirects. With an ``AsyncClient`` the check is a
        coroutine function. Without one, the check makes a ``Client`` of httpx2 when it first runs,
        and keeps it.
    :param method: ``GET``, or ``HEAD`` where that is enough.
    :param expected: one status or several.
    :param timeout: seconds; for each step of the check's own client, and for the body with any.
    :param certificate_days: how many days before the certificate of an ``https`` URL expires
        the check warns. Unknown if the client doesn't verify certificates.
    :returns: the check, to be registered. It gives ``dockerflow.health.E016`` when it can't
        connect, ``E017`` when there is no response in time, ``E018`` on another status, ``E019``
        when the certificate is rejected, ``E020`` on any other error, and ``W004`` when the
        certificate expires soon.
    :raises ValueError: when the URL, a status or the timeout is invalid.
    :raises TypeError: when ``client`` isn't a client of httpx2 or httpx.
    :raises ImportError: without httpx2, if there is no ``client``.

    .. versionadded:: 0.1.0
    """
    httpx = load("httpx2", "http") if client is None else _library(client)
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parsed = None
    if parsed is None or parsed.scheme not in {"http", "https"} or not parsed.host:
        # The URL isn't shown, since it may contain a password.
        message = "url must be an absolute URL such as 'https://example.org/health'"
        raise ValueError(message)
    statuses = frozenset((expected,) if isinstance(expected, int) else expected)
    if not statuses or not all(status in range(100, 600) for status in statuses):
        raise ValueError(f"expected must be a status from 100 to 599, or several, not {expected!r}")
    timeout = seconds("timeout", timeout)
    target = _Target(httpx, method, parsed, statuses, timeout, certificate_days * DAY)
    if isinstance(client, httpx.AsyncClient):
        return functools.partial(_http_async, target, client)
    return functools.partial(_http, target, client)


def _library(client: object) -> Any:
    """Return the module that a client is of: its exceptions aren't those of the other."""
    for name in ("httpx2", "httpx"):
        module: Any = sys.modules.get(name)
        if module is not None and isinstance(client, module.Client | module.AsyncClient):
            return module
    message = (
        f"client must be a Client or an AsyncClient of httpx2 or httpx, not {type(client).__name__}"
    )
    raise TypeError(message)


@dataclass(frozen=True)
class _Target:
    """A request, and the response that is expected."""

    httpx: Any
    """The module that makes the request: httpx2 or httpx."""
    method: str
    url: Any
    expected: frozenset[int]
    timeout: float
    certificate_seconds: float

    def judge(self, response: Any) -> CheckMessage | None:
        if response.status_code not in self.expected:
            text = f"The response had status {response.status_code}."
            return self.report(Error(text, id=health.ERROR_HTTP_STATUS))
        left = _certificate_left(response)
        if left is None or left >= self.certificate_seconds:
            return None
        text = f"The TLS certificate expires in {max(0, int(left // DAY))} days."
        message = messages.Warning(text, id=health.WARNING_CERTIFICATE_EXPIRES)
        return self.report(message)

    def failure(self, error: Exception) -> CheckMessage:
        if isinstance(error, self.httpx.TimeoutException):
            text, id_ = "There was no response in time.", health.ERROR_HTTP_TIMED_OUT
        elif _is_certificate_error(error):
            text, id_ = "The TLS certificate is rejected.", health.ERROR_HTTP_CERTIFICATE
        elif isinstance(error, self.httpx.ConnectError | self.httpx.ProxyError):
            text, id_ = "Could not connect.", health.ERROR_CANNOT_CONNECT_HTTP
        else:
            text, id_ = "The request failed.", health.ERROR_HTTP_EXCEPTION
        return self.report(Error(text, id=id_), error)

    @property
    def stale_errors(self) -> tuple[type[Exception], ...]:
        """What may be raised when the server has closed a kept connection."""
        return (self.httpx.RemoteProtocolError, self.httpx.ReadError, self.httpx.WriteError)

    def report(self, message: CheckMessage, error: Exception | None = None) -> CheckMessage:
        detail = f"{self.url.scheme}://{self.url.host}{self.url.path}"  # no user info, no query
        if error is not None:
            detail += f": {describe(error)}"
        return report(message, error, detail=detail, secrets=(self.url.password,))


@functools.cache
def _own_client(target: _Target, _pid: int) -> Any:
    """Return the client that each process keeps for a check without one, as making it is slow."""
    return target.httpx.Client(timeout=target.timeout)


def _is_certificate_error(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def _certificate_left(response: Any) -> float | None:
    """Return in how many seconds the certificate expires, if that is known."""
    stream = response.extensions.get("network_stream")  # a transport of tests has none
    tls = stream and stream.get_extra_info("ssl_object")
    certificate = tls and tls.getpeercert()  # empty if the client doesn't verify it
    if not certificate:
        return None
    return ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()


def _ask(client: Any, target: _Target) -> CheckMessage | None:
    with client.stream(target.method, target.url) as response:
        end = time.monotonic() + target.timeout
        for _ in response.iter_raw():
            if response.num_bytes_downloaded > MAX_BODY or time.monotonic() > end:
                break
        return target.judge(response)


async def _ask_async(client: Any, target: _Target) -> CheckMessage | None:
    async with client.stream(target.method, target.url) as response:
        end = time.monotonic() + target.timeout
        async for _ in response.aiter_raw():
            if response.num_bytes_downloaded > MAX_BODY or time.monotonic() > end:
                break
        return target.judge(response)


@named("http")
def _http(target: _Target, client: Any) -> CheckMessage | None:
    client = _own_client(target, os.getpid()) if client is None else client
    try:
        with suppress(*target.stale_errors):
            return _ask(client, target)
        return _ask(client, target)
    except target.httpx.HTTPError as error:
        return target.failure(error)


@named("http")
async def _http_async(target: _Target, client: Any) -> CheckMessage | None:
    try:
        with suppress(*target.stale_errors):
            return await _ask_async(client, target)
        return await _ask_async(client, target)
    except target.httpx.HTTPError as error:
        return target.failure(error)


def tcp(host: str, port: int, *, timeout: float = 3.0) -> Check:
    """Make a check that something accepts TCP connections.

    The system may still accept some for a server that has stopped working, so prefer a check
    that waits for a response where there is one. Each run makes a new connection, and sends
    nothing.

    :param host: its name or address.
    :param port: from 1 to 65535.
    :param timeout: seconds for connecting.
    :returns: the check, to be registered. It gives ``dockerflow.health.E021`` when the
        connection is refused or broken, ``E022`` when it isn't made in time, and ``E023`` when
        the name can't be resolved.
    :raises ValueError: when the port or the timeout is invalid.

    .. versionadded:: 0.1.0
    """
    if isinstance(port, bool) or port not in range(1, 65_536):
        raise ValueError(f"port must be from 1 to 65535, not {port!r}")
    return functools.partial(_tcp, host, port, seconds("timeout", timeout))


@named("tcp")
def _tcp(host: str, port: int, timeout: float) -> CheckMessage | None:
    try:
        socket.create_connection((host, port), timeout).close()
    except (OSError, UnicodeError) as error:
        if isinstance(error, socket.gaierror):
            text, id_ = "The host is unknown.", health.ERROR_TCP_UNKNOWN_HOST
        elif isinstance(error, TimeoutError):
            text, id_ = "Could not connect in time.", health.ERROR_TCP_TIMED_OUT
        else:
            text, id_ = "Could not connect.", health.ERROR_CANNOT_CONNECT_TCP
        return fail(text, id_, error, detail=f"{host}:{port}: {describe(error)}")
    return None
