"""With the library added, every answer of an application stays the same to the byte.

Only the header that sends the request's id back is new. Nothing but ``Date`` is masked: what an application
makes of the clock (signed cookies) and of chance (padding) is frozen, and the plain application
is asked twice to see that nothing else varies.
"""

import asyncio
import contextlib
import gc
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from wsgiref.validate import validator

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the applications in apps/

from apps import real

from dockerflow.asgi import DockerflowMiddleware as ASGIMiddleware
from dockerflow.checks import Registry
from dockerflow.config import Config
from dockerflow.testing import Client, Response, capture_summaries
from dockerflow.wsgi import DockerflowMiddleware as WSGIMiddleware

# Frameworks leave the files of uploads to the garbage collector, with and without the library;
# Django warns of files that it sends under ASGI.
pytestmark = [
    pytest.mark.usefixtures("quick_collections"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning"),
]

ID_HEADER = "x-request-id"
NUMBERS = itertools.count()


class Sent(NamedTuple):
    method: str
    path: str
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    body: bytes = b""


BOUNDARY = "frontier"
MULTIPART = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="note"\r\n\r\nthe note\r\n'
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
    "Content-Type: application/octet-stream\r\n\r\n"
).encode() + real.DATA + f"\r\n--{BOUNDARY}--\r\n".encode()  # fmt: skip
FORM = {"content-type": "application/x-www-form-urlencoded"}

REQUESTS = [
    Sent("POST", "/form", FORM, b"name=ann&name=bob&empty=&caf%C3%A9=%F0%9F%90%99"),
    Sent("GET", "/form"),
    Sent("POST", "/form", {"content-type": "text/plain"}, b"no form"),
    Sent("POST", "/upload", {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}, MULTIPART),
    Sent("POST", "/protected", FORM, b"a=b"),
    Sent("GET", "/login"),
    Sent("GET", "/me"),
    Sent("GET", "/me", {"cookie": "theme=light; session=forged"}),
    Sent("GET", "/redirect"),
    Sent("GET", "/with-slash"),
    Sent("GET", "/with-slash/"),
    Sent("GET", "/file"),
    Sent("HEAD", "/file"),
    Sent("GET", "/file", {"if-none-match": '"tag"'}),
    Sent("GET", "/file", {"if-modified-since": "Tue, 14 Nov 2023 22:13:20 GMT"}),
    Sent("GET", "/file", {"range": "bytes=10-99"}),
    Sent("GET", "/file", {"range": "bytes=999999-1000000"}),
    Sent("GET", "/static/served.bin", {"range": "bytes=0-0"}),
    Sent("GET", "/static/missing.bin"),
    Sent("GET", "/download"),
    Sent("GET", "/download", {"accept-encoding": "gzip"}),
    Sent("HEAD", "/download"),
    Sent("GET", "/background"),
    Sent("GET", "/own-error"),
    Sent("GET", "/fail"),
    Sent("GET", "/missing"),
    Sent("GET", "/__missing__"),
    Sent("GET", "/caf%C3%A9?q=1"),
    Sent("OPTIONS", "/form"),
    Sent("DELETE", "/form"),
    Sent("GET", "/items/7"),
    Sent("GET", "/items/seven"),
    Sent("GET", "/openapi.json"),
]  # fmt: skip


def options() -> dict[str, Any]:
    return {"config": Config(version_path="/nowhere"), "registry": Registry()}


def wrapped(app: Any) -> Any:
    return ASGIMiddleware(app, **options())


def wrapped_wsgi(app: Any) -> Any:
    return WSGIMiddleware(app, **options())


def added(app: Any) -> Any:
    app.add_middleware(ASGIMiddleware, **options())
    return app


def flask_extension(app: Any) -> Any:
    from dockerflow.flask import Dockerflow

    Dockerflow(app, registry=Registry())
    return app


def sanic_extension(app: Any) -> Any:
    from dockerflow.sanic import Dockerflow

    Dockerflow(app, registry=Registry())
    return app


def aiohttp_setup(app: Any) -> Any:
    from dockerflow.aiohttp import setup

    def make() -> Any:
        made = app.make()
        setup(made, registry=Registry())
        return made

    return type(app)(make)


