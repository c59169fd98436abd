"""What stands around the library in real deployments: other middleware, mounts, Sentry, Django's pools."""

import logging
import re
import sys
import types
from collections.abc import AsyncIterator
from typing import Any

import pages
import pytest

pytest.importorskip("fastapi")

from fastapi import FastAPI
from services.command import python
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import StreamingResponse

from dockerflow import checks
from dockerflow.asgi import DockerflowMiddleware
from dockerflow.config import Config
from dockerflow.fastapi import install
from dockerflow.fastapi.middleware import MozlogRequestSummaryLogger
from dockerflow.testing import Client, capture_summaries


class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["x-passed"] = "1"
        return response


def make_app(**options: Any) -> FastAPI:
    app = FastAPI(**options)

    @app.get("/")
    def root() -> str:
        return "hello"

    @app.get("/fail")
    def fail() -> None:
        raise ValueError("100% broken")

    @app.get("/events")
    async def events() -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            for number in range(3):
                yield f"data: {number}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    return app


def options() -> dict[str, Any]:
    return {"config": Config(), "registry": checks.Registry()}


@pytest.mark.parametrize("is_outside", [True, False])
def test_base_http_middleware_around_ours_and_inside(is_outside: bool) -> None:
    app = make_app()
    middlewares: list[Any] = [(DockerflowMiddleware, options()), (Passing, {})]
    for cls, arguments in middlewares if is_outside else reversed(middlewares):
        app.add_middleware(cls, **arguments)
    with Client(app) as client, capture_summaries() as summaries:
        for path in ("/", "/events", "/__heartbeat__", "/missing"):
            response = client.get(path, {"x-request-id": "abc"})
            assert response.all("x-request-id") == ["abc"]
            is_ours = path == "/__heartbeat__" and not is_outside
            assert response.all("x-passed") == ([] if is_ours else ["1"])
        escaped = client.get("/fail")
    assert str(escaped.error) == "100% broken"
    assert [(r.path, r.code) for r in summaries] == [
        ("/", 200), ("/events", 200), ("/__heartbeat__", 200), ("/missing", 404), ("/fail", 500),
    ]  # fmt: skip
    assert summaries[-1].levelno == logging.ERROR


def test_events_go_out_one_by_one_and_are_summarised_at_the_end() -> None:
    app = make_app()
    install(app, **options())
    seen: list[tuple[Any, int]] = []

    async def watching(scope: Any, receive: Any, send: Any) -> None:
        async def tell(message: Any) -> None:
            seen.append((message.get("body"), len(summaries)))
            await send(message)

        await app(scope, receive, tell)

    with Client(watching) as client, capture_summaries() as summaries:
        seen.clear()
        client.get("/events")
    assert [part for part in seen if part[0]] == [
        (b"data: 0\n\n", 0), (b"data: 1\n\n", 0), (b"data: 2\n\n", 0),
    ]  # fmt: skip
    assert len(summaries) == 1


@pytest.mark.parametrize("debug", [False, True])
def test_error_and_debug_pages_carry_the_id(debug: bool) -> None:
    app = make_app(debug=debug)
    install(app, **options())
    with Client(app) as client, capture_summaries() as summaries:
        response = client.get("/fail", {"x-request-id": "abc"})
    assert response.status == 500
    assert (b"Traceback" in response.body) is debug
    assert response.all("x-request-id") == ["abc"]
    assert [(r.levelno, r.rid) for r in summaries] == [(logging.ERROR, "abc")]


@pytest.mark.parametrize("is_outside", [True, False])
def test_starlettes_cors_around_ours_and_inside(is_outside: bool) -> None:
    app = make_app()
    config = Config(request_id_expose_header=True)
    allowed = {"allow_origins": ["*"], "expose_headers": [] if is_outside else ["X-Total"]}
    middlewares: list[Any] = [(DockerflowMiddleware, {"config": config}), (CORSMiddleware, allowed)]
    for cls, arguments in middlewares if is_outside else reversed(middlewares):
        app.add_middleware(cls, **arguments)
    with Client(app) as client:
        response = client.get("/", {"origin": "https://app.test"})
    assert response.all("access-control-allow-origin") == ["*"]
    exposed = ", ".join(response.all("access-control-expose-headers"))
    assert exposed == ("X-Request-ID" if is_outside else "X-Total, X-Request-ID")


