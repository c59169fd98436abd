"""Django's part of real.py: the URLs, with sync and async views."""

from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import (
    FileResponse,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.static import serve as serve_static

from apps import real


def own_errors(get_response: Any) -> Any:
    """Middleware that makes a page of an exception."""

    def middleware(request: Any) -> Any:
        return get_response(request)

    def process_exception(request: Any, exception: Exception) -> Any:
        if isinstance(exception, real.OwnError):
            return HttpResponse("<h1>My own page</h1>", status=418)
        return None

    middleware.process_exception = process_exception  # type: ignore[attr-defined]
    return middleware


@csrf_exempt
def form(request: Any) -> HttpResponse:
    return JsonResponse(dict(request.POST.lists()))


@csrf_exempt
async def upload(request: Any) -> HttpResponse:
    sent = request.FILES["file"]
    return JsonResponse([sent.name, sent.size, request.POST["note"]], safe=False, status=201)


def protected(request: Any) -> HttpResponse:
    return HttpResponse("never without a token")


def login(request: Any) -> HttpResponse:
    request.session["user"] = "ann"
    response = HttpResponse("welcome")
    response.set_cookie("theme", "dark", httponly=True)
    response.set_cookie("seen", "1")
    return response


def me(request: Any) -> HttpResponse:
    answer = [request.session.get("user"), request.COOKIES.get("theme")]
    return JsonResponse(answer, safe=False)


async def redirect(request: Any) -> HttpResponse:
    return HttpResponseRedirect("/me")


def serve(request: Any) -> Any:
    if isinstance(request, ASGIRequest):  # which warns of files
        return serve_static(request, settings.SERVED_FILE.name, settings.SERVED_FILE.parent)
    return FileResponse(settings.SERVED_FILE.open("rb"))


def static(request: Any, name: str) -> Any:
    return serve_static(request, name, settings.SERVED_FILE.parent)


def download(request: Any) -> StreamingHttpResponse:
    is_async = isinstance(request, ASGIRequest)
    return StreamingHttpResponse(
        real.async_lines() if is_async else real.lines(), content_type="text/csv"
    )


def background(request: Any) -> HttpResponse:
    response = HttpResponse("later", status=202)
    response._resource_closers.append(lambda: real.done.append("django"))
    return response


def own_error(request: Any) -> HttpResponse:
    raise real.OwnError


def fail(request: Any) -> HttpResponse:
    raise ValueError("100% broken")


def page_404(request: Any, exception: Exception) -> HttpResponse:
    return HttpResponse("<h1>My own 404</h1>", status=404)


def page_500(request: Any) -> HttpResponse:
    return HttpResponse("<h1>My own 500</h1>", status=500)


handler404 = page_404
handler500 = page_500

urlpatterns = [
    path("form", form),
    path("upload", upload),
    path("protected", protected),
    path("login", login),
    path("me", me),
    path("with-slash/", me),
    path("redirect", redirect),
    path("file", serve),
    path("static/<name>", static),
    path("download", download),
    path("background", background),
    path("own-error", own_error),
    path("fail", fail),
]
