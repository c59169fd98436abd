"""The WSGI driver: Dockerflow around any WSGI application (PEP 3333)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from dockerflow._core.app import EXCHANGE, Core, Exchange
from dockerflow._core.messages import Request
from dockerflow._core.summary import KEY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from dockerflow._core.messages import Response
    from dockerflow.checks.registry import Registry
    from dockerflow.config import Config

__all__ = ["DockerflowMiddleware"]

Write = Callable[[bytes], object]


class DockerflowMiddleware:
    """Serve Dockerflow's endpoints in front of a WSGI application, and summarise its requests.

    :param app: the application; for Flask, ``app.wsgi_app = DockerflowMiddleware(app.wsgi_app)``.
    :param config: the settings; by default those of the environment.
    :param registry: the checks of the heartbeat; by default the process's own.
    :raises ConfigError: when a setting in the environment is wrong.

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
        # A WSGI server joins lines of the same header; it doesn't tell them apart.
        self._wanted = [
            ("HTTP_" + name.upper().replace("-", "_"), name) for name in core.wanted_headers
        ]
        # A gunicorn worker has set its handlers by now, unless the app is loaded before it is.
        core.install_drain(only_over_a_server=True)
        self._has_installed = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if not self._has_installed:
            self._has_installed = True
            self._core.install_drain()
        endpoint = self._core.paths.get(_decode(environ.get("PATH_INFO", "")))
        app = self.app if endpoint is None else self._endpoint
        if EXCHANGE in environ:  # another of our middlewares further out does the rest
            return app(environ, start_response)

        exchange = _Exchange(self._core, self._request(environ), endpoint)
        exchange.connect(environ, start_response)
        environ[EXCHANGE] = exchange
        environ[KEY] = exchange.extra
        exchange.enter()
        try:
            body = app(environ, exchange.start_response)
            # A middleware in between may begin the answer later than the app has.
            if exchange.finished and exchange.status is not None:
                exchange.end()
        except BaseException as error:
            exchange.end(error)
            raise
        finally:
            exchange.leave()
        if hasattr(body, "__len__"):
            return _SizedBody(body, exchange)
        return _EndedBody(body, exchange) if exchange.is_ended else _Body(body, exchange)

    def _endpoint(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one of Dockerflow's own paths, as a WSGI application."""
        core = self._core
        endpoint = core.paths[_decode(environ.get("PATH_INFO", ""))]
        method = environ["REQUEST_METHOD"]
        results = None
        if core.needs_checks(endpoint, method):
            results = core.registry.run(core.config)
        accept = environ.get("HTTP_ACCEPT", "")
        return send_response(core.respond(endpoint, method, results, accept=accept), start_response)

    def _request(self, environ: WSGIEnvironment) -> Request:
        headers = {name: environ[key] for key, name in self._wanted if key in environ}
        path = _decode(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))
        query = environ.get("QUERY_STRING", "")
        return Request(environ["REQUEST_METHOD"], path, query, headers)


def send_response(response: Response, start_response: StartResponse) -> list[bytes]:
    """Begin the answer and return its body, as a WSGI application does."""
    from http import HTTPStatus  # noqa: PLC0415 - slow to import

    try:
        phrase = HTTPStatus(response.status).phrase
    except ValueError:  # one of the 5xx that has no name
        phrase = "Error"
    start_response(f"{response.status} {phrase}", list(response.headers))
    return [response.body] if response.body else []


class _Exchange(Exchange):
    """A request whose answer begins with :meth:`start_response`."""

    def connect(self, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        """Take the channel to the server."""
        self._environ = environ
        self._start_response = start_response

    def start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: OptExcInfo | None = None,
        /,
    ) -> Write:
        id_header = self.id_header
        wanted = id_header[0]
        for name, _ in headers:
            if len(name) == len(wanted) and name.lower() == wanted.lower():
                break
        else:
            headers = [*headers, id_header]
        # The server refuses a second status, with exc_info, once the first one went out.
        write = (
            self._start_response(status, headers, exc_info)
            if exc_info
            else self._start_response(status, headers)
        )
        code = status[:3]
        self.status = int(code) if code.isdecimal() else None
        return write

    def end(self, exception: BaseException | None = None) -> None:
        """Log the summary, once, and leave the environ as it came."""
        self._environ.pop(EXCHANGE, None)
        self._environ.pop(KEY, None)
        super().end(exception)

    def complete(self) -> None:
        self.source = self._environ
        self.peer = self._environ.get("REMOTE_ADDR", "")


class _Body:
    """The app's iterable, with the request's id set while the app's code runs."""

    __slots__ = ("_body", "_exchange", "_failure", "_iterator")

    def __init__(self, body: Iterable[bytes], exchange: _Exchange) -> None:
        self._body = body
        self._iterator: Iterator[bytes] | None = None
        self._exchange = exchange
        self._failure: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        exchange = self._exchange
        # Set for this one step only: a server may take turns between the bodies of several
        # requests in one thread, and may go on in another one.
        exchange.enter()
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            return next(self._iterator)
        except StopIteration:
            # The server comes back for more only once it has written the last chunk.
            exchange.finished = time.monotonic()
            raise
        except BaseException as error:
            self._failure = error
            raise
        finally:
            exchange.leave()

    def close(self) -> None:
        exchange = self._exchange
        failure = self._failure
        exchange.enter()  # the summary's line is one of the request's, too
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            failure = failure or error
            raise
        finally:
            exchange.client_gone = failure is None and not exchange.finished
            exchange.end(failure)
            exchange.leave()


class _SizedBody(_Body):
    """A body that says how many chunks it has: servers send a Content-Length for a single one."""

    __slots__ = ("_is_list",)

    def __init__(self, body: Iterable[bytes], exchange: _Exchange) -> None:
        super().__init__(body, exchange)
        self._is_list = type(body) is list

    def __next__(self) -> bytes:
        if not self._is_list:
            return super().__next__()
        # None of the app's code runs here.
        if self._iterator is None:
            self._iterator = iter(self._body)
        for chunk in self._iterator:
            return chunk
        self._exchange.finished = time.monotonic()
        raise StopIteration

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]


class _EndedBody:
    """A body that was known as a whole, so that nothing but its end may run the app's code."""

    __slots__ = ("_body", "_exchange")

    def __init__(self, body: Iterable[bytes], exchange: _Exchange) -> None:
        self._body = body
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            self._exchange.enter()
            try:
                close()
            except BaseException as error:
                self._exchange.end(error)  # so that the server's line about it has the id
                raise
            finally:
                self._exchange.leave()


def _decode(path: str) -> str:
    """Return a path as text: WSGI gives its bytes as ISO 8859-1."""
    if path.isascii():
        return path
    try:
        return path.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:  # no WSGI text, but the app may cope with it
        return path