def test_an_app_mounted_in_another_keeps_its_own_checks() -> None:
    outer, inner = make_app(), make_app()
    inner_options = options()
    inner_options["registry"].register(lambda: checks.Error("bad", id="x.E001"), name="bad")
    install(outer, **options())
    install(inner, **inner_options)
    outer.mount("/inner", inner)
    with Client(outer) as client, capture_summaries() as summaries:
        assert client.get("/__heartbeat__").status == 200
        assert client.get("/inner/__heartbeat__").status == 500
        assert client.get("/inner/", {"x-request-id": "abc"}).all("x-request-id") == ["abc"]
    assert [r.path for r in summaries] == ["/__heartbeat__", "/inner/__heartbeat__", "/inner/"]


SENTRY = """
import logging
from apps import sentry_sink
from dockerflow.sentry import traces_sampler
from dockerflow.testing import Client

logging.getLogger("request.summary").setLevel("INFO")
"""
SENTRY_OF_FASTAPI = """
from sentry_sdk.integrations.fastapi import FastApiIntegration
from sentry_sdk.integrations.starlette import StarletteIntegration
sentry_sink.start(
    StarletteIntegration(), FastApiIntegration(), traces_sampler=traces_sampler(1.0))
"""
SENTRY_OF_DJANGO = """
from sentry_sdk.integrations.django import DjangoIntegration
sentry_sink.start(DjangoIntegration(), traces_sampler=traces_sampler(1.0))
"""
ASKING = """
with Client(app) as client:
    for path in ("/__heartbeat__", "/__lbheartbeat__", "/__version__", "/fail"):
        client.get(path)
print(sentry_sink.take())
"""
FASTAPI = """
from fastapi import FastAPI
from dockerflow.fastapi import install
app = FastAPI()
install(app)

@app.get("/fail")
def fail():
    raise ValueError("broken")
"""
DJANGO = """
from django.conf import settings
from django.urls import path
def fail(request):
    raise ValueError("broken")
urlpatterns = [path("fail", fail)]
settings.configure(
    ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None,
    DOCKERFLOW_CHECKS=[],
    MIDDLEWARE=["dockerflow.django.middleware.DockerflowMiddleware"])
"""
DJANGO_WSGI = DJANGO + "from django.core.wsgi import get_wsgi_application as get\napp = get()\n"
DJANGO_ASGI = DJANGO + "from django.core.asgi import get_asgi_application as get\napp = get()\n"


@pytest.mark.parametrize(
    "app",
    [SENTRY + SENTRY_OF_FASTAPI + FASTAPI, SENTRY + SENTRY_OF_DJANGO + DJANGO_WSGI],
    ids=["fastapi", "django-wsgi"],
)
def test_sentry_has_one_event_for_an_exception_and_none_for_probes(app: str) -> None:
    pytest.importorskip("sentry_sdk")
    if "django" in app:
        pytest.importorskip("django")
    assert python(app + ASKING) == ["['ValueError', 'transaction']"]


def test_sentry_may_be_half_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may be importing it: the app's exception is still the one that escapes."""
    name = "sentry_sdk.integrations.logging"
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))

    def fail(*_: Any) -> Any:
        raise LookupError("mine")

    error = Client(DockerflowMiddleware(fail, config=Config())).get("/").error
    assert isinstance(error, LookupError)


def test_a_logger_without_a_name_under_sentry() -> None:
    """Apps may put any object with the methods of a logger in its place."""
    pytest.importorskip("sentry_sdk.integrations.logging")

    def fail(*_: Any) -> Any:
        raise LookupError("mine")

    texts: list[str] = []

    def log(text: str, **_: Any) -> None:
        texts.append(text)

    app = MozlogRequestSummaryLogger(fail, logger=types.SimpleNamespace(info=log, error=log))  # type: ignore[arg-type]
    assert isinstance(Client(app).get("/").error, LookupError)
    assert [re.sub(r"\d+ ms", "N ms", text) for text in texts] == ["GET / 500 N ms: mine"]


