"""Applications of Django."""

import asyncio
import io
import logging
import pathlib
import tempfile
import uuid
from unittest import mock

import django
import redis
from django.conf import settings
from django.core import checks as django_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db.utils import OperationalError, ProgrammingError
from django.http import Http404, HttpResponse, JsonResponse
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import override_settings
from django.urls import path
from django.utils.functional import SimpleLazyObject

from dockerflow import checks

from .observe import RECORDS, attempt, encode, messages, response, scenario

HEADERS = {"User-Agent": "agent/1", "Accept-Language": "de", "X-Request-ID": "given"}
BASE = pathlib.Path(tempfile.mkdtemp())
(BASE / "version.json").write_text('{"version": "1.0", "name": "ü"}')
USER = {}


class Users:
    """Sets request.user, as an application's own middleware may."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if "user" in USER:
            request.user = USER["user"]
        return self.get_response(request)


def index(request):
    return HttpResponse("hello")


def user(request):
    return HttpResponse(str(request.user.is_authenticated))


def ids(request):
    from dockerflow.logging import request_id_context

    return JsonResponse(
        {
            "_id": request._id,
            "context": request_id_context.get(),
            "start": type(request._start_timestamp).__name__,
        }
    )


def raises(request):
    raise ValueError("no")


def missing(request):
    raise Http404("nothing")


def forbidden(request):
    from django.core.exceptions import PermissionDenied

    raise PermissionDenied("no")


urlpatterns = [
    path(f"{view.__name__}/" if view is not index else "", view)
    for view in (index, user, ids, raises, missing, forbidden)
]
MIDDLEWARE = "dockerflow.django.middleware.DockerflowMiddleware"

settings.configure(
    DEBUG=True,
    SECRET_KEY="s",
    ALLOWED_HOSTS=["testserver", "localhost"],
    BASE_DIR=str(BASE),
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "dockerflow.django"],
    MIDDLEWARE=[MIDDLEWARE, f"{__name__}.Users"],
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(BASE / "db.sqlite3")}
    },
    CACHES={
        "default": {
            "BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://localhost:1/0",
        }
    },
    LOGGING_CONFIG=None,
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)  # fmt: skip


def ok(app_configs, **kwargs):
    return []


def warning(app_configs, **kwargs):
    return [django_checks.Warning("low", hint="more", id="app.W001")]


def error(app_configs, **kwargs):
    return [django_checks.Error("down", id="app.E001")]


def unmigrated():
    (BASE / "db.sqlite3").unlink(missing_ok=True)


def migrated():
    call_command("migrate", verbosity=0)
    RECORDS.take()


def ask(path="/", method="get", headers=HEADERS, client=None, *, keep=False):
    RECORDS.take()
    got = getattr(client or Client(raise_request_exception=False), method)(path, headers=headers)
    body = got.content
    if got.status_code >= 400 and b"<!DOCTYPE html>" in body[:200].replace(b"doctype", b"DOCTYPE"):
        body = b"<page>"
    return {
        "response": response(got.status_code, got.items(), body),
        "records": {} if keep else RECORDS.take(),
    }


def registered(*names):
    """Register these checks only, as a test's fixture does."""
    from dockerflow.django import checks as ready_made

    registry = django_checks.registry.registry
    registry.registered_checks.clear()
    registry.deployment_checks.clear()
    with override_settings(DOCKERFLOW_CHECKS=[f"{__name__}.{name}" for name in names]):
        ready_made.register()


def only(*names):
    return override_settings(DOCKERFLOW_CHECKS=[f"{__name__}.{name}" for name in names])


@scenario
def endpoints():
    migrated()
    seen = {}
    with only("ok", "warning"):
        registered("ok", "warning")
        for path in ("/__version__", "/__lbheartbeat__", "/__heartbeat__"):
            for method in ("get", "head", "post", "options"):
                seen[f"{method} {path}"] = ask(path, method)
            seen[f"get {path}/"] = ask(path + "/")
        seen["text"] = Client().get("/__heartbeat__").content.decode()
        with override_settings(DEBUG=False):
            seen["heartbeat without DEBUG"] = ask("/__heartbeat__")
    with only("ok", "error"):
        registered("ok", "error")
        seen["failing"] = ask("/__heartbeat__")
        with override_settings(DOCKERFLOW_HEARTBEAT_FAILED_STATUS_CODE=503):
            seen["failing with 503, set later"] = ask("/__heartbeat__")["response"]["status"]
        with override_settings(SILENCED_SYSTEM_CHECKS=["app.E001"]):
            seen["silenced"] = ask("/__heartbeat__")["response"]
    return seen


