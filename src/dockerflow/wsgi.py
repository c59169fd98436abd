"""The WSGI driver: Dockerflow around any WSGI application (PEP 3333)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dockerflow import sentry
from dockerflow._core.app import Core
from dockerflow._core.endpoints import Endpoint
from dockerflow._core.exchange import EXCHANGE, Exchange
from dockerflow._core.messages import EXPOSE, Request, Response
from dockerflow._core.settings import RequestSettings
from dockerflow._core.summary import KEY
from dockerflow.checks.registry import Registry
from dockerflow.config import Config

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["DockerflowMiddleware"]

Write: TypeAlias = Callable[[bytes], object]

_EXPOSE: Final = EXPOSE.lower()


class DockerflowMiddleware:
    """Serve Dockerflow's endpoints in front of a WSGI application, and summarise its requests.

    :param app: the application; for Flask, ``app.wsgi_app = DockerflowMiddleware(app.wsgi_app)``.
    :param config: the settings; by default those of the environment.
    :param registry: the checks of the heartbeat; by default the registry of the process.
    :raises ConfigError: when a setting in the environment is invalid.
    :raises TypeError: when ``config`` isn't a ``Config``, or ``registry`` isn't a ``Registry``.

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        config: Config | None = None,
        registry: Registry | None = None,
    ) -> None:
        self._set_up(app, Core(config, registry))

    def _set_up(self, app: WSGIApplication, core: Core) -> None:
        self.app = app
        self._core = core
        # A gunicorn worker has set its handlers by now, unless the app is loaded before it is.
        core.install_drain(only_over_a_server=True)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        if self._core.drains:
            self._core.install_drain()
        endpoint = self._core.paths.get(decode_path(environ.get("PATH_INFO", "")))
        outer: Exchange | None = environ.get(EXCHANGE)
        if outer is not None:  # another of our middlewares further out does the rest
            outer.endpoint = outer.endpoint or endpoint
            return self._serve(endpoint, environ, start_response)

        exchange = _Exchange(self._core.settings, endpoint, environ, start_response)
        environ[EXCHANGE] = exchange
        environ[KEY] = exchange.extra
        with exchange:
            body = self._serve(endpoint, environ, exchange.start_response)
            # A middleware in between may begin the response later than the app has.
            if exchange.finished and exchange.status is not None:
                exchange.end()
        return _SizedBody(body, exchange) if hasattr(body, "__len__") else _Body(body, exchange)

    def _serve(
        self, endpoint: Endpoint | None, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if endpoint is None:
            return self.app(environ, start_response)
        response = self._answer(endpoint, environ)
        try:
            phrase = HTTPStatus(response.status).phrase
        except ValueError:  # one of the 5xx that has no name
            phrase = "Error"
        start_response(f"{response.status} {phrase}", list(response.headers))
        return [response.body] if response.body else []

    def _answer(self, endpoint: Endpoint, environ: WSGIEnvironment) -> Response:
        return self._core.answer(endpoint, make_request(environ, self._core.settings))


def make_request(environ: WSGIEnvironment, settings: RequestSettings) -> Request:
    """Return the parts of the environ that the core needs."""
    path = decode_path(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))
    query = environ.get("QUERY_STRING", "")
    return Request(environ["REQUEST_METHOD"], path, query, settings.headers_of(environ))


def peer_of(environ: Mapping[str, Any]) -> str:
    """Return the address that the connection came from."""
    # Werkzeug's ProxyFix replaces it by one of X-Forwarded-For, and keeps it here.
    peer: str = environ.get("werkzeug.proxy_fix.orig", environ).get("REMOTE_ADDR") or ""
    return peer


def decode_path(path: str) -> str:
    """Return a path as text: WSGI gives its bytes as ISO 8859-1."""
    try:
        return path.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:  # invalid in WSGI, but the app may cope with it
        return path


