"""For tests of applications: a client that needs no server, and the summaries that are logged.

It needs neither pytest nor a framework. See the page "Test your app" of the documentation.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import (
    ExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
    nullcontext,
    suppress,
)
from contextvars import copy_context
from typing import Any, NamedTuple, Self
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults

from dockerflow.checks._check import signature
from dockerflow.config import is_async

__all__ = ["Client", "Response", "capture_summaries"]

_CLIENT_ADDRESS = "192.0.2.1"  # reserved for examples by RFC 5737


class Response(NamedTuple):
    """An application's response.

    ``status`` is ``None`` if it sent none; ``error`` is the exception that it raised, if any.

    .. versionadded:: 0.1.0
    """

    status: int | None
    headers: list[tuple[str, str]]
    body: bytes
    error: Exception | None

    def all(self, name: str) -> list[str]:
        """Return the values of a header; the case of its name does not matter."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self) -> Any:
        """Parse the body as JSON.

        :raises ValueError: when it is not JSON.
        """
        return json.loads(self.body)


class Client:
    """Sends requests to an ASGI or WSGI application in this process, as a server would.

    In ``with Client(app) as client:`` all requests to an ASGI application share an event loop,
    and its lifespan, if it has one, starts and ends with the block. Otherwise each request has its
    own loop. Blocks of one client may be nested: the outermost one counts. Where an event loop runs
    already, as in an async test, the application runs in another thread, for which the caller
    waits.

    :param app: the application.
    :param host: the ``Host`` header of the requests.
    :raises TypeError: when the application is neither ASGI nor WSGI.
    :raises RuntimeError: on entering or leaving the block, when the application reports that its
        startup or shutdown failed.

    .. versionadded:: 0.1.0
    """

    def __init__(self, app: Any, *, host: str = "testserver") -> None:
        self.app = app
        self.host = host
        self._is_asgi = _is_asgi(app)
        self._runner: asyncio.Runner | None = None
        self._state: dict[str, Any] | None = None
        self._stack = ExitStack()
        self._blocks = 0

    def __enter__(self) -> Self:
        if self._is_asgi and not self._blocks:
            with ExitStack() as stack:
                runner = asyncio.Runner()
                stack.callback(_outside_of_loops, runner.close)
                lifespan = _lifespan(self.app)
                self._state = _outside_of_loops(runner.run, lifespan.__aenter__())
                stack.callback(_outside_of_loops, runner.run, lifespan.__aexit__(None, None, None))
                self._runner = runner
                self._stack = stack.pop_all()
        self._blocks += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._blocks -= 1
        if not self._blocks:
            self._runner = self._state = None
            self._stack.close()

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: bytes = b"",
        mount: str = "",
    ) -> Response:
        """Send a request and return the whole response.

        :param path: as in a URL, with the query string if there is one.
        :param headers: sent in addition to ``Host`` and ``Content-Length``, which they may replace.
        :param body: the request's body.
        :param mount: the path that the application is mounted at (ASGI's ``root_path``, WSGI's
            ``SCRIPT_NAME``).
        """
        all_headers = {"host": self.host}
        if body:
            all_headers["content-length"] = str(len(body))
        all_headers |= {name.lower(): value for name, value in (headers or {}).items()}
        target, _, query = path.partition("?")
        request = _Request(method, mount, target, query, all_headers, body)
        if not self._is_asgi:
            response: Response = _outside_of_loops(_send_wsgi, self.app, request)
        else:
            run = asyncio.run if self._runner is None else self._runner.run
            response = _outside_of_loops(run, _send_asgi(self.app, request, self._state))
        return response

    def get(self, path: str, headers: Mapping[str, str] | None = None, **options: Any) -> Response:
        """Send a GET request; see :meth:`request`."""
        return self.request("GET", path, headers, **options)

    def head(self, path: str, headers: Mapping[str, str] | None = None, **options: Any) -> Response:
        """Send a HEAD request; see :meth:`request`."""
        return self.request("HEAD", path, headers, **options)

    def post(self, path: str, headers: Mapping[str, str] | None = None, **options: Any) -> Response:
        """Send a POST request; see :meth:`request`."""
        return self.request("POST", path, headers, **options)


@contextmanager
def capture_summaries() -> Generator[list[logging.LogRecord]]:
    """Collect all ``request.summary`` records that are logged in the ``with`` statement, in order.

    .. versionadded:: 0.1.0
    """
    records: list[logging.LogRecord] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger = logging.getLogger("request.summary")
    level, disabled, handler = logger.level, logger.disabled, Collector()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.disabled = False
    try:
        yield records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.disabled = disabled


