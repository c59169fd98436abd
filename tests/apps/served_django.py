"""Django with an endless stream, for a server; mozlog goes to stdout."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator

from django.conf import settings

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DOCKERFLOW_CHECKS=[],
        LOGGING_CONFIG=None,
        MIDDLEWARE=["dockerflow.django.middleware.DockerflowMiddleware"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="of no use here",
    )

from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path

from dockerflow.logging import MozlogHandler

logger = logging.getLogger("request.summary")
logger.addHandler(MozlogHandler(stream=sys.stdout, name="served"))
logger.setLevel(logging.INFO)
logger.propagate = False


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 65_536
        await asyncio.sleep(0.01)


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(endless(), status=206)


async def root(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello")


urlpatterns = [path("", root), path("endless", stream)]
asgi = get_asgi_application()