@scenario
def default_heartbeat():
    """With the checks of DOCKERFLOW_CHECKS' default, before and after the migrations."""
    unmigrated()
    seen = {"before": ask("/__heartbeat__")}
    migrated()
    seen["after"] = ask("/__heartbeat__")
    with override_settings(DEBUG=False):
        seen["without DEBUG"] = ask("/__heartbeat__")
    with override_settings(DOCKERFLOW_SYSTEM_CHECKS=True):
        seen["system checks"] = ask("/__heartbeat__")["response"]["body"]
    return seen


@scenario
def versions():
    seen = {}
    with override_settings(BASE_DIR=tempfile.mkdtemp()):
        seen["missing"] = ask("/__version__")
    with override_settings(BASE_DIR=BASE):
        seen["Path"] = ask("/__version__")["response"]["body"]
    with mock.patch("dockerflow.version.get_version", return_value={"version": "p"}) as patched:
        seen["get_version patched"] = ask("/__version__")["response"]
        seen["called with"] = [str(call.args[0]) == str(BASE) for call in patched.call_args_list]
    with mock.patch("dockerflow.version.get_version", return_value=None):
        seen["get_version gives None"] = ask("/__version__")["response"]
    with override_settings(DOCKERFLOW_VERSION_CALLBACK=f"{__name__}.own_version"):
        seen["set later"] = ask("/__version__")["response"]["body"]

    def callback():
        with mock.patch("dockerflow.django.views.version_callback", f"{__name__}.own_version"):
            return ask("/__version__")["response"]["body"]

    seen["version_callback patched"] = attempt(callback)
    broken = pathlib.Path(tempfile.mkdtemp())
    (broken / "version.json").write_text("{")
    with override_settings(BASE_DIR=broken):
        seen["not JSON"] = ask("/__version__")
    return seen


def own_version(root):
    return {"version": "own", "root": str(root) == str(BASE)}


@scenario
def callback_set_at_start():
    settings.DOCKERFLOW_VERSION_CALLBACK = f"{__name__}.own_version"
    settings.DOCKERFLOW_HEARTBEAT_FAILED_STATUS_CODE = "503"
    settings.DOCKERFLOW_CHECKS = [f"{__name__}.error"]
    registered("error")
    return {
        "version": ask("/__version__")["response"],
        "failing": ask("/__heartbeat__")["response"],
    }


@scenario
def error_endpoint():
    seen = {"off": ask("/__error__")}
    with override_settings(DOCKERFLOW_ERROR_ENDPOINT=True):
        seen["on"] = ask("/__error__")
    return seen


@scenario
def summaries():
    with override_settings(DOCKERFLOW_SUMMARY_LOG_QUERYSTRING=True):
        return {
            "plain": ask(),
            "without headers": ask(headers={}),
            "not found": ask("/nothing"),
            "raised 404": ask("/missing/"),
            "raises": ask("/raises/"),
            "forbidden": ask("/forbidden/"),
            "redirect": ask("/ids"),
            "query string": ask("/?a=1&b=%C3%BC+x&c=%2F"),
            "secret": ask("/?password=x&a=1"),
            "encoded path": ask("/%C3%BC"),
        }


@scenario
def mozlog():
    seen = {}
    for address in ("/", "/raises/"):
        ask(address, keep=True)
        seen[address] = RECORDS.lines()
    return seen


@scenario
def asynchronous():
    client = AsyncClient(raise_request_exception=False)

    async def asked(path):
        RECORDS.take()
        got = await client.get(path, headers=HEADERS)
        body = b"<page>" if got.status_code >= 400 else got.content
        return {"response": response(got.status_code, got.items(), body), "records": RECORDS.take()}

    with only("warning"):
        registered("warning")
        return {
            path: asyncio.run(asked(path))
            for path in ("/", "/ids/", "/nothing", "/raises/", "/__lbheartbeat__",
                         "/__heartbeat__", "/__version__")
        }  # fmt: skip


