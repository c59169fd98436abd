"""What only Django has: settings, hooks, signals, checks of its own, users."""

import asyncio
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from log_lines import error_in

pytest.importorskip("django")
sys.path.insert(0, str(Path(__file__).parents[1]))

import apps.django_app  # noqa: F401, I001  # configures Django
from django import setup as set_up_django
from django.conf import UserSettingsHolder, settings
from django.core.checks.registry import registry
from django.core.exceptions import PermissionDenied
from django.core.handlers.wsgi import WSGIRequest
from django.core.signals import setting_changed
from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.utils.functional import SimpleLazyObject

from dockerflow import checks, wsgi
from dockerflow.config import ConfigError
from dockerflow.django import _settings, signals
from dockerflow.django import checks as django_checks
from dockerflow.django.middleware import DockerflowMiddleware
from dockerflow.logging import request_id_context

set_up_django()  # as the other modules do: this one must pass alone, too

MIDDLEWARE = [
    "dockerflow.django.middleware.DockerflowMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]
HERE = "django_checks_of_a_test"


class Module:
    """Checks that DOCKERFLOW_CHECKS names."""

    @staticmethod
    def good(app_configs: Any, **kwargs: Any) -> list[Any]:
        return []

    @staticmethod
    def bad(app_configs: Any, **kwargs: Any) -> list[Any]:
        return [checks.Error("it is bad", id="test.E001")]

    @staticmethod
    async def later(app_configs: Any, **kwargs: Any) -> list[Any]:
        return [checks.Warning("soon", id="test.W001")]


@pytest.fixture(autouse=True)
def django(monkeypatch, no_checks):
    monkeypatch.setitem(sys.modules, HERE, Module)
    with override_settings(MIDDLEWARE=MIDDLEWARE, DOCKERFLOW_CHECKS=[]):
        yield


def get(path: str, is_async: bool, **headers: str) -> Any:
    if is_async:
        return asyncio.run(AsyncClient(raise_request_exception=False).get(path, headers=headers))
    return Client(raise_request_exception=False).get(path, headers=headers)


both = pytest.mark.parametrize("is_async", [False, True], ids=["wsgi", "asgi"])


@both
def test_probes_pass_host_checks_and_redirects(is_async, summaries):
    with override_settings(ALLOWED_HOSTS=["example.com"], SECURE_SSL_REDIRECT=True):
        for path in ("/__lbheartbeat__", "/__heartbeat__", "/__heartbeat__/"):
            assert get(path, is_async, host="10.0.0.7:8000").status_code == 200
        assert get("/", is_async, host="10.0.0.7:8000").status_code in (301, 400)
    assert len(list(summaries)) == 4


@both
def test_details_only_with_debug(is_async):
    with override_settings(DOCKERFLOW_CHECKS=[f"{HERE}.bad", f"{HERE}.later"]):
        response = get("/__heartbeat__", is_async)
        assert (response.status_code, response.json()) == (500, {"status": "error"})
        with override_settings(DEBUG=True, DOCKERFLOW_HEARTBEAT_FAILED_STATUS_CODE=503):
            response = get("/__heartbeat__", is_async)
            assert response.status_code == 503
            assert response.json()["checks"] == {"bad": "error", "later": "warning"}
        with override_settings(SILENCED_SYSTEM_CHECKS=["test.E001"]):
            assert get("/__heartbeat__", is_async).json() == {"status": "warning"}
    with override_settings(DOCKERFLOW_CHECKS=[f"{HERE}.good"]):
        assert get("/__heartbeat__", is_async).json() == {"status": "ok"}


@both
def test_signals_have_the_level(is_async):
    seen: list[tuple[str, int]] = []

    def passed(sender: Any, level: int, **kwargs: Any) -> None:
        seen.append(("passed", level))

    def failed(sender: Any, level: int, **kwargs: Any) -> None:
        seen.append(("failed", level))

    signals.heartbeat_passed.connect(passed)
    signals.heartbeat_failed.connect(failed)
    get("/__heartbeat__", is_async)
    with override_settings(DOCKERFLOW_CHECKS=[f"{HERE}.bad"]):
        get("/__heartbeat__", is_async)
    assert seen == [("passed", 0), ("failed", 40)]


@both
def test_a_real_500_is_an_error_with_the_exceptions_text(is_async, summaries):
    response = get("/fail", is_async, **{"x-request-id": "abc"})
    [record] = summaries
    assert (record.levelno, error_in(record), record.code) == (40, "100% broken", 500)
    assert response["X-Request-ID"] == record.rid == "abc"
    assert request_id_context.get() is None


@pytest.mark.parametrize("raised", [Http404("no"), PermissionDenied("no")])
def test_a_4xx_is_no_error(raised, summaries):
    middleware = DockerflowMiddleware(lambda request: HttpResponse())
    request = RequestFactory().get("/")
    middleware.process_request(request)
    middleware.process_exception(request, raised)
    middleware.process_response(request, HttpResponse(status=404))
    [record] = summaries
    assert (record.levelno, record.errno, record.code) == (20, 0, 404)


@both
def test_streams_are_summarised_once_at_their_end(is_async, summaries):
    async def run_async() -> bytes:
        response = await AsyncClient().get("/stream")
        return b"".join([part async for part in response.streaming_content])

    if is_async:
        body = asyncio.run(run_async())
    else:
        response = Client().get("/stream")
        assert not list(summaries)
        body = b"".join(response.streaming_content)
        response.close()
    assert body == b"one two three"
    [record] = summaries
    assert (record.path, record.code) == ("/stream", 200)


def test_a_file_is_summarised_when_closed(tmp_path, summaries):
    (tmp_path / "file").write_bytes(b"content")
    middleware = DockerflowMiddleware(lambda request: FileResponse((tmp_path / "file").open("rb")))
    response = middleware(RequestFactory().get("/"))
    assert response.file_to_stream is not None  # the server's own way stays open
    assert not list(summaries)
    assert b"".join(response.streaming_content) == b"content"
    response.close()
    [record] = summaries
    assert record.code == 200


def test_a_stream_that_fails_is_an_error(summaries):
    def broken():
        yield b"one"
        raise ValueError("100% broken")

    middleware = DockerflowMiddleware(lambda request: StreamingHttpResponse(broken()))
    response = middleware(RequestFactory().get("/"))
    with pytest.raises(ValueError, match="broken"):
        list(response.streaming_content)
    response.close()
    [record] = summaries
    assert (record.levelno, error_in(record)) == (40, "100% broken")


class User:
    is_authenticated = True
    pk = 5


def never() -> User:
    raise AssertionError("the user was loaded")


def test_the_user_is_never_loaded(summaries, caplog):
    def view(request: Any) -> HttpResponse:
        # The view loads the outer one of two at most, as it doesn't use the user itself.
        request.user = outer if request.path == "/outer" else SimpleLazyObject(never)
        return HttpResponse()

    outer = SimpleLazyObject(lambda: SimpleLazyObject(never))
    outer._setup()
    for path in ("/", "/outer"):
        DockerflowMiddleware(view)(RequestFactory().get(path))
    assert [record.uid for record in summaries] == ["", ""]
    assert "could not be read" not in caplog.text


@pytest.mark.parametrize("how", ["plain", "lazy", "lazy in lazy", "later"])
def test_a_user_that_was_loaded_is_in_the_summary(how, summaries):
    def view(request: Any) -> HttpResponse:
        request.user = {
            "plain": User(),
            "lazy": SimpleLazyObject(User),
            "lazy in lazy": SimpleLazyObject(lambda: SimpleLazyObject(User)),
            "later": SimpleLazyObject(never),
        }[how]
        if how == "later":
            request._acached_user = User()  # as Django's ``await request.auser()`` leaves it
        else:
            assert request.user.pk == 5
        return HttpResponse()

    DockerflowMiddleware(view)(RequestFactory().get("/"))
    [record] = summaries
    assert record.uid == 5


@both
def test_overridden_hooks_are_called(is_async, summaries):
    called: list[str] = []

    class Own(DockerflowMiddleware):
        def process_request(self, request):
            called.append("request")
            return super().process_request(request)

        def process_response(self, request, response):
            called.append("response")
            return super().process_response(request, response)

        def _build_extra_meta(self, request):
            return {**super()._build_extra_meta(request), "team": "blue"}

    async def aview(request: Any) -> HttpResponse:
        return HttpResponse()

    request = RequestFactory().get("/")
    if is_async:
        asyncio.run(Own(aview)(request))
    else:
        Own(lambda request: HttpResponse())(request)
    assert called == ["request", "response"]
    [record] = summaries
    assert record.team == "blue"


def test_a_cancelled_request_has_one_summary_and_propagates(summaries):
    async def view(request: Any) -> HttpResponse:
        begun.set()
        await asyncio.sleep(60)
        return HttpResponse()

    begun = asyncio.Event()

    async def run() -> None:
        task = asyncio.ensure_future(DockerflowMiddleware(view)(RequestFactory().get("/")))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    [record] = summaries
    assert (record.code, record.levelno) == (499, 20)


@pytest.mark.parametrize("name", ["DOCKERFLOW_CHECK_TIMEOUT", "DOCKERFLOW_HEARTBEAT_DETAILS"])
def test_a_wrong_setting_fails_at_construction(name):
    with override_settings(**{name: "abc"}), pytest.raises(ConfigError, match=name):
        DockerflowMiddleware(lambda request: HttpResponse())


def test_an_id_that_cannot_be_silenced_is_reported_where_it_is_set():
    ids, message = ["dockerflow.checks.E001"], "^SILENCED_SYSTEM_CHECKS must be"
    with override_settings(SILENCED_SYSTEM_CHECKS=ids), pytest.raises(ConfigError, match=message):
        DockerflowMiddleware(lambda request: HttpResponse())


@pytest.mark.parametrize("value", ["a.b", ["no.such.module"], [3]])
def test_a_wrong_list_of_checks_fails_at_start(value):
    with override_settings(DOCKERFLOW_CHECKS=value), pytest.raises(ConfigError, match="CHECKS"):
        django_checks.register()


@both
def test_version_by_the_apps_own_function(is_async, monkeypatch):
    roots: list[Any] = []

    def own(root: Any) -> dict[str, str]:
        roots.append(root)
        return {"version": "1"}

    monkeypatch.setattr(Module, "own", staticmethod(own), raising=False)
    with override_settings(DOCKERFLOW_VERSION_CALLBACK=f"{HERE}.own", BASE_DIR="/srv"):
        response = get("/__version__", is_async)
    assert (json.loads(response.content), roots) == ({"version": "1"}, ["/srv"])


def test_version_from_base_dir(tmp_path):
    (tmp_path / "version.json").write_text('{"version": "2"}')
    with override_settings(BASE_DIR=tmp_path):
        assert Client().get("/__version__").content == b'{"version": "2"}'


def test_request_attributes_that_apps_read():
    request = RequestFactory().get("/", headers={"x-request-id": "abc"})
    middleware = DockerflowMiddleware(lambda request: HttpResponse())
    assert middleware.process_request(request) is None
    assert request._id == request_id_context.get() == "abc"
    assert isinstance(request._start_timestamp, float)
    assert middleware._build_extra_meta(request)["path"] == "/"
    middleware.process_response(request, HttpResponse())
    assert request_id_context.get() is None


def test_a_setting_brings_the_system_checks_back():
    name = "check_secret_key"  # one of those for deployment
    with override_settings(DOCKERFLOW_SYSTEM_CHECKS=True, DOCKERFLOW_HEARTBEAT_DETAILS="always"):
        known = registry.get_checks(include_deployment_checks=True)
        # Those about Dockerflow's settings aren't about the health of a process.
        names = {check.__name__ for check in known if "dockerflow" not in check.tags}
        assert get("/__heartbeat__", False).json()["checks"].keys() == names
        assert name in names
        with override_settings(DEBUG=True):
            assert name not in get("/__heartbeat__", False).json()["checks"]
    with override_settings(DEBUG=True):
        assert get("/__heartbeat__", False).json()["checks"] == {}


def test_an_apps_own_defaults_count():
    # As by settings.configure(default_settings=...), which Django's documentation shows.
    own = ModuleType("own_defaults")
    own.DOCKERFLOW_CHECK_TIMEOUT = 1.5
    own.DOCKERFLOW_PATH_PREFIX = "/ops"
    holder = UserSettingsHolder(own)
    with mock.patch.object(settings, "_wrapped", holder):
        setting_changed.send(None, setting="DOCKERFLOW_PATH_PREFIX", value="/ops", enter=True)
        settings.DOCKERFLOW_PATH_PREFIX = "/mine"
        values = _settings.read()
        assert values["DOCKERFLOW_CHECK_TIMEOUT"] == 1.5
        assert values["DOCKERFLOW_PATH_PREFIX"] == "/mine"
        del settings.DOCKERFLOW_PATH_PREFIX
        assert "DOCKERFLOW_PATH_PREFIX" not in _settings.read()
    setting_changed.send(None, setting="DOCKERFLOW_PATH_PREFIX", value=None, enter=False)


def test_within_a_driver_the_id_stays_until_the_end():
    inner = DockerflowMiddleware(lambda request: HttpResponse())
    seen = []

    def app(environ, start_response):
        inner(WSGIRequest(environ))
        seen.append(request_id_context.get())
        start_response("200 OK", [])
        return []

    environ = RequestFactory().get("/", headers={"x-request-id": "abc"}).environ
    wsgi.DockerflowMiddleware(app)(environ, mock.Mock())
    assert seen == ["abc"]


@pytest.mark.parametrize("is_async", [False, True])
def test_what_django_logs_after_its_last_middleware_has_the_id(caplog, is_async):
    with override_settings(MIDDLEWARE=MIDDLEWARE, DOCKERFLOW_CHECKS=[]):
        if is_async:
            response = asyncio.run(AsyncClient().get("/missing"))
        else:
            response = Client().get("/missing")
    [record] = [record for record in caplog.records if record.name == "django.request"]
    assert response.status_code == 404
    assert record.rid == response.headers["X-Request-ID"]
