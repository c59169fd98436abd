"""The WSGI driver: Dockerflow around any WSGI application (PEP 3333)."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from dockerflow._core import Core
from dockerflow._http import Request
from dockerflow._request_id import choose_request_id, request_id_context
from dockerflow._summary import KEY, Outcome
from dockerflow.checks.registry import Registry
from dockerflow.config import Config

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

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
        self.app = app
        self._core = core = Core(config, registry)
        # A WSGI server joins lines of the same header; it doesn't tell them apart.
        self._wanted = [
            ("HTTP_" + name.upper().replace("-", "_"), name) for name in core.wanted_headers
        ]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        endpoint = self._core.paths.get(_decode(environ.get("PATH_INFO", "")))
        app = self.app if endpoint is None else self._endpoint
        if KEY in environ:  # another of our middlewares further out does the rest
            return app(environ, start_response)

        started = time.monotonic()
        request = self._request(environ)
        rid = choose_request_id(request.headers, self._core.id_headers)
        extra: dict[str, Any] = {}
        environ[KEY] = extra

        def summarise(outcome: Outcome, finished: float) -> None:
            environ.pop(KEY, None)  # whoever made the environ may use it again
            self._core.summarise(
                request,
                outcome,
                seconds=finished - started,
                rid=rid,
                extra=extra,
                endpoint=endpoint,
            )

        exchange = _Exchange(start_response, self._core.response_header, rid, summarise)
        try:
            with _serving(rid):
                body = app(environ, exchange.start_response)
        except BaseException as error:
            exchange.end(error)
            raise
        return _SizedBody(body, exchange) if hasattr(body, "__len__") else _Body(body, exchange)

    def _endpoint(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one of Dockerflow's own paths, as a WSGI application."""
        core = self._core
        endpoint = core.paths[_decode(environ.get("PATH_INFO", ""))]
        method = environ["REQUEST_METHOD"]
        results = None
        if core.needs_checks(endpoint, method):
            results = core.registry.run(core.config)
        response = core.respond(endpoint, method, results)
        try:
            phrase = HTTPStatus(response.status).phrase
        except ValueError:  # one of the 5xx that has no name
            phrase = "Error"
        start_response(f"{response.status} {phrase}", list(response.headers))
        return [response.body] if response.body else []

    def _request(self, environ: WSGIEnvironment) -> Request:
        headers = {name: environ[key] for key, name in self._wanted if key in environ}
        path = _decode(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))
        query = environ.get("QUERY_STRING", "")
        return Request(environ["REQUEST_METHOD"], path, query, headers)


class _Exchange:
    """What is known of one request's answer while it goes out."""

    __slots__ = ("_id_header", "_start_response", "_summarise", "finished", "rid", "status")

    def __init__(
        self,
        start_response: StartResponse,
        id_header_name: str,
        rid: str,
        summarise: Callable[[Outcome, float], None],
    ) -> None:
        self._start_response = start_response
        self._id_header = (id_header_name, rid)
        self._summarise: Callable[[Outcome, float], None] | None = summarise
        self.rid = rid
        self.status: int | None = None
        self.finished: float | None = None

    def start_response(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: OptExcInfo | None = None,
        /,
    ) -> Write:
        name = self._id_header[0].lower()
        if all(key.lower() != name for key, _ in headers):
            headers = [*headers, self._id_header]
        # The server refuses a second status, with exc_info, once the first one went out.
        write = (
            self._start_response(status, headers, exc_info)
            if exc_info
            else self._start_response(status, headers)
        )
        code = status[:3]
        self.status = int(code) if code.isdecimal() else None
        return write

    def end(self, exception: BaseException | None = None, *, client_gone: bool = False) -> None:
        """Log the summary, once, however often the end is told."""
        if (summarise := self._summarise) is not None:
            self._summarise = None
            finished = time.monotonic() if self.finished is None else self.finished
            summarise(Outcome(self.status, exception, client_gone), finished)


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
        token = request_id_context.set(exchange.rid)
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
            request_id_context.reset(token)

    def close(self) -> None:
        exchange = self._exchange
        failure = self._failure
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                with _serving(exchange.rid):
                    close()
        except BaseException as error:
            failure = failure or error
            raise
        finally:
            exchange.end(failure, client_gone=exchange.finished is None)


class _SizedBody(_Body):
    """A body that says how many chunks it has: servers send a Content-Length for a single one."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]


@contextmanager
def _serving(rid: str) -> Generator[None]:
    token = request_id_context.set(rid)
    try:
        yield
    finally:
        request_id_context.reset(token)


def _decode(path: str) -> str:
    """Return a path as text: WSGI gives its bytes as ISO 8859-1."""
    try:
        return path.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:  # no WSGI text, but the app may cope with it
        return path
