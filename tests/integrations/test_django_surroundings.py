"""What stands around Django's adapter: the ORM, hosts, mounts, settings at start, servers."""

import asyncio
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("django")
sys.path.insert(0, str(Path(__file__).parents[1]))

from services import NOTICE, wait_for
from services.django_settings import add_database

from asgiref.sync import sync_to_async  # isort: skip - after the settings
from django.core.exceptions import BadRequest  # isort: skip
from django.db import connections, transaction  # isort: skip
from django.http import HttpResponse, StreamingHttpResponse  # isort: skip
from django.test import AsyncClient, Client, RequestFactory, override_settings  # isort: skip

from log_lines import error_in

from dockerflow import checks
from dockerflow.django import checks as django_checks
from dockerflow.django.middleware import DockerflowMiddleware
from dockerflow.logging import get_request_id
from dockerflow.testing import Client as ServerClient

MIDDLEWARE = [
    "dockerflow.django.middleware.DockerflowMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]
both = pytest.mark.parametrize("is_async", [False, True], ids=["wsgi", "asgi"])


@pytest.fixture(autouse=True)
def app(no_checks):
    with override_settings(MIDDLEWARE=MIDDLEWARE, DOCKERFLOW_CHECKS=[], ALLOWED_HOSTS=["*"]):
        yield


def make_app(is_async: bool) -> Any:
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application

    return (get_asgi_application if is_async else get_wsgi_application)()


@pytest.mark.parametrize("max_age", [0, 600, None])
@both
def test_checks_with_queries_leave_no_connection_behind(postgres, is_async, max_age):
    alias = add_database("orm", postgres, CONN_MAX_AGE=max_age)

    def query():
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT 1")

    for number in range(4):
        checks.register_partial(query, name=f"sync {number}")
    checks.register(sync_to_async(query), name="async")  # as the ORM's async methods are
    with ServerClient(make_app(is_async)) as client:
        for _ in range(4):
            response = client.get("/__heartbeat__")
            assert response.status == 200, response
    wait_for(lambda: postgres.connections() == 0, "the end of the connections", NOTICE)


def test_a_check_by_the_async_orm_recovers_with_its_database(postgres):
    alias = add_database("orm", postgres, CONN_MAX_AGE=None)

    def query():
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT 1")

    checks.register(sync_to_async(query), name="async")
    client = ServerClient(make_app(is_async=False))
    assert client.get("/__heartbeat__").status == 200
    postgres.restart()
    assert client.get("/__heartbeat__").status == 200


def test_a_request_keeps_its_own_connection(postgres):
    alias = add_database("orm", postgres, CONN_MAX_AGE=None)

    def query():
        with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return cursor.fetchone()

    checks.register(lambda: query() and None, name="query")
    mine = query()
    try:
        assert ServerClient(make_app(is_async=False)).get("/__heartbeat__").status == 200
        assert query() == mine
    finally:
        connections[alias].close()


@both
def test_probes_by_a_pods_address_under_a_mount(is_async):
    hostile = {"ALLOWED_HOSTS": ["example.com"], "SECURE_SSL_REDIRECT": True, "APPEND_SLASH": True}
    with override_settings(**hostile, FORCE_SCRIPT_NAME="/mounted"):
        client = ServerClient(make_app(is_async), host="10.0.0.7:8000")
        for path in ("/__lbheartbeat__", "/__heartbeat__", "/__heartbeat__/"):
            # Of an ASGI mount Django 4.2 takes the root path only.
            mount = "/mounted" if is_async else ""
            assert client.get(path, mount=mount).status == 200
        assert client.get("/mounted/").status in (301, 400)


@both
def test_the_debug_page_and_error_have_the_id(is_async, caplog):
    caplog.set_level(logging.INFO, "request.summary")
    with override_settings(DEBUG=True, DOCKERFLOW_ERROR_ENDPOINT=True):
        client = ServerClient(make_app(is_async))
        for path in ("/fail", "/__error__"):
            response = client.get(path, {"x-request-id": "abc"})
            assert (response.status, response.all("x-request-id")) == (500, ["abc"])
            assert b"Traceback" in response.body
    assert ServerClient(make_app(is_async)).get("/__error__").status == 404
    records = [record for record in caplog.records if record.name == "request.summary"]
    assert [(r.levelno, r.code) for r in records] == [(40, 500), (40, 500), (20, 404)]
    assert error_in(records[1]) == "The __error__ endpoint was called"


@both
def test_what_a_stream_logs_has_the_id(is_async):
    seen = []

    def parts():
        for _ in range(2):
            seen.append(get_request_id())
            yield b"x"

    async def aparts():
        for part in parts():
            yield part

    middleware = DockerflowMiddleware(lambda request: StreamingHttpResponse(parts()))

    async def view(request):
        return StreamingHttpResponse(aparts())

    async def run():
        response = await DockerflowMiddleware(view)(request)
        assert get_request_id() is None
        assert [part async for part in response.streaming_content] == [b"x", b"x"]

    request = RequestFactory().get("/", headers={"x-request-id": "abc"})
    if is_async:
        asyncio.run(run())
    else:
        response = middleware(request)
        assert get_request_id() is None
        assert list(response.streaming_content) == [b"x", b"x"]
    assert seen == ["abc", "abc"]
    assert get_request_id() is None


def test_an_id_of_one_request_is_not_that_of_the_next():
    ids = []

    def view(request):
        ids.append((request._id, get_request_id()))
        return HttpResponse()

    for _ in range(3):
        DockerflowMiddleware(view)(RequestFactory().get("/"))
    assert len(set(ids)) == 3
    assert all(one == other for one, other in ids)


@both
def test_a_suspicious_request_is_no_error(is_async, caplog):
    caplog.set_level(logging.INFO, "request.summary")
    with override_settings(ALLOWED_HOSTS=["example.com"]):
        response = ServerClient(make_app(is_async), host="evil.example").get("/")
    assert response.status == 400
    [record] = [record for record in caplog.records if record.name == "request.summary"]
    assert (record.levelno, record.errno, record.code) == (20, 0, 400)


def test_hooks_called_alone_for_a_bad_request(caplog):
    caplog.set_level(logging.INFO, "request.summary")
    middleware = DockerflowMiddleware(lambda request: HttpResponse())
    request = RequestFactory().get("/")
    middleware.process_exception(request, BadRequest("x"))
    middleware.process_response(request, HttpResponse(status=400))
    [record] = [record for record in caplog.records if record.name == "request.summary"]
    assert record.levelno == 20


@both
def test_lbheartbeat_needs_no_thread(is_async, monkeypatch):
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a thread was asked for")

    monkeypatch.setattr("dockerflow.django.middleware.sync_to_async", refuse)
    if is_async:
        # Django's own signals are sent in a thread, so not by a whole application.
        async def get_response(request: Any) -> Any:
            raise AssertionError

        request = RequestFactory().get("/__lbheartbeat__")
        response = asyncio.run(DockerflowMiddleware(get_response)(request))
    else:
        response = Client().get("/__lbheartbeat__")
    assert response.status_code == 200


def test_checks_that_were_cleared_come_back():
    name = "dockerflow.django.checks.check_migrations_applied"
    with override_settings(DOCKERFLOW_CHECKS=[name], DEBUG=True):
        for _ in range(2):
            checks.clear_checks()
            assert list(Client().get("/__heartbeat__").json()["checks"]) == [
                "check_migrations_applied"
            ]


def test_a_setting_that_gets_wrong_while_serving_breaks_nothing(caplog):
    client = Client()
    assert client.get("/__heartbeat__").status_code == 200
    with override_settings(DOCKERFLOW_CHECKS=["no.such.module"]):
        assert client.get("/__heartbeat__").status_code == 200
    assert "no.such.module" in caplog.text
    with override_settings(DOCKERFLOW_CHECK_TIMEOUT=-1):
        assert client.get("/__heartbeat__").status_code == 200


def test_two_checks_of_one_name(caplog):
    name = "dockerflow.django.checks.check_migrations_applied"
    checks.register(lambda: None, name="check_migrations_applied")
    with override_settings(DOCKERFLOW_CHECKS=[name]):
        django_checks.register()
    assert "dockerflow.django.checks.check_migrations_applied replaces" in caplog.text


START = """
from django.conf import settings
settings.configure(SECRET_KEY="x", INSTALLED_APPS=["dockerflow.django"], {setting}, LOGGING_CONFIG=None)
import django
try:
    django.setup()
except ValueError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("DOCKERFLOW_CHECK_TIMEOUT='abc'", "DOCKERFLOW_CHECK_TIMEOUT must be a number"),
        ("DOCKERFLOW_CHECKS=['no.such']", "DOCKERFLOW_CHECKS names 'no.such', but No module"),
        ("DOCKERFLOW_CHECKS='a.b'", "DOCKERFLOW_CHECKS must be a list of dotted paths, not 'a.b'"),
        ("DOCKERFLOW_CHECKS=3", "DOCKERFLOW_CHECKS must be a list of dotted paths, not 3"),
        ("DOCKERFLOW_SYSTEM_CHECKS=3", "DOCKERFLOW_SYSTEM_CHECKS must be true or false, not 3"),
    ],
)
def test_a_wrong_setting_fails_at_start_with_one_line(setting, says):
    result = subprocess.run(
        [sys.executable, "-c", START.format(setting=setting)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    [line] = result.stdout.splitlines()
    assert line.startswith(f"ConfigError {says}"), result


@both
def test_system_checks_come_and_go(is_async):
    def get() -> Any:
        if is_async:
            return asyncio.run(AsyncClient().get("/__heartbeat__")).json()
        return Client().get("/__heartbeat__").json()

    with override_settings(DEBUG=True, DOCKERFLOW_SYSTEM_CHECKS=True):
        assert "check_all_models" in get()["checks"]
    with override_settings(DEBUG=True):
        assert get()["checks"] == {}
