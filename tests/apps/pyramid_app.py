"""Pyramid."""

import warnings
from typing import Any

with warnings.catch_warnings():  # of what Pyramid and WebOb import
    warnings.simplefilter("ignore")
    from pyramid.config import Configurator
    from pyramid.response import Response

from apps import BROKEN, CHUNKS, CORS


def root(request: Any) -> Response:
    return Response("hello")


def fail(request: Any) -> Response:
    raise ValueError(BROKEN)


def status_500(request: Any) -> Response:
    return Response(b"oh", status=500, headerlist=[("Content-Type", "text/plain"), *CORS.items()])


def stream(request: Any) -> Response:
    return Response(app_iter=iter(CHUNKS), content_type="text/plain", charset="utf-8")


def make_wsgi() -> Any:
    with Configurator() as config:
        for path, view in (
            ("/", root), ("/fail", fail), ("/status/500", status_500), ("/stream", stream),
        ):  # fmt: skip
            config.add_route(view.__name__, path)
            config.add_view(view, route_name=view.__name__)
        return config.make_wsgi_app()
