import subprocess
import sys
import threading

import pytest

pytest.importorskip("django")

import services
from services.django_settings import add_database, mail_settings

from dockerflow import health
from dockerflow.checks import Registry, contrib
from dockerflow.checks.contrib._django import closing_django_connections

import django  # isort: skip - after the settings
from django.core.files.base import ContentFile  # isort: skip
from django.core.files.storage import InMemoryStorage  # isort: skip
from django.core.mail.backends.smtp import EmailBackend  # isort: skip
from django.db import connections, transaction  # isort: skip
from django.test import override_settings  # isort: skip


@pytest.fixture(params=["file", "memory", "shared memory"])
def sqlite(request, tmp_path):
    name = {
        "file": str(tmp_path / "db"),
        "memory": ":memory:",
        "shared memory": "file:of_this_test?mode=memory&cache=shared",
    }[request.param]
    alias = add_database("sqlite", ENGINE="django.db.backends.sqlite3", NAME=name)
    yield alias
    wrapper = connections[alias]
    if wrapper.connection is not None:
        wrapper.connection.close()
        wrapper.connection = None


def in_thread(function):
    result = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    thread.join()
    return result[0]


def test_closes_what_it_opens(sqlite):
    def check():
        assert contrib.django_database(sqlite)() is None
        return connections[sqlite].connection

    assert in_thread(check) is None
    assert contrib.django_database(sqlite)() is None
    assert connections[sqlite].connection is None


def test_leaves_open_what_was_open(sqlite):
    connections[sqlite].ensure_connection()
    opened = connections[sqlite].connection
    assert contrib.django_database(sqlite)() is None
    assert connections[sqlite].connection is opened
    with transaction.atomic(using=sqlite):
        assert contrib.django_database(sqlite)() is None
        connections[sqlite].cursor().execute("SELECT 1")
    assert connections[sqlite].connection is opened


def test_data_in_shared_memory_outlives_the_check():
    alias = add_database(
        "shared", ENGINE="django.db.backends.sqlite3", NAME="file:shared?mode=memory&cache=shared"
    )
    connections[alias].cursor().execute("CREATE TABLE kept (number)")
    assert in_thread(contrib.django_database(alias)) is None
    connections[alias].cursor().execute("SELECT * FROM kept")
    connections[alias].connection.close()
    connections[alias].connection = None


@pytest.mark.parametrize("max_age", [0, 600, None])
def test_no_connection_is_left_behind(postgres, max_age):
    alias = add_database("postgres", postgres, CONN_MAX_AGE=max_age)
    registry = Registry()
    for number in range(5):
        registry.register(contrib.django_database(alias), name=str(number))
    for _ in range(5):
        assert set(registry.run().statuses.values()) == {"ok"}
    services.wait_for(
        lambda: postgres.connections() == 0, "the end of the connections", services.NOTICE
    )


def test_persistent_connection_from_before_a_restart(postgres):
    alias = add_database("postgres", postgres, CONN_MAX_AGE=None)
    connections[alias].ensure_connection()
    opened = connections[alias].connection
    postgres.restart()
    assert contrib.django_database(alias)() is None
    assert connections[alias].connection not in (None, opened)
    connections[alias].close()


def test_atomic_block_on_a_lost_connection(postgres):
    alias = add_database("postgres", postgres)

    def lose():
        with transaction.atomic(using=alias):
            connections[alias].cursor().execute("SELECT 1")
            postgres.restart()
            assert contrib.django_database(alias)().id == health.ERROR_UNUSABLE_DATABASE
            assert connections[alias].connection is not None

    import django.db

    with pytest.raises(django.db.Error):
        lose()
    connections[alias].close()


def test_misconfigured():
    for alias in ("no-such", add_database("dummy", ENGINE="django.db.backends.dummy")):
        message = contrib.django_database(alias)()
        assert message.id == health.ERROR_MISCONFIGURED_DATABASE
        [message] = contrib.django_migrations(alias)()
        assert message.id == health.INFO_CANT_CHECK_MIGRATIONS


