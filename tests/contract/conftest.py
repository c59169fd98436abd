"""One client for every framework and both protocols, driven without a server."""

import asyncio
import importlib
import io
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from dockerflow.asgi import DockerflowMiddleware as ASGIMiddleware
from dockerflow.checks import Registry
from dockerflow.config import Config
from dockerflow.wsgi import DockerflowMiddleware as WSGIMiddleware

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the applications in apps/


class Response(NamedTuple):
    status: int | None
    headers: list[tuple[str, str]]
    body: bytes
    error: Exception | None  # what escaped to the server

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


@dataclass(frozen=True)
class Row:
    """One way to put Dockerflow around an application."""

    name: str
    module: str
    is_asgi: bool
    requires: tuple[str, ...] = ()
    wrap: Callable[..., Any] = lambda make, **options: ASGIMiddleware(make(), **options)
    reports: bool = False  # whether an adapter learns of an exception that the framework caught
    escapes: bool = False  # whether an exception of the app's gets through to the middleware

    def make(self) -> Any:
        """Make the application without Dockerflow."""
        for name in self.requires:
            pytest.importorskip(name)
        module = importlib.import_module(f"apps.{self.module}")
        if self.module == "bare":
            is_wsgi = not self.is_asgi or "a2wsgi" in self.requires
            return module.wsgi_app if is_wsgi else module.asgi_app
        return module.make_asgi() if self.is_asgi else module.make_wsgi()

    def build(self, **options: Any) -> Any:
        return self.wrap(self.make, **options)


def added(make: Callable[[], Any], **options: Any) -> Any:
    app = make()
    app.add_middleware(ASGIMiddleware, **options)
    return app


def wrapped_wsgi(make: Callable[[], Any], **options: Any) -> Any:
    return WSGIMiddleware(make(), **options)


def as_wsgi_app(make: Callable[[], Any], **options: Any) -> Any:
    app = make()
    app.wsgi_app = WSGIMiddleware(app.wsgi_app, **options)
    return app


def flask_extension(make: Callable[[], Any], **options: Any) -> Any:
    from apps.flask_app import build_flask

    return build_flask(make, **options)


def under_a2wsgi(make: Callable[[], Any], **options: Any) -> Any:
    import a2wsgi

    return ASGIMiddleware(a2wsgi.WSGIMiddleware(make()), **options)


ROWS = [
    Row("asgi", "bare", is_asgi=True, escapes=True),
    Row("wsgi", "bare", is_asgi=False, wrap=wrapped_wsgi, escapes=True),
    Row("starlette", "starlette_app", True, ("starlette",), escapes=True),
    Row("starlette-added", "starlette_app", True, ("starlette",), added, escapes=True),
    Row("fastapi-added", "fastapi_app", True, ("fastapi",), added, escapes=True),
    Row("flask", "flask_app", False, ("flask",), as_wsgi_app),
    Row("flask-extension", "flask_app", False, ("flask",), flask_extension, reports=True),
    Row("falcon-asgi", "falcon_app", True, ("falcon",)),
    Row("falcon-wsgi", "falcon_app", False, ("falcon",), wrapped_wsgi),
    Row("django-asgi", "django_app", True, ("django",)),
    Row("django-wsgi", "django_app", False, ("django",), wrapped_wsgi),
    Row("a2wsgi", "bare", True, ("a2wsgi",), under_a2wsgi, escapes=True),
]


@dataclass
class Client:
    """Sends requests as a server would, to an application made with the settings given."""

    row: Row
    registry: Registry = field(default_factory=Registry)
    config: dict[str, Any] = field(default_factory=dict)
    host: str = "testserver"
    _app: Any = None

    @property
    def app(self) -> Any:
        if self._app is None:
            self._app = self.row.build(config=Config(**self.config), registry=self.registry)
        return self._app

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        mount: str = "",
    ) -> Response:
        all_headers = {"host": self.host, **(headers or {})}
        if self.row.is_asgi:
            return asyncio.run(self._asgi(method, path, all_headers, mount))
        return self._wsgi(method, path, all_headers, mount)

    def get(self, path: str, **kwargs: Any) -> Response:
        return self.request("GET", path, **kwargs)

    async def _asgi(
        self, method: str, path: str, headers: Mapping[str, str], mount: str
    ) -> Response:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": mount + path,
            "raw_path": (mount + path).encode(),
            "query_string": b"",
            "root_path": mount,
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()],
            "client": ("192.0.2.1", 4711),
            "server": ("127.0.0.1", 80),
        }
        requests = iter([{"type": "http.request", "body": b"", "more_body": False}])
        done = asyncio.Event()
        sent: list[Any] = []

        async def receive() -> Any:
            for message in requests:
                return message
            await done.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        error = None
        try:
            await self.app(scope, receive, send)
        except Exception as escaped:
            error = escaped
        done.set()
        if not sent:
            return Response(None, [], b"", error)
        headers_out = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in sent[0]["headers"]]
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return Response(sent[0]["status"], headers_out, body, error)

    def _wsgi(self, method: str, path: str, headers: Mapping[str, str], mount: str) -> Response:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": mount,
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "REMOTE_ADDR": "192.0.2.1",
            "wsgi.errors": io.StringIO(),
            **{"HTTP_" + k.upper().replace("-", "_"): v for k, v in headers.items()},
        }
        setup_testing_defaults(environ)
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            started[:] = [(status, headers)]

        data, error = b"", None
        try:
            # It knows no other methods than HTTP's own.
            app = self.app if method == "BREW" else validator(self.app)
            body = app(environ, start_response)
            try:
                data = b"".join(body)
            finally:
                getattr(body, "close", lambda: None)()
        except AssertionError:  # what the validator complains of
            raise
        except Exception as escaped:
            error = escaped
        if not started:
            return Response(None, [], data, error)
        [(status, headers_out)] = started
        return Response(int(status[:3]), headers_out, data, error)


@pytest.fixture(params=ROWS, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Row:
    return request.param


@pytest.fixture
def make_client(row: Row, tmp_path: Path) -> Callable[..., Client]:
    def make(**config: Any) -> Client:
        client = Client(row, config={"version_path": tmp_path, **config})
        _ = client.app  # skips here when the framework is missing
        return client

    return make


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    return make_client()


@pytest.fixture
def asgi_client() -> Callable[..., Client]:
    """Returns a client of an ASGI application that is no row of its own."""
    return lambda app: Client(ROWS[0], _app=app)


@pytest.fixture
def summaries() -> Iterator[list[logging.LogRecord]]:
    """The records of request.summary, in order."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger("request.summary")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield records
    logger.setLevel(level)
    logger.removeHandler(handler)
