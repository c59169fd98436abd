"""One client for every framework and both protocols, driven without a server."""

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
from apps import settings_of

from dockerflow import testing
from dockerflow.asgi import DockerflowMiddleware as ASGIMiddleware
from dockerflow.checks import Registry, default_registry
from dockerflow.config import Config
from dockerflow.testing import Response
from dockerflow.wsgi import DockerflowMiddleware as WSGIMiddleware


@dataclass(frozen=True)
class Row:
    """One way to put Dockerflow around an application."""

    name: str
    module: str
    is_asgi: bool
    requires: tuple[str, ...] = ()
    wrap: Callable[..., Any] = lambda make, **options: ASGIMiddleware(make(), **options)
    reports: bool = False  # whether an adapter learns of an exception that the framework caught
    lbheartbeat: bytes = b""  # what it answers
    needs_startup: bool = False  # whether it answers nothing before its lifespan began
    is_inside: bool = False  # whether the framework's error pages come from further out
    escapes: bool = False  # whether an exception of the app's gets through to the middleware
    logger: str = "dockerflow"  # the name of the logger of /__error__

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


def as_asgi_app(make: Callable[[], Any], **options: Any) -> Any:
    app = make()
    app.asgi_app = ASGIMiddleware(app.asgi_app, **options)
    return app


def flask_extension(make: Callable[[], Any], **options: Any) -> Any:
    from apps.flask_app import build_flask

    return build_flask(make, **options)


def under_a2wsgi(make: Callable[[], Any], **options: Any) -> Any:
    import a2wsgi

    return ASGIMiddleware(a2wsgi.WSGIMiddleware(make()), **options)


def fastapi_router(make: Callable[[], Any], config: Config, registry: Registry) -> Any:
    """The router and both middlewares, as the incumbent documents them."""
    from dockerflow.fastapi import make_router
    from dockerflow.fastapi.middleware import MozlogRequestSummaryLogger, RequestIdMiddleware

    app = make()
    for name, value in settings_of(config).items():
        setattr(app.state, name, value)
    app.include_router(make_router(registry=registry, config=config), prefix=config.path_prefix)
    app.add_middleware(RequestIdMiddleware)
    app.add_middleware(MozlogRequestSummaryLogger)
    return app


def installed(make: Callable[[], Any], **options: Any) -> Any:
    from dockerflow.fastapi import install

    app = make()
    install(app, **options)
    return app


def sanic_extension(make: Callable[[], Any], **options: Any) -> Any:
    from apps.sanic_app import build_sanic

    return build_sanic(**options)


def aiohttp_setup(make: Callable[[], Any], **options: Any) -> Any:
    from apps.aiohttp_app import build_aiohttp

    return build_aiohttp(**options)


def django_middleware(make: Callable[[], Any], config: Config, registry: Registry) -> Any:
    """Django's middleware with settings of its own while a request is served."""
    from django.conf import settings
    from django.test import override_settings

    assert registry is default_registry
    importlib.import_module("apps.django_app")  # configures Django
    middleware = "dockerflow.django.middleware.DockerflowMiddleware"
    first = [middleware, *settings.MIDDLEWARE]

    @contextlib.contextmanager
    def set_up() -> Iterator[None]:
        with override_settings(**settings_of(config), DOCKERFLOW_CHECKS=[], MIDDLEWARE=first):
            yield

    with set_up():
        app = make()

    if inspect.iscoroutinefunction(type(app).__call__):

        async def asgi(scope: Any, receive: Any, send: Any) -> None:
            with set_up():
                await app(scope, receive, send)

        return asgi

    def wsgi(environ: Any, start_response: Any) -> Any:
        with set_up():
            return app(environ, start_response)

    return wsgi


