"""One client for every framework and both protocols, driven without a server."""

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest

from dockerflow import testing
from dockerflow.asgi import DockerflowMiddleware as ASGIMiddleware
from dockerflow.checks import Registry
from dockerflow.config import Config
from dockerflow.testing import Response
from dockerflow.wsgi import DockerflowMiddleware as WSGIMiddleware

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the applications in apps/


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

    def request(self, method: str, path: str, headers: Any = None, **options: Any) -> Response:
        # The validator knows no other methods than HTTP's own.
        is_validated = not self.row.is_asgi and method != "BREW"
        app = validator(self.app) if is_validated else self.app
        with testing.Client(app, host=self.host) as client:
            response = client.request(method, path, headers, **options)
        if isinstance(response.error, AssertionError):  # what the validator complains of
            raise response.error
        return response

    def get(self, path: str, headers: Any = None, **options: Any) -> Response:
        return self.request("GET", path, headers, **options)


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
    with testing.capture_summaries() as records:
        yield records
