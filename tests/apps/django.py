"""The app in Django, whose settings allow one host, by https only."""

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from dockerflow import asgi, wsgi

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["example.com"],
        DEBUG_PROPAGATE_EXCEPTIONS=True,  # so that an exception escapes, as elsewhere
        LOGGING_CONFIG=None,
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
        ],
        ROOT_URLCONF=__name__,
        SECRET_KEY="for tests only",
        SECURE_SSL_REDIRECT=True,
        **({"USE_TZ": True} if django.VERSION < (5,) else {}),
    )


def hello(request):
    return HttpResponse("hello")


def fail(request):
    raise RuntimeError("boom")


def status(request, code):
    return HttpResponse("status", status=code)


async def chunks():
    for chunk in "abc":
        yield chunk


def stream(request):
    # Django warns of a sync iterator under ASGI, and of an async one under WSGI.
    return StreamingHttpResponse(chunks() if hasattr(request, "scope") else iter("abc"))


urlpatterns = [
    path("", hello),
    path("fail", fail),
    path("status/<int:code>", status),
    path("stream", stream),
]


def make_asgi(options):
    app = get_asgi_application()
    return app if options is None else asgi.DockerflowMiddleware(app, **options)


def make_wsgi(options):
    app = get_wsgi_application()
    return app if options is None else wsgi.DockerflowMiddleware(app, **options)
