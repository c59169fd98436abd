"""What is measured: each case gives a function that does a thing n times, for each variant.

``bare`` is the app without any library, ``incumbent`` python-dockerflow and ``ours`` this library,
each as its own documentation has it used; ``floor`` logs the same line by hand, without a library
around the app. The file runs in both environments: it imports
whatever ``dockerflow`` is there.
"""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import os
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[[int], None]

VERSION = {
    "source": "https://github.com/example/app",
    "version": "1.2.3",
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "build": "https://ci.example/build/1",
    "more": "x" * 840,
}
HEADERS = [
    ("Host", "example.com"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Connection", "keep-alive"),
    ("X-Forwarded-For", "192.0.2.1"),
    ("X-Forwarded-Proto", "https"),
]


def log_to_nowhere(*, is_bare: bool = False) -> logging.Logger:
    """Have request.summary written as mozlog: kept until :func:`discard_log`, then discarded."""
    logger = logging.getLogger("request.summary")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if not is_bare:
        from dockerflow.logging import MozlogFormatter

        handler = logging.StreamHandler(io.StringIO())
        handler.setFormatter(MozlogFormatter(logger_name="bench"))
        logger.addHandler(handler)
    return logger


def discard_log() -> list[dict[str, Any]]:
    """Return the summaries until now, and discard those to come as the system does."""
    lines: list[str] = []
    for handler in logging.getLogger("request.summary").handlers:
        assert isinstance(handler, logging.StreamHandler)
        lines += handler.stream.getvalue().splitlines()
        handler.setStream(open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    return [json.loads(line) for line in lines]


def version_folder() -> str:
    folder = tempfile.mkdtemp()
    Path(folder, "version.json").write_text(json.dumps(VERSION), encoding="utf-8")
    return folder


# Drivers: requests as a server would make them, without a server.


def drive_asgi(app: Any, path: str = "/", headers: Any = HEADERS, state: Any = None) -> Run:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"a=1",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": ("192.0.2.1", 4711),
        "server": ("127.0.0.1", 80),
    }
    if state is not None:
        scope["app"] = state
    request = {"type": "http.request", "body": b"", "more_body": False}
    loop = asyncio.new_event_loop()

    async def receive() -> Any:
        return request

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200, message

    async def many(n: int) -> None:
        for _ in range(n):
            await app({**scope, "headers": list(scope["headers"])}, receive, send)

    def run(n: int) -> None:
        loop.run_until_complete(many(n))

    return run


def drive_wsgi(app: Any, path: str = "/", query: str = "a=1") -> Run:
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "example.com",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **{"HTTP_" + name.upper().replace("-", "_"): value for name, value in HEADERS},
    }

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        assert status.startswith("200"), status

    def run(n: int) -> None:
        for _ in range(n):
            body = app({**environ, "wsgi.input": io.BytesIO()}, start_response)
            for _chunk in body:
                pass
            close = getattr(body, "close", None)
            if close is not None:
                close()

    return run


# The floor: one line, logged by hand around the bare application, and nothing else.


def _log_by_hand() -> Callable[[], None]:
    info = logging.getLogger("request.summary").info
    standard = logging.makeLogRecord({}).__dict__
    fields = {k: v for k, v in summary_record().__dict__.items() if k not in standard}
    return lambda: info("", extra=fields)


def floor_asgi(app: Any) -> Any:
    log = _log_by_hand()

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)
        log()

    return middleware


def floor_wsgi(app: Any) -> Any:
    log = _log_by_hand()

    def middleware(environ: Any, start_response: Any) -> Any:
        body = app(environ, start_response)
        log()
        return body

    return middleware


# Applications.


async def bare_asgi(scope: Any, receive: Any, send: Any) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"text/plain"), (b"content-length", b"2")],
        }
    )
    await send({"type": "http.response.body", "body": b"ok"})


class Starlette:
    """Stands for the app that Starlette has in the scope, where both libraries look for settings.

    Its look-ups are faster than Starlette's own.
    """

    state = types.SimpleNamespace()


STARLETTE = Starlette()