def fastapi_router(app: Any) -> Any:
    from dockerflow.fastapi import make_router
    from dockerflow.fastapi.middleware import MozlogRequestSummaryLogger, RequestIdMiddleware

    app.include_router(make_router(registry=Registry(), include_in_schema=False))
    app.add_middleware(RequestIdMiddleware)
    app.add_middleware(MozlogRequestSummaryLogger)
    return app


def installed(app: Any) -> Any:
    from dockerflow.fastapi import install

    install(app, **options())
    return app


def django_middleware(app: Any) -> Any:
    """Make the handler anew, with the middleware."""
    from django.conf import settings
    from django.test import override_settings

    middleware = "dockerflow.django.middleware.DockerflowMiddleware"
    with override_settings(MIDDLEWARE=[middleware, *settings.MIDDLEWARE]):
        return type(app)()


def make_django(kind: str) -> Any:
    if kind == "asgi":
        from django.core.asgi import get_asgi_application as get
    else:
        from django.core.wsgi import get_wsgi_application as get
    return get()


class Row(NamedTuple):
    name: str
    make: Callable[[Path], Any]
    add: Callable[[Any], Any]
    requires: tuple[str, ...] = ()
    has_websockets: bool = False
    is_wsgi: bool = False


def make_sanic(file: Path) -> Any:
    return real.make_sanic(file, next(NUMBERS))


def make_aiohttp(file: Path) -> Any:
    from apps.aiohttp_app import Bridge

    return Bridge(lambda: real.make_aiohttp(file))


ROWS = [
    Row("asgi", lambda file: real.bare_asgi, wrapped, has_websockets=True),
    Row("wsgi", lambda file: real.bare_wsgi, wrapped_wsgi, is_wsgi=True),
    Row("starlette", real.make_starlette, wrapped, ("starlette", "itsdangerous"), True),
    Row("starlette-added", real.make_starlette, added, ("starlette", "itsdangerous"), True),
    Row("fastapi", real.make_fastapi, wrapped, ("fastapi", "itsdangerous"), True),
    Row("fastapi-added", real.make_fastapi, added, ("fastapi", "itsdangerous"), True),
    Row("fastapi-router", real.make_fastapi, fastapi_router, ("fastapi", "itsdangerous"), True),
    Row("fastapi-installed", real.make_fastapi, installed, ("fastapi", "itsdangerous"), True),
    Row("starlette-installed", real.make_starlette, installed, ("fastapi", "itsdangerous"), True),
    Row("flask", real.make_flask, wrapped_wsgi, ("flask",), is_wsgi=True),
    Row("flask-extension", real.make_flask, flask_extension, ("flask",), is_wsgi=True),
    Row("django-asgi", lambda file: make_django("asgi"), wrapped, ("django",)),
    Row("django-wsgi", lambda file: make_django("wsgi"), wrapped_wsgi, ("django",), is_wsgi=True),
    Row("django-middleware-asgi", lambda file: make_django("asgi"), django_middleware, ("django",)),
    Row(
        "django-middleware-wsgi",
        lambda file: make_django("wsgi"),
        django_middleware,
        ("django",),
        is_wsgi=True,
    ),
    Row("sanic-extension", make_sanic, sanic_extension, ("sanic",)),
    Row("aiohttp-setup", make_aiohttp, aiohttp_setup, ("aiohttp",)),
]