def _outside_of_loops(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function that runs an event loop: in another thread if this one runs one already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass  # its handling ends here, else it would be the context of the app's exceptions
    else:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(copy_context().run, function, *args).result()
    return function(*args)


class _Request(NamedTuple):
    method: str
    mount: str
    path: str
    """Percent-encoded, below ``mount``."""
    query: str
    headers: dict[str, str]
    body: bytes


async def _send_asgi(app: Any, request: _Request, state: dict[str, Any] | None) -> Response:
    requests = [{"type": "http.request", "body": request.body, "more_body": False}]
    is_complete = asyncio.Event()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if requests:
            return requests.pop()
        await is_complete.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            is_complete.set()
        sent.append(message)

    error = None
    try:
        await app(_asgi_scope(request, state), receive, send)
    except Exception as raised:  # noqa: BLE001 - the application's; it is in the response
        error = raised
    start = next((m for m in sent if m["type"] == "http.response.start"), {"status": None})
    headers = [
        (bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
        for name, value in start.get("headers") or ()
    ]
    parts = [m.get("body", b"") for m in sent if m["type"] == "http.response.body"]
    return Response(start["status"], headers, b"".join(parts), error)


def _asgi_scope(request: _Request, state: dict[str, Any] | None) -> dict[str, Any]:
    path = request.mount + request.path
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path.encode(),
        "query_string": request.query.encode(),
        "root_path": request.mount,
        "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in request.headers.items()],
        "client": (_CLIENT_ADDRESS, 4711),
        "server": ("127.0.0.1", 80),
    }
    return scope if state is None else {**scope, "state": dict(state)}


def _send_wsgi(app: Any, request: _Request) -> Response:
    started: tuple[int | None, list[tuple[str, str]]] = None, []
    body = io.BytesIO()

    def start_response(
        status: str, headers: list[tuple[str, str]], _: object = None
    ) -> Callable[[bytes], object]:
        nonlocal started
        started = int(status[:3]), list(headers)
        return body.write

    error = None
    try:
        iterable = app(_wsgi_environ(request), start_response)
        with closing(iterable) if hasattr(iterable, "close") else nullcontext():
            body.writelines(iterable)
    except Exception as raised:  # noqa: BLE001 - the application's; it is in the response
        error = raised
    return Response(*started, body.getvalue(), error)


def _wsgi_environ(request: _Request) -> dict[str, Any]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": unquote_to_bytes(request.mount).decode("latin-1"),
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query,
        "REMOTE_ADDR": _CLIENT_ADDRESS,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.errors": io.StringIO(),
        "wsgi.input": io.BytesIO(request.body),
    }
    for name, value in request.headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key] = value
    setup_testing_defaults(environ)
    return environ


@asynccontextmanager
async def _lifespan(app: Any) -> AsyncGenerator[dict[str, Any]]:
    """Start and end the lifespan of an ASGI application, if it has one.

    Its state is yielded.
    """
    state: dict[str, Any] = {}
    incoming: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    outgoing: asyncio.Queue[dict[str, str] | None] = asyncio.Queue()

    async def run() -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}
        try:
            await app(scope, incoming.get, outgoing.put)
        except Exception:  # by ASGI, it means that the application has no lifespan
            logging.getLogger("dockerflow").debug("No lifespan", exc_info=True)
        finally:
            outgoing.put_nowait(None)

    async def notify(event: str) -> None:
        await incoming.put({"type": f"lifespan.{event}"})
        message = await outgoing.get()
        if message is not None and message["type"] == f"lifespan.{event}.failed":
            raise RuntimeError(f"the application's {event} failed: {message.get('message', '')}")

    task = asyncio.create_task(run())
    await notify("startup")
    yield state
    if not task.done():
        await notify("shutdown")
        await task


def _is_asgi(app: Any) -> bool:
    """Whether it is an ASGI application, rather than a WSGI application."""
    if callable(app):
        if is_async(app):
            return True
        try:
            called = signature(app)
        except ValueError:  # it isn't known
            return False
        for arguments in (2, 3):  # environ and start_response; scope, receive and send
            with suppress(TypeError):
                called.bind(*[None] * arguments)
                return arguments == 3  # noqa: PLR2004
    raise TypeError(f"{app!r} is neither an ASGI nor a WSGI application")