def asgi_app(variant: str, app: Any = bare_asgi) -> Any:
    if variant == "quiet":  # as it comes: nothing is logged where logging isn't set up
        from dockerflow.asgi import DockerflowMiddleware

        return DockerflowMiddleware(app)
    logger = log_to_nowhere(is_bare=variant == "bare")
    if variant == "incumbent":
        from dockerflow.fastapi.middleware import (
            MozlogRequestSummaryLogger,
            RequestIdMiddleware,
        )

        return RequestIdMiddleware(MozlogRequestSummaryLogger(app, logger=logger))
    if variant == "ours":
        from dockerflow.asgi import DockerflowMiddleware

        return DockerflowMiddleware(app)
    return floor_asgi(app) if variant == "floor" else app


def asgi(variant: str) -> Run:
    """Ids and the summary around a bare ASGI application."""
    return drive_asgi(asgi_app(variant), state=STARLETTE)


def ids(variant: str) -> Run:
    """An id for each request, and nothing else, around a bare ASGI application."""
    app: Any = bare_asgi
    if variant == "asgi-correlation-id":
        from asgi_correlation_id import CorrelationIdMiddleware

        app = CorrelationIdMiddleware(app)
    elif variant != "bare":
        from dockerflow.fastapi.middleware import RequestIdMiddleware

        app = RequestIdMiddleware(app)
    return drive_asgi(app, state=STARLETTE)


def fastapi_app(variant: str, *, with_checks: Callable[[], None] | None = None) -> Any:
    from fastapi import FastAPI

    logger = log_to_nowhere(is_bare=variant == "bare")
    os.environ["APP_DIR"] = os.environ["DOCKERFLOW_VERSION_PATH"] = version_folder()
    app = FastAPI()

    @app.get("/")
    async def index() -> dict[str, str]:
        return {"answer": "ok"}

    if variant == "incumbent":
        from dockerflow.fastapi import router
        from dockerflow.fastapi.middleware import (
            MozlogRequestSummaryLogger,
            RequestIdMiddleware,
        )

        app.include_router(router)
        app.add_middleware(RequestIdMiddleware)
        app.add_middleware(MozlogRequestSummaryLogger, logger=logger)
    elif variant == "ours":
        from dockerflow.fastapi import install

        install(app)
    if with_checks is not None:
        with_checks()
    return app


def fastapi(variant: str) -> Run:
    """A request to a FastAPI app."""
    app = fastapi_app(variant)
    return drive_asgi(floor_asgi(app) if variant == "floor" else app)


def fastapi_lbheartbeat(variant: str) -> Run:
    """The load balancer's probe of a FastAPI app."""
    return drive_asgi(fastapi_app(variant), "/" if variant == "bare" else "/__lbheartbeat__")


def fastapi_lbheartbeat_quiet(variant: str) -> Run:
    """The same with summaries off, by the level of their logger."""
    run = fastapi_lbheartbeat(variant)
    logging.getLogger("request.summary").setLevel(logging.WARNING)
    return run


def fastapi_version(variant: str) -> Run:
    """version.json of 1 kB from a FastAPI app."""
    return drive_asgi(fastapi_app(variant), "/" if variant == "bare" else "/__version__")


def flask_app(variant: str) -> Any:
    from flask import Flask

    log_to_nowhere(is_bare=variant == "bare")
    app = Flask("bench")

    @app.get("/")
    def index() -> dict[str, str]:
        return {"answer": "ok"}

    if variant not in {"bare", "floor"}:
        from dockerflow.flask import Dockerflow

        Dockerflow(app, version_path=version_folder())
    return app


def flask(variant: str) -> Run:
    """A request to a Flask app."""
    app = flask_app(variant).wsgi_app
    return drive_wsgi(floor_wsgi(app) if variant == "floor" else app)


