"""The page, the API and the redirects."""

from __future__ import annotations

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.views.decorators.http import require_http_methods, require_safe
from pydantic import ValidationError

from links import page, polling
from links.codes import is_code
from links.schemas import Link, NewLink, explain
from links_django.apps import counter
from links_django.models import StoredLink


@require_safe
def index(_: HttpRequest) -> HttpResponse:
    """Show the page."""
    return HttpResponse(page.render(), headers=page.HEADERS)


@require_http_methods(["GET", "HEAD", "POST"])
def links(request: HttpRequest) -> HttpResponse:
    """Keep a link, or return the newest ones and wait so many seconds for another."""
    if request.method == "POST":
        return shorten(request)

    def find() -> list[StoredLink]:
        return list(StoredLink.objects.order_by("-id")[:20])

    found = polling.newest(find, request.GET.get("wait", "0"))
    counts = counter.get([link.code for link in found])
    pairs = zip(found, counts, strict=True)
    return JsonResponse([shown(request, *pair) for pair in pairs], safe=False)


def shorten(request: HttpRequest) -> HttpResponse:
    """Keep a link."""
    try:
        new = NewLink.model_validate_json(request.body)
    except RequestDataTooBig:
        return JsonResponse({"error": "Content Too Large"}, status=413)
    except ValidationError as error:
        return JsonResponse(explain(error.errors()), status=422)
    link = StoredLink.objects.create(url=new.url)
    [count] = counter.get([link.code])
    return JsonResponse(shown(request, link, count), status=201)


def shown(request: HttpRequest, link: StoredLink, count: int | None) -> dict[str, object]:
    """Return what a client gets of a link."""
    short_url = request.build_absolute_uri(f"/{link.code}")
    return Link(code=link.code, short_url=short_url, url=link.url, hits=count).model_dump()


@require_safe
def follow(request: HttpRequest, code: str) -> HttpResponse:
    """Send the visitor where the link leads."""
    link = StoredLink.objects.filter(code=code).first() if is_code(code) else None
    if link is None:
        return HttpResponse("There is no such link.", status=404, content_type="text/plain")
    if request.method == "GET":
        counter.add(code)
    return HttpResponseRedirect(link.url, headers={"Cache-Control": "no-store"})


def fail(_: HttpRequest) -> HttpResponse:
    """Answer what failed as the other ways do; Django logs it."""
    return JsonResponse({"error": "Internal Server Error"}, status=500)
