"""Django without a database, for both protocols."""

from collections.abc import AsyncIterator
from typing import Any

from django.conf import settings

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["testserver"],
        LOGGING_CONFIG=None,
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
        ],
        ROOT_URLCONF=__name__,
        SECRET_KEY="of no use here",
    )

from django.core.asgi import get_asgi_application
from django.core.handlers.asgi import ASGIRequest
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from apps import BROKEN, CHUNKS, CORS


def root(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


def fail(request: HttpRequest) -> HttpResponse:
    raise ValueError(BROKEN)


def status_500(request: HttpRequest) -> HttpResponse:
    return HttpResponse("oh", status=500, headers=CORS)


async def chunks() -> AsyncIterator[bytes]:
    for chunk in CHUNKS:
        yield chunk


def stream(request: HttpRequest) -> StreamingHttpResponse:
    # Django warns of an iterator that isn't of the handler's own kind.
    return StreamingHttpResponse(chunks() if isinstance(request, ASGIRequest) else iter(CHUNKS))


urlpatterns = [
    path("", root),
    path("fail", fail),
    path("status/500", status_500),
    path("stream", stream),
]


def make_asgi() -> Any:
    return get_asgi_application()


def make_wsgi() -> Any:
    return get_wsgi_application()


ADAPTED = ["dockerflow.django.middleware.DockerflowMiddleware", *settings.MIDDLEWARE]
"""``MIDDLEWARE`` with Dockerflow by the adapter: for ``override_settings`` around both makers.

The adapter takes its settings from Django's, and its checks from the default registry.
"""