@pytest.fixture(params=ROWS, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Row:
    for name in request.param.requires:
        pytest.importorskip(name)
    return request.param


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "served.bin"
    path.write_bytes(real.DATA)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


@pytest.fixture(autouse=True)
def frozen(row: Row, file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stop the clock of signed cookies; give Django its settings."""
    with contextlib.suppress(ImportError):
        import itsdangerous

        monkeypatch.setattr(
            itsdangerous.TimestampSigner, "get_timestamp", lambda self: 1_700_000_000
        )
    with contextlib.ExitStack() as stack:
        if "django" in row.requires:
            settings = real.django_settings(file)
            from django.core import signing
            from django.middleware.gzip import GZipMiddleware
            from django.test import override_settings

            monkeypatch.setattr(signing.TimestampSigner, "timestamp", lambda self: "1rAAAA")
            monkeypatch.setattr(GZipMiddleware, "max_random_bytes", 0)  # against the BREACH attack
            stack.enter_context(override_settings(**settings))
        yield
    gc.collect()  # while what it warns of is still ignored


def ask(row: Row, app: Any) -> list[Response]:
    """Send all requests, one after the other, with the cookies that the answers set."""
    real.done.clear()
    jar: dict[str, str] = {}
    answers = []
    with Client(validator(app) if row.is_wsgi else app) as client:
        for method, path, headers, body in REQUESTS:
            cookies = {"cookie": "; ".join(f"{k}={v}" for k, v in jar.items())} if jar else {}
            response = client.request(method, path, {**cookies, **headers}, body=body)
            if isinstance(response.error, AssertionError):  # what the validator complains of
                raise response.error
            answers.append(response)
            for cookie in response.all("set-cookie"):
                name, _, value = cookie.partition(";")[0].partition("=")
                jar[name] = value
    return answers


def comparable(response: Response) -> tuple[Any, ...]:
    # Werkzeug dates what it sends of files.
    headers = [(k, "now" if k.lower() == "date" else v) for k, v in response.headers]
    return response.status, headers, response.body, repr(response.error)


def without_id(response: Response) -> tuple[Response, int]:
    kept = [pair for pair in response.headers if pair[0].lower() != ID_HEADER]
    return response._replace(headers=kept), len(response.headers) - len(kept)


def test_every_answer_is_the_same_but_for_the_id(row: Row, file: Path) -> None:
    plain = ask(row, row.make(file))
    tasks = list(real.done)
    assert [comparable(r) for r in ask(row, row.make(file))] == [comparable(r) for r in plain]
    with capture_summaries() as summaries:
        ours = ask(row, row.add(row.make(file)))
    assert real.done == tasks
    assert len(tasks) == 1
    for sent, before, after in zip(REQUESTS, plain, ours, strict=True):
        stripped, ids = without_id(after)
        assert comparable(stripped) == comparable(before), sent
        # What Starlette makes of an exception comes from further out than what is added.
        is_further_out = after.error is not None and row.name.endswith(("-added", "-router"))
        assert ids == (0 if is_further_out or after.status is None else 1), sent
    assert [record.code for record in summaries] == [
        500 if response.status is None else response.status for response in ours
    ]
    # The table isn't about an application that answers nothing.
    by_path = {(sent.method, sent.path): r.status for sent, r in zip(REQUESTS, plain, strict=True)}
    assert by_path["POST", "/upload"] == 201
    assert by_path["GET", "/login"] == by_path["GET", "/download"] == 200
    assert by_path["GET", "/redirect"] in (302, 307)
    assert by_path["GET", "/own-error"] == 418
    assert by_path["GET", "/missing"] == 404


def test_the_comparison_sees_a_difference(row: Row, file: Path) -> None:
    app = row.make(file)
    if row.is_wsgi:

        def other(environ: Any, start_response: Any) -> Any:
            def start(status: str, headers: Any, *exc_info: Any) -> Any:
                return start_response(status, headers[::-1], *exc_info)

            return app(environ, start)
    else:

        async def other(scope: Any, receive: Any, send: Any) -> None:
            async def reverse(message: Any) -> None:
                if "headers" in message:
                    message = {**message, "headers": list(message["headers"])[::-1]}
                await send(message)

            await app(scope, receive, reverse)

    plain, changed = ask(row, row.make(file)), ask(row, other)
    assert [comparable(r) for r in changed] != [comparable(r) for r in plain]


def test_websockets_are_the_same(row: Row, file: Path) -> None:
    if not row.has_websockets:
        assert row.is_wsgi or row.name.startswith(("aiohttp", "django", "sanic"))
        return

    def talk(app: Any) -> list[Any]:
        messages = iter([
            {"type": "websocket.connect"},
            {"type": "websocket.receive", "text": "hi"},
            {"type": "websocket.disconnect", "code": 1000},
        ])  # fmt: skip
        sent: list[Any] = []

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "websocket", "path": "/socket", "raw_path": b"/socket", "root_path": "",
            "scheme": "ws", "headers": [(b"host", b"testserver")], "query_string": b"",
            "subprotocols": [], "http_version": "1.1", "asgi": {"version": "3.0"},
        }  # fmt: skip
        asyncio.run(app(scope, receive, send))
        return sent

    plain = talk(row.make(file))
    assert plain[1]["text"] == "hi"
    with capture_summaries() as summaries:
        assert talk(row.add(row.make(file))) == plain
    assert not summaries