def django_app(variant: str) -> Any:
    import django
    from django.core.wsgi import get_wsgi_application
    from django.http import JsonResponse
    from django.urls import path

    log_to_nowhere(is_bare=variant == "bare")
    extra: dict[str, Any] = {}
    global urlpatterns  # noqa: PLW0603
    urlpatterns = [path("", lambda _: JsonResponse({"answer": "ok"}))]
    if variant == "django-health-check":
        extra = {"INSTALLED_APPS": ["health_check"]}
    elif variant not in {"bare", "floor"}:
        extra = {
            "INSTALLED_APPS": ["dockerflow.django"],
            "MIDDLEWARE": ["dockerflow.django.middleware.DockerflowMiddleware"],
            "DOCKERFLOW_CHECKS": [],
        }
    # A module, as a project has one.
    module = types.ModuleType("bench_settings")
    vars(module).update(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="bench",  # noqa: S106
        LOGGING_CONFIG=None,
        BASE_DIR=version_folder(),
        **extra,
    )
    sys.modules[module.__name__] = module
    os.environ["DJANGO_SETTINGS_MODULE"] = module.__name__
    django.setup()
    return get_wsgi_application()


def django(variant: str) -> Run:
    """A request to a Django app under WSGI."""
    app = django_app(variant)
    return drive_wsgi(floor_wsgi(app) if variant == "floor" else app)


# The formatter alone.


def summary_record() -> logging.LogRecord:
    record = logging.LogRecord("request.summary", logging.INFO, __file__, 1, "", (), None)
    fields = {
        "agent": dict(HEADERS)["User-Agent"],
        "code": 200,
        "errno": 0,
        "lang": "en-GB,en;q=0.5",
        "method": "GET",
        "path": "/items/4711",
        "rid": "0b39c2e5-6f84-4f0a-9a62-1c3c3a4a1f0e",
        "t": 12,
        "uid": "",
    }
    record.__dict__.update(fields)
    return record


def formatter(variant: str) -> Run:
    """MozlogFormatter.format of a summary record."""
    record = summary_record()
    if variant == "bare":

        def nothing(n: int) -> None:
            for _ in range(n):
                pass

        return nothing
    if variant == "structlog":
        import structlog

        render = structlog.processors.JSONRenderer()
        event = {key: value for key, value in record.__dict__.items() if key != "args"}

        def run_structlog(n: int) -> None:
            for _ in range(n):
                render(None, "info", dict(event))

        return run_structlog
    if variant == "python-json-logger":
        from pythonjsonlogger.json import JsonFormatter

        format_ = JsonFormatter().format
    else:
        from dockerflow.logging import MozlogFormatter

        format_ = MozlogFormatter(logger_name="bench").format

    def run(n: int) -> None:
        for _ in range(n):
            format_(record)

    return run


def formatter_stdlib(variant: str) -> Run:
    """MozlogFormatter.format without orjson."""
    sys.modules["orjson"] = None  # type: ignore[assignment]
    return formatter(variant)


# Checks, by the clock on the wall: they wait.


def _register_sleepers(n: int = 10, seconds: float = 0.1) -> None:
    from dockerflow import checks

    for number in range(n):

        def check() -> list[Any]:
            time.sleep(seconds)
            return []

        checks.register(check, name=f"check{number}")


def flask_ten_checks(variant: str) -> Run:
    """A Flask heartbeat with ten checks of 100 ms."""
    app = flask_app(variant)
    if variant == "bare":
        return drive_wsgi(app.wsgi_app)
    _register_sleepers()
    return drive_wsgi(app.wsgi_app, "/__heartbeat__")


def _django_heartbeat(variant: str, count: int, seconds: float) -> Run:
    app = django_app(variant)
    if variant == "bare":
        return drive_wsgi(app)
    if variant == "django-health-check":
        from django.urls import path
        from health_check.base import HealthCheck
        from health_check.views import HealthCheckView

        class Check(HealthCheck):
            def run(self) -> None:
                time.sleep(seconds)

        view = HealthCheckView.as_view(checks=[Check] * count)
        urlpatterns.append(path("health/", view))
        return drive_wsgi(app, "/health/", "format=json")
    if variant == "incumbent":
        # It runs the checks of Django's own registry.
        from django.core.checks import register as register_system_check

        for number in range(count):

            def check(app_configs: Any, **kwargs: Any) -> list[Any]:
                time.sleep(seconds)
                return []

            check.__name__ = f"check{number}"
            register_system_check(check)
    else:
        _register_sleepers(count, seconds)
    return drive_wsgi(app, "/__heartbeat__")