ROWS = [
    Row("asgi", "bare", is_asgi=True, escapes=True),
    Row("wsgi", "bare", is_asgi=False, wrap=wrapped_wsgi, escapes=True),
    Row("starlette", "starlette_app", True, ("starlette",), escapes=True),
    Row(
        "starlette-added",
        "starlette_app",
        True,
        ("starlette",),
        added,
        is_inside=True,
        escapes=True,
    ),
    Row("fastapi-added", "fastapi_app", True, ("fastapi",), added, is_inside=True, escapes=True),
    Row("flask", "flask_app", False, ("flask",), as_wsgi_app),
    Row(
        "flask-extension",
        "flask_app",
        False,
        ("flask",),
        flask_extension,
        reports=True,
        logger="dockerflow.flask",
    ),
    Row("falcon-asgi", "falcon_app", True, ("falcon",)),
    Row("falcon-wsgi", "falcon_app", False, ("falcon",), wrapped_wsgi),
    Row("litestar", "litestar_app", True, ("litestar",)),
    Row("quart", "quart_app", True, ("quart",), as_asgi_app),
    Row("pyramid", "pyramid_app", False, ("pyramid",), wrapped_wsgi, escapes=True),
    Row("bottle", "bottle_app", False, ("bottle",), wrapped_wsgi),
    Row("django-asgi", "django_app", True, ("django",)),
    Row("django-wsgi", "django_app", False, ("django",), wrapped_wsgi),
    Row(
        "fastapi-router",
        "fastapi_app",
        True,
        ("fastapi",),
        fastapi_router,
        is_inside=True,
        escapes=True,
        lbheartbeat=b'{"status":"ok"}',
        logger="dockerflow.fastapi.views",
    ),
    Row(
        "fastapi-installed",
        "fastapi_app",
        True,
        ("fastapi",),
        installed,
        escapes=True,
        logger="dockerflow.fastapi.views",
    ),
    Row(
        "starlette-installed",
        "starlette_app",
        True,
        ("fastapi",),
        installed,
        escapes=True,
        logger="dockerflow.fastapi.views",
    ),
    *(
        Row(
            f"django-middleware-{'asgi' if is_asgi else 'wsgi'}",
            "django_app",
            is_asgi,
            ("django",),
            django_middleware,
            reports=True,
            logger="dockerflow.django",
        )
        for is_asgi in (True, False)
    ),
    Row(
        "sanic-extension",
        "sanic_app",
        True,
        ("sanic",),
        sanic_extension,
        reports=True,
        needs_startup=True,
        logger="dockerflow.sanic",
    ),
    Row(
        "aiohttp-setup",
        "aiohttp_app",
        True,
        ("aiohttp",),
        aiohttp_setup,
        reports=True,
        needs_startup=True,
    ),
    Row("a2wsgi", "bare", True, ("a2wsgi",), under_a2wsgi, escapes=True),
]


@dataclass
class Client:
    """Sends requests as a server would, to an application made with the settings given."""

    row: Row
    registry: Registry
    config: dict[str, Any] = field(default_factory=dict)
    host: str = "testserver"
    _app: Any = None
    # Where requests need the application to be started, it is until the test's end.
    _started: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _client: testing.Client | None = None

    @property
    def app(self) -> Any:
        if self._app is None:
            self._app = self.row.build(config=Config(**self.config), registry=self.registry)
        return self._app

    def request(self, method: str, path: str, headers: Any = None, **options: Any) -> Response:
        # The validator knows no other methods than HTTP's own.
        is_validated = not self.row.is_asgi and method != "BREW"
        app = validator(self.app) if is_validated else self.app
        client = self._client or testing.Client(app)
        if self.row.needs_startup:
            self._client = self._client or self._started.enter_context(client)
        client.host = self.host
        response = client.request(method, path, headers, **options)
        if isinstance(response.error, AssertionError):  # what the validator complains of
            raise response.error
        return response

    def get(self, path: str, headers: Any = None, **options: Any) -> Response:
        return self.request("GET", path, headers, **options)

    def close(self) -> None:
        self._started.close()


@pytest.fixture(params=ROWS, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Row:
    return request.param


@pytest.fixture
def make_client(row: Row, tmp_path: Path) -> Iterator[Callable[..., Client]]:
    with contextlib.ExitStack() as stack:
        yield partial(_make_client, stack, row, tmp_path)


@pytest.fixture(params=[row for row in ROWS if row.is_asgi], ids=lambda row: row.name)
def make_asgi_client(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., Client]]:
    """Does as ``make_client``, for what has to be on the app's event loop."""
    with contextlib.ExitStack() as stack:
        yield partial(_make_client, stack, request.param, tmp_path)


def _make_client(stack: contextlib.ExitStack, row: Row, folder: Path, **config: Any) -> Client:
    if row.wrap is django_middleware:  # whose checks are always those of the process
        default_registry.clear_checks()
        stack.callback(default_registry.clear_checks)
        registry = default_registry
    else:
        registry = Registry()
    client = Client(row, registry, config={"version_path": folder, **config})
    stack.callback(client.close)
    _ = client.app  # skips here when the framework is missing
    return client


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    return make_client()


@pytest.fixture
def asgi_client() -> Callable[..., Client]:
    """Returns a client of an ASGI application that is no row of its own."""
    return lambda app: Client(ROWS[0], Registry(), _app=app)