@scenario
def ids_of_requests():
    seen = {
        "given": ask("/ids/"),
        "made": ask("/ids/", headers={}),
        "odd": ask("/ids/", headers={"X-Request-ID": "a b"}),
    }
    with override_settings(DOCKERFLOW_REQUEST_ID_HEADER_NAME="X-Trace"):
        seen["other header"] = ask("/ids/", headers={"X-Trace": "t", "X-Request-ID": "r"})
    from dockerflow.logging import request_id_context

    seen["after the request"] = encode(request_id_context.get())
    return seen


class Person:
    """As Django's users: what the framework and middlewares look at."""

    is_authenticated = True

    def __init__(self, pk, name="someone@example.org"):
        self.pk = self.id = pk
        self.name = name

    def get_username(self):
        return self.name


class Nameless(Person):
    """A user whose USERNAME_FIELD is empty."""

    USERNAME_FIELD = ""

    def get_username(self):
        return None


class Anonymous(Person):
    is_authenticated = False


@scenario
def users():
    from django.contrib.auth.models import AnonymousUser, User

    people = {
        "int": Person(7), "text": Person("abc"), "zero": Person(0), "none": Person(None),
        "uuid": Person(uuid.UUID(int=5)), "nameless": Nameless(8), "not authenticated": Anonymous(1),
        "AnonymousUser": AnonymousUser(), "User": User(pk=12, username="someone@example.org"),
        "loaded lazily": SimpleLazyObject(lambda: Person(9)),
    }  # fmt: skip
    seen = {}
    for name, person in people.items():
        USER["user"] = person
        seen[name] = ask("/user/")["records"]
    loads = []

    def load():
        loads.append(1)
        return Person(9)

    # As REST frameworks authenticate: only when somebody asks.
    USER["user"] = SimpleLazyObject(load)
    seen["lazy, not used by the view"] = ask("/")["records"]
    seen["loads"] = len(loads)
    USER["user"] = None
    seen["None"] = attempt(lambda: ask("/")["records"])
    return seen


def middlewares():
    from dockerflow.django.middleware import DockerflowMiddleware

    class Extra(DockerflowMiddleware):
        def _build_extra_meta(self, request):
            out = super()._build_extra_meta(request)
            out["extra"] = request.GET.get("a", "")
            out.pop("lang")
            return out

    class Whole(DockerflowMiddleware):
        def _build_extra_meta(self, request):
            out = {"errno": 0, "method": request.method}
            if hasattr(request, "_id"):
                out["rid"] = request._id
            out["started"] = hasattr(request, "_start_timestamp")
            return out

    class Hooks(DockerflowMiddleware):
        def process_request(self, request):
            logging.getLogger("app").info("process_request")
            return super().process_request(request)

        def process_response(self, request, response):
            logging.getLogger("app").info("process_response")
            return super().process_response(request, response)

        def process_exception(self, request, exception):
            logging.getLogger("app").info("process_exception")
            return super().process_exception(request, exception)

    class Patterns(DockerflowMiddleware):
        import re

        viewpatterns = [
            *DockerflowMiddleware.viewpatterns,
            (re.compile(r"/__own__/?$"), lambda request: HttpResponse("own")),
        ]

    class NoPatterns(DockerflowMiddleware):
        viewpatterns = []

    class Logger(DockerflowMiddleware):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.summary_logger = logging.getLogger("app.summary")

    return {kind.__name__: kind for kind in (Extra, Whole, Hooks, Patterns, NoPatterns, Logger)}


@scenario
def subclassed():
    seen = {}
    for name, kind in middlewares().items():
        globals()[name] = kind
        with override_settings(MIDDLEWARE=[f"{__name__}.{name}"]):
            seen[name] = {
                path: ask(path, client=Client(raise_request_exception=False))
                for path in ("/?a=1", "/raises/", "/__own__", "/__lbheartbeat__")
            }
    return seen


def by_hand_with(request, given, exception=None, kind=None):
    from dockerflow.django.middleware import DockerflowMiddleware

    RECORDS.take()
    middleware = (kind or DockerflowMiddleware)(get_response=lambda request: HttpResponse("x"))
    seen = {"process_request": encode(middleware.process_request(request))}
    if exception is not None:
        seen["process_exception"] = attempt(
            lambda: middleware.process_exception(request, exception)
        )
    seen["process_response"] = attempt(lambda: middleware.process_response(request, given) is given)
    seen["request"] = attempt(lambda: [request._id, type(request._start_timestamp).__name__])
    seen["records"] = RECORDS.take()
    return seen


