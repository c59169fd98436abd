"""A client that leaves during its upload is no error of the app, whatever the framework makes of it."""

import asyncio
import importlib
import io
import json
import logging
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from log_lines import error_in

from dockerflow import checks
from dockerflow.config import Config

Records = list[logging.LogRecord]


class Broken(io.BytesIO):
    """A connection that was reset."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError("reset")

    readline = read


def environ(path: str, body: io.BytesIO) -> dict[str, Any]:
    made: dict[str, Any] = {
        "REQUEST_METHOD": "POST", "PATH_INFO": path, "wsgi.input": body, "CONTENT_LENGTH": "100",
        "CONTENT_TYPE": "application/json" if path == "/json" else "application/x-www-form-urlencoded",
    }  # fmt: skip
    setup_testing_defaults(made)
    return made


def assert_gone(summaries: Records) -> None:
    [record] = summaries
    assert (vars(record)["code"], vars(record)["errno"]) == (499, 0)
    assert (record.levelno, error_in(record)) == (logging.INFO, "")


@pytest.mark.parametrize("body", [io.BytesIO, Broken])
@pytest.mark.parametrize("path", ["/raw", "/json", "/form"])
def test_flask(summaries: Records, path: str, body: Any) -> None:
    flask = pytest.importorskip("flask")
    from dockerflow.flask import Dockerflow

    app = flask.Flask(__name__)
    Dockerflow(app)
    app.add_url_rule("/raw", "raw", lambda: flask.request.get_data(), methods=["POST"])
    app.add_url_rule("/json", "json", lambda: flask.request.get_json(), methods=["POST"])
    app.add_url_rule("/form", "form", lambda: str(flask.request.form), methods=["POST"])
    response = app(environ(path, body(b"[1,")), lambda *_: None)
    response.close()
    assert_gone(summaries)


@pytest.mark.parametrize("body", [io.BytesIO, Broken])
@pytest.mark.parametrize("path", ["/raw", "/json", "/form"])
@pytest.mark.parametrize("is_driver", [False, True])
def test_django(summaries: Records, path: str, body: Any, is_driver: bool) -> None:
    pytest.importorskip("django")
    importlib.import_module("apps.django_app")  # configures Django
    from django.core.handlers.exception import convert_exception_to_response
    from django.core.handlers.wsgi import WSGIRequest
    from django.http import HttpResponse

    from dockerflow.django.middleware import DockerflowMiddleware
    from dockerflow.wsgi import DockerflowMiddleware as Driver

    def view(request: Any) -> Any:
        if path == "/json":
            return HttpResponse(json.loads(request.body))
        return HttpResponse(request.body if path == "/raw" else str(request.POST))

    def app(environ: Any, start_response: Any) -> Any:
        get_response = convert_exception_to_response(view)
        served = get_response if is_driver else DockerflowMiddleware(get_response)
        response = served(WSGIRequest(environ))
        start_response(f"{response.status_code} ...", [])
        return [response.content]

    served: Any = Driver(app, config=Config(), registry=checks.Registry()) if is_driver else app
    response = served(environ(path, body(b"[1,")), lambda *_: None)
    if is_driver:
        response.close()
    assert_gone(summaries)


@pytest.mark.parametrize("is_inside", [False, True])
@pytest.mark.parametrize("path", ["/raw", "/json", "/form", "/stream"])
def test_fastapi(summaries: Records, path: str, is_inside: bool) -> None:
    pytest.importorskip("multipart")
    fastapi = pytest.importorskip("fastapi")
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.requests import ClientDisconnect

    from dockerflow.fastapi import install

    class Passing(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            return await call_next(request)

    app = fastapi.FastAPI()

    async def raw(request: fastapi.Request) -> int:
        return len(await request.body())

    async def stream(request: fastapi.Request) -> list[int]:
        return [len(part) async for part in request.stream()]

    app.post("/raw")(raw)
    app.post("/stream")(stream)
    app.post("/json")(lambda body=fastapi.Body(): body)  # noqa: B008
    app.post("/form")(lambda x=fastapi.Form(): x)  # noqa: B008
    if is_inside:
        app.add_middleware(Passing)
    install(app)
    kind = b"application/json" if path == "/json" else b"application/x-www-form-urlencoded"
    scope = {
        "type": "http", "method": "POST", "path": path, "headers": [(b"content-type", kind)],
        "query_string": b"", "state": {},
    }  # fmt: skip
    messages = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> Any:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(_: Any) -> None: ...

    try:
        asyncio.run(app(scope, receive, send))
    except ClientDisconnect:
        assert path in ("/raw", "/stream")
    assert_gone(summaries)