def django_heartbeat(variant: str) -> Run:
    """A Django heartbeat with one check that has nothing to do."""
    return _django_heartbeat(variant, 1, 0)


def django_ten_checks(variant: str) -> Run:
    """A Django heartbeat with ten checks of 100 ms."""
    return _django_heartbeat(variant, 10, 0.1)


def single_flight(variant: str) -> Run:
    """100 concurrent heartbeats of FastAPI on a 50 ms check; prints how often it ran."""
    runs = 0

    def with_checks() -> None:
        from dockerflow import checks

        async def check() -> list[Any]:
            nonlocal runs
            runs += 1
            await asyncio.sleep(0.05)
            return []

        checks.register(check, name="slow")

    app = fastapi_app(variant, with_checks=with_checks)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    async def hundred() -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/__heartbeat__",
            "raw_path": b"/__heartbeat__",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"example.com")],
            "client": ("192.0.2.1", 4711),
            "server": ("127.0.0.1", 80),
        }
        await asyncio.gather(*(app(dict(scope), receive, send) for _ in range(100)))

    def run(n: int) -> None:
        nonlocal runs
        runs = 0
        asyncio.run(hundred())
        print(f"runs {runs}", flush=True)

    return run


# How cost grows. Each takes a number, and says what one of the n things then costs.


def many_checks(variant: str, count: int) -> Run:
    """A heartbeat with ``count`` checks that do nothing; per check."""
    from dockerflow import checks
    from dockerflow.config import Config

    registry = checks.Registry()
    for number in range(count):
        registry.register(lambda: None, name=f"check{number}")
    config = Config()

    def run(n: int) -> None:
        for _ in range(max(1, n // count)):
            registry.run(config)

    return run


def many_headers(variant: str, count: int) -> Run:
    """A request with ``count`` header lines."""
    headers = [(f"x-header-{number}", "value") for number in range(count)]
    return drive_asgi(asgi_app(variant), headers=headers)


def concurrent_requests(variant: str, count: int) -> Run:
    """``count`` requests under way at once; per request."""

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        await bare_asgi(scope, receive, send)

    app = asgi_app(variant, waiting)
    loop = asyncio.new_event_loop()

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    async def batch() -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"example.com")],
        }
        await asyncio.gather(*(app(dict(scope), receive, send) for _ in range(count)))

    def run(n: int) -> None:
        for _ in range(max(1, n // count)):
            loop.run_until_complete(batch())

    return run


def streamed_chunks(variant: str, count: int) -> Run:
    """A response of ``count`` chunks; per chunk."""
    start = {"type": "http.response.start", "status": 200, "headers": []}
    chunk = {"type": "http.response.body", "body": b"x" * 1000, "more_body": True}
    last = {"type": "http.response.body", "body": b""}

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        for _ in range(count - 1):
            await send(chunk)
        await send(last)

    run = drive_asgi(asgi_app(variant, streaming))
    return lambda n: run(max(1, n // count))


def long_life(variant: str) -> Run:
    """Requests of which no two are the same; prints the process's memory after them, in KiB."""
    served = 0
    app = asgi_app(variant)
    loop = asyncio.new_event_loop()

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    async def many(n: int) -> None:
        nonlocal served
        for _ in range(n):
            served += 1
            number = b"%d" % served
            await app(
                {
                    "type": "http",
                    "method": "GET",
                    "path": f"/items/{served}",
                    "query_string": b"page=" + number,
                    "root_path": "",
                    "headers": [
                        (b"host", b"example.com"),
                        (b"x-request-id", b"request-" + number),
                        (b"x-header-" + number, b"value"),
                    ],
                    "client": ("192.0.2.1", served % 65536),
                },
                receive,
                send,
            )

    def run(n: int) -> None:
        loop.run_until_complete(many(n))
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        print("rss", pages * os.sysconf("SC_PAGE_SIZE") // 1024, flush=True)

    return run