def probe_by_hand(request):
    from dockerflow.django.middleware import DockerflowMiddleware

    RECORDS.take()
    middleware = DockerflowMiddleware(get_response=lambda request: HttpResponse("x"))
    got = middleware.process_request(request)
    return {
        "type": encode(got),
        "status": attempt(lambda: got.status_code),
        "body": attempt(lambda: got.content.decode()),
        "records": RECORDS.take(),
    }


@scenario
def hooks_by_hand():
    from dockerflow.django.middleware import DockerflowMiddleware

    make = RequestFactory(headers=HEADERS)

    def request(path="/", user=None):
        made = make.get(path)
        if user is not None:
            made.user = user
        return made

    seen = {
        "with a response": by_hand_with(request(), HttpResponse("x")),
        "with None": by_hand_with(request(), None),
        "with an error's response": by_hand_with(request(), HttpResponse("x", status=500)),
        "with an exception": by_hand_with(request(), None, ValueError("no")),
        "with an exception and a response": by_hand_with(
            request(), HttpResponse("x", status=500), ValueError("no")
        ),
        "with a user": by_hand_with(request(user=Person(7)), None),
        "with a nameless user": by_hand_with(request(user=Nameless(8)), HttpResponse("x")),
    }
    for address in ("/__version__", "/__lbheartbeat__", "/__version__/"):
        seen[address] = probe_by_hand(request(address))
    middleware = DockerflowMiddleware(get_response=lambda request: HttpResponse("x"))
    seen["response only"] = {
        "returned": attempt(lambda: middleware.process_response(request(), None)),
        "records": RECORDS.take(),
    }
    seen["exception only"] = {
        "returned": attempt(lambda: middleware.process_exception(request(), ValueError("no"))),
        "records": RECORDS.take(),
    }
    seen["_build_extra_meta"] = attempt(
        lambda: middleware._build_extra_meta(request(user=Person(7)))
    )
    seen["called"] = attempt(lambda: middleware(request()).status_code)
    seen["records of the call"] = RECORDS.take()
    seen["without get_response"] = attempt(lambda: DockerflowMiddleware())
    seen["positional"] = attempt(
        lambda: DockerflowMiddleware(lambda request: HttpResponse("x")).get_response is not None
    )
    seen["async capable"] = attempt(
        lambda: [DockerflowMiddleware.sync_capable, DockerflowMiddleware.async_capable]
    )
    return seen


@scenario
def loggers():
    from dockerflow.django.middleware import DockerflowMiddleware

    middleware = DockerflowMiddleware(get_response=lambda request: HttpResponse("x"))
    request = RequestFactory(headers=HEADERS).get("/")
    RECORDS.take()
    seen = {
        "summary_logger": attempt(
            lambda: middleware.summary_logger is logging.getLogger("request.summary")
        ),
        "handler added": attempt(
            lambda: middleware.summary_logger.addHandler(logging.NullHandler())
        ),
    }
    middleware.summary_logger = mock.Mock()
    middleware.process_request(request)
    middleware.process_response(request, HttpResponse("x"))
    seen["mocked"] = [call[0] for call in middleware.summary_logger.method_calls]
    middleware.summary_logger = logging.LoggerAdapter(
        logging.getLogger("app.summary"), {"adapted": 1}
    )
    middleware.process_request(request)
    middleware.process_response(request, HttpResponse("x"))
    seen["adapter"] = RECORDS.take()
    request = RequestFactory(headers=HEADERS).get("/")
    middleware.summary_logger = logging.getLogger("app.summary")
    middleware.process_request(request)
    seen["by hand"] = attempt(lambda: middleware.process_response(request, None))
    seen["records by hand"] = RECORDS.take()
    seen["called"] = attempt(lambda: middleware(request).status_code)
    seen["records of the call"] = RECORDS.take()
    return seen


