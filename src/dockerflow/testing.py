"""What applications use in their own tests: a client without a server, and the contract.

Needs neither pytest nor a framework. See the page "Testing" of the documentation.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import logging
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from types import FunctionType
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults

from dockerflow._core.request_id import get_request_id
from dockerflow._core.summary import SERVER_ERROR

__all__ = ["Client", "DockerflowContract", "Response", "capture_summaries"]

_Headers = Mapping[str, str] | None

_CLIENT_ADDRESS = "192.0.2.1"  # of RFC 5737's range for examples

_OK = HTTPStatus.OK
_FIELDS = frozenset(("agent", "code", "errno", "lang", "method", "path", "rid", "t", "uid"))


class Response(NamedTuple):
    """What an application answered.

    ``status`` is ``None`` if it sent none; ``error`` is the exception that escaped to the server.

    .. versionadded:: 0.1.0
    """

    status: int | None
    headers: list[tuple[str, str]]
    body: bytes
    error: Exception | None

    def all(self, name: str) -> list[str]:
        """Return the values of a header, whose name is in any case."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self) -> Any:
        """Return the body as JSON.

        :raises ValueError: when it is none.
        """
        return json.loads(self.body)


class Client:
    """Sends requests to an ASGI or WSGI application in this process, as a server would.

    With ``with Client(app) as client:`` all requests to an ASGI application share an event loop,
    between the startup and the shutdown of its lifespan, if it has one. Without ``with`` each
    request has a loop of its own.

    :param app: the application.
    :param protocol: ``asgi`` or ``wsgi``; found out if it isn't given.
    :param host: the ``Host`` header of the requests.
    :raises TypeError: when the application is no ASGI and no WSGI application.
    :raises RuntimeError: on entering, when the application's startup failed.

    .. versionadded:: 0.1.0
    """

    def __init__(
        self,
        app: Any,
        *,
        protocol: Literal["asgi", "wsgi"] | None = None,
        host: str = "testserver",
    ) -> None:
        self.app = app
        self.host = host
        self._is_asgi = _is_asgi(app) if protocol is None else protocol == "asgi"
        self._runner: asyncio.Runner | None = None
        self._lifespan: _Lifespan | None = None

    def __enter__(self) -> Self:
        if self._is_asgi:
            self._runner = asyncio.Runner()
            self._lifespan = _Lifespan(self.app)
            try:
                self._runner.run(self._lifespan.start())
            except BaseException:
                self._close()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._runner is not None and self._lifespan is not None:
                self._runner.run(self._lifespan.stop())
        finally:
            self._close()

    def _close(self) -> None:
        runner, self._runner, self._lifespan = self._runner, None, None
        if runner is not None:
            runner.close()

    def request(
        self,
        method: str,
        path: str,
        headers: _Headers = None,
        *,
        body: bytes = b"",
        mount: str = "",
    ) -> Response:
        """Send a request and return the whole answer.

        :param path: as in a URL, with the query string if there is one.
        :param headers: sent besides ``Host`` and ``Content-Length``, which they may replace.
        :param body: the request's body.
        :param mount: the path under which the application is mounted (ASGI's ``root_path``,
            WSGI's ``SCRIPT_NAME``).
        """
        all_headers = {"host": self.host}
        if body:
            all_headers["content-length"] = str(len(body))
        all_headers.update((name.lower(), value) for name, value in (headers or {}).items())
        target, _, query = path.partition("?")
        if not self._is_asgi:
            return self._wsgi(method, target, query, all_headers, body, mount)
        exchange = self._asgi(method, target, query, all_headers, body, mount)
        return asyncio.run(exchange) if self._runner is None else self._runner.run(exchange)

    def get(self, path: str, headers: _Headers = None, **options: Any) -> Response:
        """Send a GET request; see :meth:`request`."""
        return self.request("GET", path, headers, **options)

    def head(self, path: str, headers: _Headers = None, **options: Any) -> Response:
        """Send a HEAD request; see :meth:`request`."""
        return self.request("HEAD", path, headers, **options)

    def post(self, path: str, headers: _Headers = None, **options: Any) -> Response:
        """Send a POST request; see :meth:`request`."""
        return self.request("POST", path, headers, **options)

    async def _asgi(  # noqa: PLR0917 - the parts of one request
        self,
        method: str,
        target: str,
        query: str,
        headers: dict[str, str],
        body: bytes,
        mount: str,
    ) -> Response:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote_to_bytes(mount + target).decode("utf-8", "replace"),
            "raw_path": (mount + target).encode(),
            "query_string": query.encode(),
            "root_path": mount,
            "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()],
            "client": (_CLIENT_ADDRESS, 4711),
            "server": ("127.0.0.1", 80),
        }
        if self._lifespan is not None:
            scope["state"] = dict(self._lifespan.state)
        requests = iter([{"type": "http.request", "body": body, "more_body": False}])
        is_done = asyncio.Event()
        status: int | None = None
        headers_out: list[tuple[str, str]] = []
        chunks: list[bytes] = []

        async def receive() -> Any:
            for message in requests:
                return message
            await is_done.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers_out.extend(
                    (bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
                    for name, value in message.get("headers", ())
                )
            elif message["type"] == "http.response.body":
                chunks.append(message.get("body", b""))
                if not message.get("more_body", False):
                    is_done.set()

        error = None
        try:
            await self.app(scope, receive, send)
        except Exception as escaped:  # noqa: BLE001 - that is what it is there for
            error = escaped
        return Response(status, headers_out, b"".join(chunks), error)

    def _wsgi(  # noqa: PLR0917 - the parts of one request
        self,
        method: str,
        target: str,
        query: str,
        headers: dict[str, str],
        body: bytes,
        mount: str,
    ) -> Response:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": unquote_to_bytes(mount).decode("latin-1"),
            "PATH_INFO": unquote_to_bytes(target).decode("latin-1"),
            "QUERY_STRING": query,
            "REMOTE_ADDR": _CLIENT_ADDRESS,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.errors": io.StringIO(),
            "wsgi.input": io.BytesIO(body),
        }
        for name, value in headers.items():
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key] = value
        setup_testing_defaults(environ)
        started: list[tuple[str, list[tuple[str, str]]]] = []
        chunks: list[bytes] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], _: object = None
        ) -> Callable[[bytes], object]:
            started[:] = [(status, list(headers))]
            return chunks.append

        error = None
        try:
            iterable = self.app(environ, start_response)
            try:
                chunks.extend(iterable)
            finally:
                getattr(iterable, "close", lambda: None)()
        except Exception as escaped:  # noqa: BLE001 - that is what it is there for
            error = escaped
        status, headers_out = started[0] if started else (None, [])
        return Response(
            None if status is None else int(status[:3]), headers_out, b"".join(chunks), error
        )


