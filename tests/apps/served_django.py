"""What tests/servers/ serves of Django: settings, URLs and views."""

import asyncio
import os
from collections.abc import AsyncIterator

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from apps import BROKEN, CHUNKS, served

ALLOWED_HOSTS = ["*"]
ASGI_APPLICATION = "apps.served_django_asgi.asgi"
DATA_UPLOAD_MAX_MEMORY_SIZE = None
DOCKERFLOW_CHECKS: list[str] = []
DOCKERFLOW_HEARTBEAT_DETAILS = "always"
INSTALLED_APPS = os.environ.get("APPS", "").split()
LOGGING_CONFIG = None
MIDDLEWARE = ["dockerflow.django.middleware.DockerflowMiddleware"]
ROOT_URLCONF = __name__
SECRET_KEY = "of no use here"
SILENCED_SYSTEM_CHECKS = ["security.W001"]
USE_TZ = True


def root(request: HttpRequest) -> HttpResponse:
    served.log.info("/")
    return HttpResponse(str(os.getpid()))


def fail(request: HttpRequest) -> HttpResponse:
    raise ValueError(BROKEN)


async def parts() -> AsyncIterator[bytes]:
    for part in served.stream("/stream", CHUNKS):
        yield part


def stream(request: HttpRequest) -> StreamingHttpResponse:
    is_async = isinstance(request, ASGIRequest)
    return StreamingHttpResponse(parts() if is_async else served.stream("/stream", CHUNKS))


def upload(request: HttpRequest) -> HttpResponse:
    served.log.info("/upload")
    return HttpResponse(str(len(request.body)))


async def aendless() -> AsyncIterator[bytes]:
    yield served.CHUNK
    served.log.info("/endless")
    while True:
        await asyncio.sleep(0.01)
        yield served.CHUNK


def endless(request: HttpRequest) -> StreamingHttpResponse:
    is_async = isinstance(request, ASGIRequest)
    return StreamingHttpResponse(aendless() if is_async else served.endless(), status=206)


urlpatterns = [
    path("", root),
    path("fail", fail),
    path("stream", stream),
    path("upload", upload),
    path("endless", endless),
]