@scenario
def views_by_hand():
    from dockerflow.django import views

    request = RequestFactory(headers=HEADERS).get("/")
    seen = {}
    with only("warning"):
        registered("warning")
        for name in ("version", "heartbeat", "lbheartbeat", "error"):

            def called(name=name):
                got = getattr(views, name)(request)
                return response(got.status_code, got.items(), got.content)

            seen[name] = {"response": attempt(called), "records": RECORDS.take()}

    def status():
        registered("error")
        with only("error"), mock.patch.object(views, "HEARTBEAT_FAILED_STATUS_CODE", 503):
            return views.heartbeat(request).status_code

    seen["HEARTBEAT_FAILED_STATUS_CODE"] = attempt(lambda: views.HEARTBEAT_FAILED_STATUS_CODE)
    seen["HEARTBEAT_FAILED_STATUS_CODE patched"] = attempt(status)
    seen["version_callback"] = attempt(lambda: views.version_callback)
    seen["django_check_registry"] = attempt(
        lambda: views.django_check_registry is django_checks.registry.registry
    )
    seen["logger"] = attempt(lambda: views.logger.name)

    def patched():
        with mock.patch("dockerflow.django.middleware.extract_request_id") as extract:
            ask()
            return extract.called

    def own_id():
        def extract(request):
            from dockerflow.logging import request_id_context

            request._id = "own"
            request_id_context.set("own")

        with mock.patch("dockerflow.django.middleware.extract_request_id", extract):
            ask(keep=True)
            return [record.rid for record in RECORDS.kept if record.name == "request.summary"]

    def checks_of_views():
        return views.checks is checks

    seen["extract_request_id replaced"] = attempt(own_id)
    seen["checks"] = attempt(checks_of_views)

    def extracted():
        from dockerflow.django.middleware import extract_request_id

        extract_request_id(request)
        return request._id

    seen["extract_request_id patched"] = attempt(patched)
    seen["extract_request_id"] = attempt(extracted)
    return seen


@scenario
def registry_patched():
    """As tests of applications make a check fail: in the registry that the view imports."""
    from dockerflow.django import views

    registered("ok")
    registry = views.django_check_registry
    seen = {}
    with only("ok"):
        for check in (warning, error):
            with mock.patch.object(registry, "get_checks", return_value=[check]):
                seen[check.__name__] = ask("/__heartbeat__")
            target = "dockerflow.django.views.django_check_registry"
            replaced = mock.Mock(**{"get_checks.return_value": [check]})
            with mock.patch(target, replaced):
                seen[f"{check.__name__}, all replaced"] = ask("/__heartbeat__")
            seen["arguments"] = attempt(lambda mocked=replaced.get_checks: mocked.call_args.kwargs)
        seen["afterwards"] = ask("/__heartbeat__")
    return seen


@scenario
def signals():
    from dockerflow.django.signals import heartbeat_failed, heartbeat_passed
    from dockerflow.django.views import heartbeat

    heard = []

    def passed(sender, level, **extra):
        heard.append(["passed", sender is heartbeat, level, sorted(extra)])

    def failed(sender, level, **extra):
        heard.append(["failed", sender is heartbeat, level, sorted(extra)])

    heartbeat_passed.connect(passed)
    heartbeat_failed.connect(failed)
    for name in ("warning", "error"):
        with only(name):
            registered(name)
            ask("/__heartbeat__")
    return heard


@scenario
def lists_changed_in_place():
    settings.SILENCED_SYSTEM_CHECKS = []
    settings.DOCKERFLOW_CHECKS = [f"{__name__}.warning"]
    registered("warning", "error")
    registered("warning")
    seen = {"before": ask("/__heartbeat__")["response"]["body"]}
    settings.SILENCED_SYSTEM_CHECKS.append("app.W001")
    seen["silenced"] = ask("/__heartbeat__")["response"]["body"]
    settings.SILENCED_SYSTEM_CHECKS.clear()
    seen["not silenced"] = ask("/__heartbeat__")["response"]["body"]
    from dockerflow.django import checks as ready_made

    settings.DOCKERFLOW_CHECKS.append(f"{__name__}.error")
    ready_made.register()
    seen["check added"] = ask("/__heartbeat__")["response"]["body"]
    return seen


def replaced_connection(**methods):
    """Replace the connection of Django's ready-made checks, as tests of a broken database do."""
    from dockerflow.django import checks as ready_made

    connection = mock.MagicMock()
    for name, given in methods.items():
        getattr(connection, name).configure_mock(**given)
    return mock.patch.object(ready_made, "connection", connection)