class _Lifespan:
    """The lifespan of an ASGI application, which may have none."""

    def __init__(self, app: Any) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._incoming: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._outgoing: asyncio.Queue[Any] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self.state}
        run = self._app(scope, self._incoming.get, self._outgoing.put)
        self._task = asyncio.ensure_future(_finish(run, self._outgoing))
        await self._tell("startup")

    async def stop(self) -> None:
        if self._task is not None and not self._task.done():
            await self._tell("shutdown")
            await self._task

    async def _tell(self, what: str) -> None:
        await self._incoming.put({"type": f"lifespan.{what}"})
        answer = await self._outgoing.get()
        # An application that raises, or returns, has no lifespan (ASGI's lifespan spec).
        if answer is not None and answer["type"].endswith(".failed"):
            message = answer.get("message", "")
            raise RuntimeError(f"the application's {what} failed: {message}")


async def _finish(run: Awaitable[None], outgoing: asyncio.Queue[Any]) -> None:
    try:
        await run
    except Exception:  # how an application says that it has no lifespan
        logging.getLogger("dockerflow").debug("No lifespan", exc_info=True)
    finally:
        outgoing.put_nowait(None)


def _is_asgi(app: Any) -> bool:
    """Tell an ASGI application from a WSGI application."""
    if not callable(app):
        raise TypeError(f"{app!r} is neither an ASGI nor a WSGI application: it can't be called")
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__):
        return True
    try:
        parameters = inspect.signature(app).parameters.values()
    except ValueError:
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return sum(p.default is p.empty for p in positional) == 3  # noqa: PLR2004 - scope, receive, send