def test_closing_connections_of_other_checks(sqlite):
    def check():
        with closing_django_connections():
            connections[sqlite].cursor().execute("SELECT 1")
        return connections[sqlite].connection

    assert in_thread(check) is None


class BrokenCache:
    def __init__(self, *_):
        pass

    def set(self, *_):
        raise OSError("secret.example.org")


class ForgetfulCache(BrokenCache):
    def set(self, *_):
        pass

    def get(self, _):
        pass

    delete = get


LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


@pytest.mark.parametrize(
    ("backend", "id_"),
    [
        (LOCMEM, None),
        ("django.core.cache.backends.dummy.DummyCache", None),
        (f"{__name__}.BrokenCache", "E014"),
        (f"{__name__}.ForgetfulCache", "E015"),
        ("no.such.Cache", "E013"),
    ],
)
def test_cache(monkeypatch, backend, id_):
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__, sys.modules["pytest"]))
    monkeypatch.setattr(sys.modules[__name__], "BrokenCache", BrokenCache, raising=False)
    monkeypatch.setattr(sys.modules[__name__], "ForgetfulCache", ForgetfulCache, raising=False)
    with override_settings(CACHES={"default": {"BACKEND": backend}}):
        message = contrib.django_cache()()
        assert (message and message.id) == (id_ and f"dockerflow.health.{id_}")
        assert "secret" not in (message.msg if message else "")
        assert contrib.django_cache("other")().id == health.ERROR_MISCONFIGURED_CACHE


@pytest.mark.parametrize(
    "backend", ["django.core.cache.backends.redis.RedisCache", "django_redis.cache.RedisCache"]
)
def test_redis_cache(redis_server, backend):
    location = f"redis://127.0.0.1:{redis_server.port}/0"
    with override_settings(CACHES={"default": {"BACKEND": backend, "LOCATION": location}}):
        registry = Registry()
        registry.register(contrib.django_cache())
        for _ in range(5):
            assert registry.run().statuses == {"cache": "ok"}
        services.wait_for(
            lambda: redis_server.connections() == 1, "one connection only", services.NOTICE
        )
        assert redis_server.call("dbsize") == 0
        redis_server.stop()
        assert registry.run().details["cache"]["messages"].keys() == {health.ERROR_CACHE_EXCEPTION}
        redis_server.start()
        assert registry.run().statuses == {"cache": "ok"}


def test_django_redis(redis_server):
    pytest.importorskip("django_redis")
    location = f"redis://127.0.0.1:{redis_server.port}/1"
    caches = {
        "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": location},
        "other": {"BACKEND": LOCMEM},
    }
    with override_settings(CACHES=caches):
        registry = Registry()
        registry.register(contrib.django_redis())
        for _ in range(5):
            assert registry.run().statuses == {"redis": "ok"}
        services.wait_for(
            lambda: redis_server.connections() == 1, "one connection only", services.NOTICE
        )
        assert contrib.django_redis("other")().id == health.ERROR_MISSING_REDIS_CLIENT
        assert contrib.django_redis("none")().id == health.ERROR_MISCONFIGURED_REDIS


def test_without_django_redis(monkeypatch):
    monkeypatch.setitem(sys.modules, "django_redis", None)
    assert contrib.django_redis()().id == health.ERROR_MISSING_REDIS_CLIENT


def mail_backend(name, **options):
    """The settings for one of Django's own backends, or for a wrong one."""
    backend = f"django.core.mail.backends.{name}.EmailBackend"
    if django.VERSION >= (6, 1):
        return override_settings(MAILERS={"default": {"BACKEND": backend, "OPTIONS": options}})
    settings = {f"EMAIL_{key.upper()}": value for key, value in options.items()}
    return override_settings(EMAIL_BACKEND=backend, **settings)