def test_sentry_has_a_log_of_each_request_if_it_takes_logs() -> None:
    """The summary is its body, the fields are its attributes; it is no event."""
    consts = pytest.importorskip("sentry_sdk.consts")
    if "enable_logs" not in consts.DEFAULT_OPTIONS:
        pytest.skip("needs sentry-sdk 2.35")
    asking = """
with Client(app) as client:
    for path in ("/missing", "/fail"):
        client.get(path)
kinds = sentry_sdk.flush() or sentry_sink.take()
for log in sentry_sink.logs:
    if log["attributes"]["logger.name"]["value"] == "request.summary":
        print(log["level"], log["body"], log["attributes"]["path"]["value"])
print(kinds)
"""
    start = "import sentry_sdk\n" + SENTRY_OF_FASTAPI.replace("(1.0))", "(1.0), enable_logs=True)")
    missing, failed, events = python(SENTRY + start + FASTAPI + asking)
    assert re.fullmatch(r"info GET /missing 404 \d+ ms /missing", missing)
    assert re.fullmatch(r"error GET /fail 500 \d+ ms: broken /fail", failed)
    assert events == "['ValueError', 'transaction', 'transaction']"


def test_sentry_has_no_more_events_than_without_the_library() -> None:
    # Under ASGI it makes two of Django's exceptions by itself.
    pytest.importorskip("sentry_sdk")
    pytest.importorskip("django")
    plain = DJANGO_ASGI.replace('"dockerflow.django.middleware.DockerflowMiddleware"', "")
    assert plain != DJANGO_ASGI
    alone = ASKING.replace(
        '"/__heartbeat__", "/__lbheartbeat__", "/__version__", "/fail"', '"/fail",'
    )
    sentry = SENTRY + SENTRY_OF_DJANGO
    assert python(sentry + DJANGO_ASGI + ASKING) == python(sentry + plain + alone)


FAILING_REDIS = """
import threading, time
import redis
from dockerflow import checks
from dockerflow.checks import contrib
from redis.backoff import NoBackoff
from redis.retry import Retry

client = redis.Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0))
checks.register(contrib.redis(client))
checks.register(lambda: 1 / 0, name="raises")
with Client(app) as client:
    for _ in range(3):
        assert client.get("/__heartbeat__").status == 500
while any(thread.name == "dockerflow-log" for thread in threading.enumerate()):
    time.sleep(0.01)
print(len(sentry_sink.events), sentry_sink.take())
"""
IGNORED = """
from sentry_sdk.integrations.logging import ignore_logger
ignore_logger("dockerflow.checks.registry")
"""


@pytest.mark.parametrize(
    "app",
    [SENTRY + SENTRY_OF_FASTAPI + FASTAPI, SENTRY + SENTRY_OF_DJANGO + DJANGO_WSGI],
    ids=["fastapi", "django-wsgi"],
)
def test_a_failing_check_makes_one_sentry_event_or_none(app: str) -> None:
    """Also a ready-made one; none with the recipe of docs/error-trackers.md."""
    pytest.importorskip("sentry_sdk")
    pytest.importorskip("redis")
    if "django" in app:
        pytest.importorskip("django")
    [line] = python(app + FAILING_REDIS)
    assert line == "2 ['ConnectionError', 'ZeroDivisionError']"
    recipe = (pages.DOCS / "error-trackers.md").read_text(encoding="utf-8")
    assert IGNORED.strip() in recipe.replace("\n\n", "\n")
    assert python(IGNORED + app + FAILING_REDIS) == ["0 []"]


CONNECTIONS = """
import sqlite3, threading
from django.conf import settings
settings.configure(
    ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "PATH",
                           "CONN_MAX_AGE": None}},
    DOCKERFLOW_CHECKS=["dockerflow.django.checks.check_database_connected"],
    MIDDLEWARE=["dockerflow.django.middleware.DockerflowMiddleware"])
urlpatterns = []
import django
django.setup()
from django.core.wsgi import get_wsgi_application
from django.db.backends.sqlite3.base import DatabaseWrapper
from dockerflow.testing import Client

opened = []
closed = []
connect, close = DatabaseWrapper.get_new_connection, DatabaseWrapper._close
DatabaseWrapper.get_new_connection = lambda *a: (opened.append(1), connect(*a))[1]
DatabaseWrapper._close = lambda self: (closed.append(1) if self.connection else None, close(self))[1]
with Client(get_wsgi_application()) as client:
    for _ in range(5):
        assert client.get("/__heartbeat__").status == 200
print(len(opened) > 0, len(opened) - len(closed))
"""


def test_checks_leave_no_connection_behind_whatever_conn_max_age_says(tmp_path: Any) -> None:
    pytest.importorskip("django")
    assert python(CONNECTIONS.replace("PATH", str(tmp_path / "db.sqlite3"))) == ["True 0"]