@scenario
def database_checks():
    from dockerflow.django import checks as ready_made

    unmigrated()
    seen = {
        "connected": messages(ready_made.check_database_connected(app_configs=None)),
        "positional": messages(ready_made.check_database_connected([])),
        "unapplied": messages(ready_made.check_migrations_applied(app_configs=None)),
        "databases given": attempt(
            lambda: messages(ready_made.check_database_connected(None, databases=["default"]))
        ),
        "type": type(ready_made.check_migrations_applied(None)[0]).__module__,
        "silenceable": attempt(lambda: ready_made.check_migrations_applied(None)[0].is_silenced()),
    }
    from django.apps import apps

    seen["of one app"] = messages(
        ready_made.check_migrations_applied([apps.get_app_config("contenttypes")])
    )
    migrated()
    seen["applied"] = messages(ready_made.check_migrations_applied(None))
    errors = {
        "OperationalError": OperationalError("refused"),
        "ProgrammingError": ProgrammingError("table"),
        "ImproperlyConfigured": ImproperlyConfigured("engine"),
    }
    for name, failure in errors.items():

        def patched(failure=failure):
            with replaced_connection(ensure_connection={"side_effect": failure}):
                return messages(ready_made.check_database_connected(None))

        def ensure(failure=failure):
            with mock.patch(
                "django.db.backends.base.base.BaseDatabaseWrapper.ensure_connection",
                side_effect=failure,
            ):
                return messages(ready_made.check_database_connected(None))

        def loader(failure=failure):
            with mock.patch(
                "django.db.migrations.loader.MigrationLoader.__init__", side_effect=failure
            ):
                return messages(ready_made.check_migrations_applied(None))

        seen[f"connection patched, {name}"] = attempt(patched)
        seen[f"ensure_connection patched, {name}"] = attempt(ensure)
        seen[f"loader patched, {name}"] = attempt(loader)

    def unusable():
        with replaced_connection(is_usable={"return_value": False}):
            return messages(ready_made.check_database_connected(None))

    def unusable_too():
        with mock.patch(
            "django.db.backends.sqlite3.base.DatabaseWrapper.is_usable", return_value=False
        ):
            return messages(ready_made.check_database_connected(None))

    seen["connection patched, not usable"] = attempt(unusable)
    seen["is_usable patched"] = attempt(unusable_too)
    return seen


@scenario
def broken_database_in_the_heartbeat():
    migrated()
    failure = OperationalError("refused")
    settings.DOCKERFLOW_CHECKS = ["dockerflow.django.checks.check_database_connected"]

    def heartbeat():
        got = ask("/__heartbeat__")["response"]
        return {"status": got["status"], "check": got["body"]["checks"]["check_database_connected"]}

    seen = {"connected": attempt(heartbeat)}
    with replaced_connection(ensure_connection={"side_effect": failure}):
        seen["connection patched"] = attempt(heartbeat)
    with mock.patch("django.db.connection.ensure_connection", side_effect=failure):
        seen["its method patched"] = attempt(heartbeat)
    with mock.patch(
        "django.db.backends.base.base.BaseDatabaseWrapper.ensure_connection", side_effect=failure
    ):
        seen["the class patched"] = attempt(heartbeat)
    return seen


@scenario
def uncommitted():
    """A check of the app's own, in a test that runs within a transaction."""
    from django.contrib.auth.models import Group
    from django.db import transaction

    def counted(app_configs, **kwargs):
        return [django_checks.Info(f"{Group.objects.count()} groups", id="app.I001")]

    globals()["counted"] = counted
    migrated()
    seen = {}
    with only("counted"):
        registered("counted")
        with transaction.atomic():
            Group.objects.create(name="new")
            seen["in the transaction"] = ask("/__heartbeat__")["response"]["body"]
        seen["committed"] = ask("/__heartbeat__")["response"]["body"]
    return seen


