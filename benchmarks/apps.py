"""The applications that are measured, each as its library's own documentation sets it up.

The environment variable BENCH_APP names one as ``framework:variant``. The file runs in both
environments, so ``dockerflow`` is python-dockerflow in one of them, and this library in the other.
"""

from __future__ import annotations

import logging
import logging.config
import os
import sys
from typing import Any

LINE = (
    '{"Timestamp":1795488735519628288,"Type":"request.summary","Logger":"bench","Hostname":"web-1",'
    '"EnvVersion":"2.0","Severity":6,"Pid":7,"Fields":{"agent":"curl/8.14.1","code":200,"errno":0,'
    '"lang":"","method":"GET","path":"/","rid":"5b0c6f0e-3b0e-4b0e-8b0e-3b0e4b0e8b0e","t":2,"uid":""}}'
)
INCUMBENT_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {"()": "dockerflow.logging.JsonLogFormatter", "logger_name": "bench"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "json",
            "stream": "ext://sys.stdout",
        }
    },
    "loggers": {
        "request.summary": {"handlers": ["console"], "level": "INFO", "propagate": False},
    },
}


# Logging.


def log_by_hand() -> Any:
    """Return a function that logs one line whose text is ready."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    info = logging.getLogger("request.summary").info
    return lambda: info(LINE)


def configure_sentry() -> None:
    """Set up Sentry, whose integrations then follow each request and keep each log line."""
    import sentry_sdk

    # Nothing listens there: no event is expected.
    sentry_sdk.init("http://key@127.0.0.1:9/1", traces_sample_rate=0)


def configure(variant: str) -> None:
    """Set up logging, and Sentry, as a variant of the two libraries has it."""
    library, _, option = variant.partition(", ")
    if option != "orjson":
        sys.modules["orjson"] = None  # type: ignore[assignment] # as if it weren't installed
    if option == "Sentry":
        configure_sentry()
    if library == "python-dockerflow":
        import warnings

        warnings.simplefilter("ignore", DeprecationWarning)
        logging.config.dictConfig(INCUMBENT_LOGGING)
    else:
        from dockerflow.logging import configure_logging

        configure_logging("bench", format=option if option in {"text", "gcp"} else "mozlog")


def configure_structlog() -> Any:
    """Return a logger that writes JSON lines, as structlog's documentation has it."""
    import structlog

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(),
    )
    return structlog.get_logger("bench")


# What one line by hand takes, as a middleware.


def asgi_by_hand(app: Any) -> Any:
    log = log_by_hand()

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)
        if scope["type"] == "http":
            log()

    return middleware


def wsgi_by_hand(app: Any) -> Any:
    log = log_by_hand()

    def middleware(environ: Any, start_response: Any) -> Any:
        body = app(environ, start_response)
        log()
        return body

    return middleware


# The applications.


def asgi(variant: str) -> Any:
    """Return an ASGI application without a framework."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hi"})

    match variant:
        case "bare":
            return app
        case "asgi-correlation-id":
            from asgi_correlation_id import CorrelationIdMiddleware

            return CorrelationIdMiddleware(app)
        case "python-dockerflow, ids alone" | "dockerflow-middleware, ids alone":
            from dockerflow.fastapi.middleware import RequestIdMiddleware

            return RequestIdMiddleware(app)
    from dockerflow.asgi import DockerflowMiddleware

    configure(variant)
    if variant.endswith("no summaries of probes"):
        from dockerflow.config import Config

        return DockerflowMiddleware(app, config=Config(summary_log_probes=False))
    return DockerflowMiddleware(app)


def fastapi(variant: str) -> Any:
    from fastapi import FastAPI
    from starlette.responses import PlainTextResponse

    app = FastAPI()

    @app.get("/")
    async def index() -> Any:
        return PlainTextResponse("hi")

    match variant:
        case "bare":
            return app
        case "bare, Sentry":
            configure_sentry()
            return app
        case "a line by hand":
            return asgi_by_hand(app)
        case "asgi-correlation-id, structlog":
            from asgi_correlation_id import CorrelationIdMiddleware

            app.add_middleware(AccessLog)
            app.add_middleware(CorrelationIdMiddleware)
            return app
        case "OpenTelemetry":
            return opentelemetry(app)
    configure(variant)
    if variant.startswith("python-dockerflow"):
        from dockerflow.fastapi import router
        from dockerflow.fastapi.middleware import MozlogRequestSummaryLogger, RequestIdMiddleware

        app.include_router(router)
        logger = logging.getLogger("request.summary")
        app.add_middleware(MozlogRequestSummaryLogger, logger=logger)
        app.add_middleware(RequestIdMiddleware)
    else:
        from dockerflow.fastapi import install

        install(app)
    return app


class AccessLog:
    """A line for each request with its id: what asgi-correlation-id leaves to the application."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.log = configure_structlog()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, and log its line."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        import time

        from asgi_correlation_id import correlation_id

        started = time.perf_counter()
        status = 500

        async def keep_status(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, keep_status)
        finally:
            self.log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                code=status,
                rid=correlation_id.get(),
                t=int((time.perf_counter() - started) * 1000),
            )


def opentelemetry(app: Any) -> Any:
    """Return the application with a span for each request, which is written as a line of JSON."""
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    provider = TracerProvider()
    exporter = ConsoleSpanExporter(formatter=lambda span: span.to_json(indent=None) + "\n")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return OpenTelemetryMiddleware(app, tracer_provider=provider)


def flask(variant: str) -> Any:
    from flask import Flask

    app = Flask("bench")

    @app.get("/")
    def index() -> str:
        return "hi"

    match variant:
        case "bare":
            return app
        case "bare, Sentry":
            configure_sentry()
            return app
        case "a line by hand":
            return wsgi_by_hand(app)
    configure(variant)
    from dockerflow.flask import Dockerflow

    Dockerflow(app)
    return app


urlpatterns: list[Any] = []
"""Of the Django application."""


def django(variant: str) -> Any:
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import path

    middleware: list[str] = []
    apps: list[str] = []
    logging_config: Any = None
    match variant:
        case "bare" | "a line by hand":
            pass
        case "bare, Sentry":
            configure_sentry()
        case "django-structlog":
            configure_structlog()
            apps = ["django_structlog"]
            middleware = ["django_structlog.middlewares.RequestMiddleware"]
        case _:
            configure(variant)
            apps = ["dockerflow.django"]
            middleware = ["dockerflow.django.middleware.DockerflowMiddleware"]
    if variant.startswith("python-dockerflow"):
        logging_config = INCUMBENT_LOGGING
    elif variant.startswith("dockerflow-middleware"):
        from dockerflow.logging import logging_config as configuration

        logging_config = configuration("bench")
    urlpatterns.append(path("", lambda _: HttpResponse("hi")))
    settings.configure(
        ROOT_URLCONF=__name__,
        SECRET_KEY="x" * 50,
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=[*middleware, "django.middleware.common.CommonMiddleware"],
        INSTALLED_APPS=apps,
        DATABASES={},
        **({"LOGGING": logging_config} if logging_config else {}),
    )
    app = get_wsgi_application()
    return wsgi_by_hand(app) if variant == "a line by hand" else app


def __getattr__(name: str) -> Any:
    """Make the application when a server asks for it."""
    if name != "app":
        raise AttributeError(name)
    framework, _, variant = os.environ["BENCH_APP"].partition(":")
    globals()["app"] = app = globals()[framework](variant)
    return app