class _Exchange(Exchange):
    """A request whose response begins with :meth:`start_response`."""

    def __init__(
        self,
        settings: RequestSettings,
        endpoint: Endpoint | None,
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> None:
        request = make_request(environ, settings)
        super().__init__(settings, request, endpoint, source=environ, peer=peer_of(environ))
        self._start_response = start_response
        self._input = environ.get("wsgi.input")
        watched = watch_body(self._input, self, environ)
        if watched is not self._input:
            environ["wsgi.input"] = watched

    def start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: OptExcInfo | None = None,
        /,
    ) -> Write:
        if self.id_header[0].lower() not in [name.lower() for name, _ in headers]:
            headers = [*headers, self.id_header]
        if self._settings.config.request_id_expose_header:
            exposed = [value for name, value in headers if name.lower() == _EXPOSE]
            if self.must_expose_id(exposed):
                headers = [*headers, (EXPOSE, self.id_header[0])]
        # The server refuses a second status, with exc_info, once the first one went out.
        write = (
            self._start_response(status, headers, exc_info)
            if exc_info
            else self._start_response(status, headers)
        )
        code = status[:3]
        self.begin_response(int(code) if code.isdecimal() else None)
        return write

    def end(self, exception: BaseException | None = None) -> None:
        """Log the summary, once, and leave the environ as it came."""
        self.source.pop(EXCHANGE, None)
        self.source.pop(KEY, None)
        if self._input is not None:
            self.source["wsgi.input"] = self._input
        if exception is not None:
            sentry.hide_summary(self)
        super().end(exception)
        self.source = {}  # the environ refers to this exchange, in turn


def watch_body(body: Any, exchange: Exchange, environ: Mapping[str, Any]) -> Any:
    """Return a request's body, watched so that the exchange learns if the client leaves."""
    length = environ.get("CONTENT_LENGTH") or "0"
    if length == "0" and "HTTP_TRANSFER_ENCODING" not in environ:
        return body
    try:
        left = int(length)
    except ValueError:
        left = 0
    return _WatchedBody(body, exchange, left)


class _WatchedBody:
    """The body of a request, which notes when the client leaves before its end.

    :param left: how many bytes are still to come; 0 if that isn't known.
    """

    def __init__(self, body: Any, exchange: Exchange, left: int) -> None:
        self._body = body
        self._exchange = exchange
        self._left = left

    def __getattr__(self, name: str) -> Any:
        if name in {"read1", "readinto1"}:  # they read without being counted
            self._left = 0
        return getattr(self._body, name)

    def read(self, size: int | None = -1, /) -> bytes:
        size = -1 if size is None else size
        data = self._read(self._body.read, size)
        self._exchange.client_gone = self._left > 0 and (size < 0 or len(data) < size)
        return data

    def readinto(self, buffer: memoryview, /) -> int:  # Werkzeug prefers it where it is there
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readline(self, size: int | None = -1, /) -> bytes:
        data = self._read(self._body.readline, -1 if size is None else size)
        self._exchange.client_gone = not data and size != 0 and self._left > 0
        return data

    def readlines(self, _: int | None = -1, /) -> list[bytes]:
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if line := self.readline():
            return line
        raise StopIteration

    def _read(self, read: Callable[..., bytes], size: int) -> bytes:
        try:
            data = read() if size < 0 else read(size)
        except OSError:
            self._exchange.client_gone = True
            raise
        self._left -= len(data)
        return data


class _Body:
    """The app's iterable, with the request ID set while the app's code runs."""

    def __init__(self, body: Iterable[bytes], exchange: _Exchange) -> None:
        self._body = body
        self._iterator: Iterator[bytes] | None = None
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        # Not the app's iterator, even if the summary is logged: a middleware of the app may still
        # change the framework's chunks, and needs the request ID.
        return self

    def __next__(self) -> bytes:
        # For this one step only: a server may take turns between the bodies of several requests
        # in one thread, and may continue in another one.
        with self._exchange as exchange:
            if self._iterator is None:
                self._iterator = iter(self._body)
            try:
                return next(self._iterator)
            except StopIteration:
                # The server asks for more only once it has written the last chunk.
                exchange.finished = exchange.finished or time.monotonic()
        raise StopIteration

    def close(self) -> None:
        with self._exchange as exchange:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
            exchange.client_gone = exchange.client_gone or not exchange.finished
            exchange.end()


class _SizedBody(_Body):
    """A body with a known number of chunks: servers send a Content-Length for a single one."""

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]