@scenario
def redis_checks():
    from dockerflow.django import checks as ready_made

    results = {
        "ok": True, "false": False,
        "ConnectionError": redis.ConnectionError("refused"),
        "TimeoutError": redis.TimeoutError("late"),
        "RedisError": redis.RedisError("broken"),
        "NotImplementedError": NotImplementedError("no client"),
        "ImproperlyConfigured": ImproperlyConfigured("no cache"),
    }  # fmt: skip
    seen = {}
    for name, result in results.items():

        def client(result=result):
            found = mock.Mock()
            found.ping.return_value = result
            given = (
                {"side_effect": result}
                if isinstance(result, Exception)
                else {"return_value": found}
            )
            with mock.patch("django_redis.get_redis_connection", **given):
                return messages(ready_made.check_redis_connected(None))

        def ping(result=result):
            found = mock.Mock()
            if isinstance(result, Exception):
                found.ping.side_effect = result
            else:
                found.ping.return_value = result
            with mock.patch("django_redis.get_redis_connection", return_value=found):
                return messages(ready_made.check_redis_connected(None))

        seen[name] = attempt(client)
        seen[f"{name} in ping"] = attempt(ping)
    return seen


@scenario
def system_checks():
    """What manage.py check and Django's registry show."""
    from dockerflow.django import checks as ready_made

    unmigrated()

    def names():
        return sorted(
            check.__name__
            for check in django_checks.registry.registry.get_checks()
            if "django.contrib" not in check.__module__ and "django.core" not in check.__module__
        )

    def command(*args, **options):
        out, err = io.StringIO(), io.StringIO()
        try:
            call_command("check", *args, stdout=out, stderr=err, **options)
        except SystemExit as ended:
            err.write(f"exit {ended.code}")
        except Exception as error:
            err.write(type(error).__name__)
        return {
            "out": sorted(out.getvalue().splitlines()),
            "err": sorted(err.getvalue().splitlines()),
        }

    seen = {
        "registered at start": names(),
        "unapplied migrations": command(databases=["default"]),
        "by run_checks": attempt(lambda: messages(django_checks.run_checks(databases=["default"]))),
        "without databases": command(),
    }
    migrated()
    seen["migrated"] = command(databases=["default"])
    django_checks.register(ready_made.check_migrations_applied)
    django_checks.register(ready_made.check_database_connected, django_checks.Tags.database)
    seen["registered by the app"] = command(databases=["default"])
    with only("warning", "error"):
        ready_made.register()
        seen["own checks registered"] = [name for name in names() if name in {"warning", "error"}]
        seen["own checks"] = command()
        with override_settings(SILENCED_SYSTEM_CHECKS=["app.E001"]):
            seen["own checks silenced"] = command()
    with override_settings(DOCKERFLOW_CHECKS=["no.such.check"]):
        seen["unknown"] = attempt(ready_made.register)
    return seen


@scenario
def dockerflow_checks_beside():
    """Checks of the Dockerflow registry, which python-dockerflow's Django doesn't run."""

    @checks.register
    def own():
        return [checks.Warning("own", id="app.W009")]

    with only("ok"):
        registered("ok")
        return {"heartbeat": ask("/__heartbeat__")}


@scenario
def message_classes():
    """Django's and Dockerflow's messages are told apart by nobody."""

    def mixed(app_configs, **kwargs):
        return [checks.Warning("dockerflow's", id="app.W1"), django_checks.Info("d", id="app.I1")]

    globals()["mixed"] = mixed
    with only("mixed"):
        registered("mixed")
        return ask("/__heartbeat__")


@scenario
def in_front_of_everything():
    seen = {}
    with (
        only("ok"),
        override_settings(
            SECURE_SSL_REDIRECT=True,
            MIDDLEWARE=["django.middleware.security.SecurityMiddleware", MIDDLEWARE],
        ),
    ):
        seen["behind SecurityMiddleware"] = ask("/__lbheartbeat__", client=Client())
    with (
        only("ok"),
        override_settings(
            MIDDLEWARE=[MIDDLEWARE, "django.middleware.common.CommonMiddleware"], APPEND_SLASH=True
        ),
    ):
        seen["before CommonMiddleware"] = ask("/__lbheartbeat__", client=Client())
        seen["unknown host"] = ask(
            "/__lbheartbeat__", headers={**HEADERS, "Host": "10.0.0.1"}, client=Client()
        )
    return seen


@scenario
def app_config():
    from django.apps import apps

    from dockerflow.django import apps as module

    config = apps.get_app_config("dockerflow")
    return {
        "name": config.name,
        "label": config.label,
        "verbose_name": str(config.verbose_name),
        "class": attempt(lambda: isinstance(config, module.DockerFlowAppConfig)),
    }


django.setup()