class _Collector(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


@contextmanager
def capture_summaries() -> Generator[list[logging.LogRecord]]:
    """Give the list of all ``request.summary`` records that are logged meanwhile, in order.

    .. versionadded:: 0.1.0
    """
    logger = logging.getLogger("request.summary")
    records: list[logging.LogRecord] = []
    handler = _Collector(records)
    before = logger.level, logger.disabled
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.disabled = False
    try:
        yield records
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.disabled = before[1]


class DockerflowContract:
    """What every application with Dockerflow does, as tests: derive a class and give it the app.

    Its methods need no pytest; any runner will do that collects a class's ``test_*`` methods.

    .. versionadded:: 0.1.0
    """

    app: Any
    """The ASGI or WSGI application: an attribute of the class, or a property."""
    path: str = "/"
    """A page of the application's own that answers GET, whatever the status."""
    prefix: str = ""
    """The setting ``path_prefix``."""
    id_header: str = "X-Request-ID"
    """The first name of the setting ``request_id_header_name``."""
    host: str = "testserver"
    """The host of the requests to the application's own pages."""

    def client(self) -> Client:
        """Return the client; for those that want another one."""
        app = inspect.getattr_static(self, "app")
        # A function that is an attribute of a class would be given the object.
        return Client(app if isinstance(app, FunctionType) else self.app, host=self.host)

    def test_lbheartbeat_is_200_for_any_host(self) -> None:
        """A load balancer's probe has the pod's address as host."""
        with self.client() as client:
            for host in (self.host, "10.1.2.3:8000", "[::1]"):
                client.host = host
                response = client.get(self._own("lbheartbeat"))
                _expect(response.status == _OK, f"for the host {host}, the status is 200", response)

    def test_heartbeat_has_the_payload(self) -> None:
        """The status says whether the checks passed; the body has the fixed keys."""
        with self.client() as client:
            response = client.get(self._own("heartbeat"))
        _expect(
            response.status is not None
            and (response.status == _OK or response.status >= SERVER_ERROR),
            "the status is 200 or 5xx",
            response,
        )
        payload = _json_object(response)
        statuses = "ok", "debug", "info", "warning", "error", "critical"
        _expect(payload.get("status") in statuses, f"status is one of {statuses}", response)
        if set(payload) != {"status"}:  # with details hidden, nothing else is there
            _expect(list(payload) == ["status", "checks", "details"], "it has its keys", response)
            _expect(
                payload["details"].keys() <= payload["checks"].keys(),
                "details are of checks",
                response,
            )

    def test_version_is_json(self) -> None:
        """``/__version__`` is version.json, or 404 where there is none, as on a laptop."""
        with self.client() as client:
            response = client.get(self._own("version"))
        _expect(
            response.status in (_OK, HTTPStatus.NOT_FOUND), "the status is 200 or 404", response
        )
        payload = _json_object(response)
        _expect(response.status == _OK or list(payload) == ["error"], "it says why", response)

    def test_endpoints_take_get_and_head_only(self) -> None:
        """HEAD is GET without a body, other methods are refused."""
        with self.client() as client:
            for name in ("version", "heartbeat", "lbheartbeat"):
                get, head = client.get(self._own(name)), client.head(self._own(name))
                _expect(head.status == get.status, f"HEAD has GET's status {get.status}", head)
                _expect(not head.body, "the answer to HEAD has no body", head)
                for method in ("POST", "PUT", "DELETE", "OPTIONS"):
                    response = client.request(method, self._own(name))
                    _expect(
                        response.status == HTTPStatus.METHOD_NOT_ALLOWED,
                        f"{method} is refused by 405",
                        response,
                    )
                    _expect(response.all("allow") == ["GET, HEAD"], "Allow says why", response)

    def test_endpoints_are_not_cached(self) -> None:
        """Neither a proxy nor a browser may keep an answer."""
        with self.client() as client:
            for name in ("version", "heartbeat", "lbheartbeat"):
                for path in (self._own(name), self._own(name) + "/"):
                    response = client.get(path)
                    _expect(response.all("cache-control") == ["no-store"], path, response)
                    length = str(len(response.body))
                    _expect(response.all("content-length") == [length], "its length", response)

    def test_request_ids_are_kept_made_or_replaced(self) -> None:
        """A good id is echoed, a missing or bad one replaced, and none is left behind."""
        with self.client() as client:
            for path in (self.path, self._own("lbheartbeat")):
                for given, is_kept in (("abc-123", True), (None, False), ("x" * 129, False)):
                    response = client.get(path, {} if given is None else {self.id_header: given})
                    if response.error is not None:
                        raise response.error
                    ids = response.all(self.id_header)
                    _expect(len(ids) == 1, f"{self.id_header} is sent once", response)
                    _expect((ids[0] == given) is is_kept, f"it answers to {given!r}", response)
                _expect(get_request_id() is None, "the id is reset afterwards", response)

    def test_one_summary_for_each_request(self) -> None:
        """One ``request.summary`` with all fields, and the right id and status."""
        headers = {self.id_header: "abc-123", "User-Agent": "contract"}
        with self.client() as client:
            for path in (self.path, self._own("lbheartbeat")):
                with capture_summaries() as records:
                    response = client.get(path, headers)
                paths = [str(getattr(record, "path", "")) for record in records]
                expected = [path.partition("?")[0]]
                # The probes' summaries can be switched off.
                if path != self.path and not records:
                    continue
                _expect(paths == expected, f"the summaries {paths} are {expected}", response)
                fields = vars(records[0])
                _expect(fields.keys() >= _FIELDS, f"it has {sorted(_FIELDS)}", response)
                _expect(fields["code"] == response.status, "code is the status", response)
                _expect(fields["rid"] == "abc-123", "rid is the request's id", response)
                _expect(fields["agent"] == "contract", "agent is the client", response)

    def _own(self, name: str) -> str:
        return f"{self.prefix}/__{name}__"


def _json_object(response: Response) -> dict[str, Any]:
    types = response.all("content-type")
    _expect(types == ["application/json"], f"the content type {types} is JSON's", response)
    try:
        payload = response.json()
    except ValueError:
        payload = None
    _expect(isinstance(payload, dict), "the body is a JSON object", response)
    return payload  # type: ignore[no-any-return]


def _expect(is_true: bool, what: str, response: Response) -> None:  # noqa: FBT001 - an assertion
    """Fail with a text that says everything, as nobody rewrites this module's assertions."""
    if not is_true:
        raise AssertionError(f"Not so: {what}. The answer: {response}")