@pytest.mark.parametrize("name", ["console", "dummy", "locmem"])
def test_mail_backends_without_a_connection(name):
    with mail_backend(name):
        assert contrib.django_mail()() is None


def test_mail_to_files_makes_no_files(tmp_path):
    with mail_backend("filebased", file_path=tmp_path):
        assert contrib.django_mail()() is None
    assert list(tmp_path.iterdir()) == []


def test_mail_by_smtp(smtp_server):
    with mail_settings(smtp_server):
        assert contrib.django_mail()() is None
    with mail_settings(smtp_server, password="another-word"):
        message = contrib.django_mail()()
    assert message.id == health.ERROR_CANNOT_CONNECT_SMTP
    assert "another-word" not in f"{message.log_detail} {message.log_error}"


def test_mail_without_a_timeout_does_not_wait_for_ever(smtp_server, monkeypatch):
    monkeypatch.setattr("dockerflow.checks.contrib._django.MAIL_SECONDS", 0.1)
    smtp_server.pause()
    with mail_settings(smtp_server, timeout=None):
        assert contrib.django_mail()().id == health.ERROR_SMTP_TIMED_OUT


def test_misconfigured_mail(smtp_server):
    with mail_backend("no_such"):
        assert contrib.django_mail()().id == health.ERROR_MISCONFIGURED_MAIL
    with mail_settings(smtp_server, use_tls=True, use_ssl=True):
        assert contrib.django_mail()().id == health.ERROR_MISCONFIGURED_MAIL
    assert contrib.django_mail("other")().id == health.ERROR_MISCONFIGURED_MAIL


class SilentBackend(EmailBackend):
    def __init__(self, *args, **options):
        super().__init__(*args, **{**options, "fail_silently": True})


def test_a_mail_backend_that_fails_silently(monkeypatch, smtp_server):
    monkeypatch.setattr(sys.modules["pytest"], "SilentBackend", SilentBackend, raising=False)
    smtp_server.stop()
    with mail_settings(smtp_server, backend="pytest.SilentBackend"):
        assert contrib.django_mail()().id == health.ERROR_CANNOT_CONNECT_SMTP


class ForgetfulStorage(InMemoryStorage):
    def _open(self, name, mode="rb"):
        return ContentFile(b"another")


def storage(backend, **options):
    return override_settings(STORAGES={"default": {"BACKEND": backend, "OPTIONS": options}})


def test_storage(tmp_path):
    backend = "django.core.files.storage.FileSystemStorage"
    with storage(backend, location=tmp_path):
        assert contrib.django_storage()() is None
        assert list(tmp_path.iterdir()) == []
        assert contrib.django_storage("other")().id == health.ERROR_MISCONFIGURED_STORAGE
    (tmp_path / "file").touch()
    with storage(backend, location=tmp_path / "file"):
        message = contrib.django_storage()()
    assert message.id == health.ERROR_STORAGE_EXCEPTION
    assert "file" not in message.msg
    with storage("no.such.Storage"):
        assert contrib.django_storage()().id == health.ERROR_MISCONFIGURED_STORAGE


def test_storage_that_loses_a_file(monkeypatch):
    monkeypatch.setattr(sys.modules["pytest"], "ForgetfulStorage", ForgetfulStorage, raising=False)
    with storage("pytest.ForgetfulStorage"):
        assert contrib.django_storage()().id == health.ERROR_STORAGE_LOST_FILE


MIGRATIONS = """
import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
)
django.setup()
from django.db import connection
from dockerflow.checks import contrib

check = contrib.django_migrations()
messages = check()
assert len(messages) > 12, messages
assert {message.id for message in messages} == {"dockerflow.health.W001"}, messages
assert messages[0].msg == "Unapplied migration auth.0001_initial", messages
assert connection.connection is None
call_command("migrate", verbosity=0)
connection.close()
assert check() == []
call_command("migrate", "auth", "0011", verbosity=0)
[message] = check()
assert "auth.0012" in message.msg, message
"""


def test_migrations(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", MIGRATIONS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stderr
