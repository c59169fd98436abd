"""What all factories have in common."""

import functools
import inspect
import logging
import re
from pathlib import Path

import pytest

from dockerflow.checks import Registry, contrib
from dockerflow.checks.contrib._common import load, report
from dockerflow.checks.messages import Error

PAGE = Path(__file__).parents[2] / "docs" / "ready-made-checks.md"


def test_a_missing_library_names_the_extra():
    with pytest.raises(ImportError, match=r"dockerflow-middleware\[redis\]"):
        load("no_such_library.at_all", "redis")


def make_all():
    """Every check, and one that is made from other arguments."""
    sqlalchemy = pytest.importorskip("sqlalchemy")
    engine, other = sqlalchemy.create_engine("sqlite://"), sqlalchemy.create_engine("sqlite://")
    return {
        "database": [lambda: contrib.database(engine), lambda: contrib.database(other)],
        "migrations": [
            lambda: contrib.migrations(engine, "scripts"),
            lambda: contrib.migrations(engine, "others"),
        ],
        "http": [lambda: contrib.http("http://a.test"), lambda: contrib.http("http://b.test")],
        "tcp": [lambda: contrib.tcp("a.test", 1), lambda: contrib.tcp("a.test", 2)],
        "disk_space": [lambda: contrib.disk_space("/"), lambda: contrib.disk_space("/tmp")],
        "file_age": [lambda: contrib.file_age("a", 1), lambda: contrib.file_age("b", 1)],
        "memory": [contrib.memory, lambda: contrib.memory(warn_percent=50)],
        "smtp": [lambda: contrib.smtp("a.test"), lambda: contrib.smtp("b.test")],
        "mail": [contrib.django_mail, lambda: contrib.django_mail("other")],
        "storage": [contrib.django_storage, lambda: contrib.django_storage("other")],
    }


@pytest.mark.parametrize(
    "name",
    ["database", "migrations", "http", "tcp", "disk_space", "file_age", "memory", "smtp", "mail",
     "storage"],
)  # fmt: skip
def test_registered_under_its_name(name, caplog):
    make, make_other = make_all()[name]
    registry = Registry()
    for check in (make(), make(), make_other()):  # the last one wins, as in an app's factory
        registry.register(check)
        assert list(registry.get_checks().items()) == [(name, check)]
    assert caplog.records == []


def test_async_clients_give_coroutine_functions():
    asyncio_engine = pytest.importorskip("sqlalchemy.ext.asyncio")
    redis = pytest.importorskip("redis.asyncio")
    sync_redis = pytest.importorskip("redis")
    httpx2 = pytest.importorskip("httpx2")
    engine = asyncio_engine.create_async_engine("sqlite+aiosqlite://")
    checks = [
        contrib.database(engine),
        contrib.migrations(engine, "scripts"),
        contrib.redis(redis.Redis()),
        contrib.http("http://a.test", client=httpx2.AsyncClient()),
    ]
    assert [inspect.iscoroutinefunction(check) for check in checks] == [True] * 4
    registry = Registry()
    for check in checks:
        registry.register(check)
    assert list(registry.get_checks()) == ["database", "migrations", "redis", "http"]
    assert not inspect.iscoroutinefunction(contrib.redis(sync_redis.Redis()))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: contrib.database("postgresql://u:secret@db/x"), "Engine"),
        (lambda: contrib.redis("redis://u:secret@db/x"), "redis"),
        (lambda: contrib.http("db.test/x:secret"), "url must be"),
        (lambda: contrib.http("ftp://u:secret@db.test"), "url must be"),
        (lambda: contrib.http("http://a.test", client=object()), "client must be"),
        (
            lambda: contrib.http("http://a.test", expected=42),
            "expected must be a status from 100 to 599, or several, not 42",
        ),
        (
            lambda: contrib.http("http://a.test", timeout=-1),
            "timeout must be a number of seconds greater than 0, not -1",
        ),
        (lambda: contrib.tcp("a.test", 70_000), "port must be from 1 to 65535, not 70000"),
        (
            lambda: contrib.disk_space("/", warn_percent=1),
            "fail_percent must be at most warn_percent, which is 1, not 5.0",
        ),
        (
            lambda: contrib.memory(fail_percent=101),
            "fail_percent must be a number from 0 to 100, not 101",
        ),
        (
            lambda: contrib.file_age("/", 0),
            "max_age must be a number of seconds greater than 0, not 0",
        ),
        (lambda: contrib.celery(object()), "app must be"),
        (lambda: contrib.s3(object(), "bucket"), "client must be"),
        (lambda: contrib.smtp("a.test", 0), "port must be from 1 to 65535, not 0"),
        (
            lambda: contrib.smtp("a.test", timeout=0),
            "timeout must be a number of seconds greater than 0, not 0",
        ),
        (
            lambda: contrib.smtp("a.test", encryption="ssl"),
            "encryption must be 'starttls', 'tls' or None, not 'ssl'",
        ),
        (lambda: contrib.smtp("a.test", password="secret"), "user and password"),
    ],
)
def test_wrong_arguments(make, says):
    with pytest.raises((TypeError, ValueError), match=re.escape(says)) as caught:
        make()
    assert "secret" not in str(caught.value)


def logged(check):
    """Run a check, so that its message is logged."""
    registry = Registry()
    registry.register(check, name="check")
    assert registry.run().details["check"].messages == {"x": "Oh."}


def test_secrets_are_not_logged(caplog):
    error = OSError("no login for p%40ss%2Fword or p@ss/word at db")
    logged(lambda: report(Error("Oh.", id="x"), error, secrets=["p@ss/word", None, ""]))
    assert "no login for *** or *** at db" in caplog.text
    assert "ss/word" not in caplog.text
    assert "ss%2Fword" not in caplog.text


def test_an_error_is_logged_with_its_traceback(caplog):
    logged(lambda: report(Error("Oh.", id="x"), OSError("what the driver says")))
    [record] = caplog.records
    assert (record.name, record.levelno) == ("dockerflow.checks.registry", logging.ERROR)
    assert record.exc_info
    assert record.getMessage() == "x: Oh. (OSError: what the driver says)"


def test_an_exception_without_a_text_is_named(caplog):
    logged(lambda: report(Error("Oh.", id="x"), TimeoutError()))
    assert caplog.messages == ["x: Oh. (TimeoutError)"]


def test_all_is_what_there_is():
    assert contrib.__all__ == sorted(contrib.__all__)
    factories = {name for name, value in vars(contrib).items() if callable(value)}
    assert factories == set(contrib.__all__)
    page = PAGE.read_text(encoding="utf-8")
    missing = [name for name in contrib.__all__ if f"`{name}(" not in page]
    assert missing == [], f"add them to docs/{PAGE.name}"


def test_partials_are_what_is_registered():
    assert isinstance(contrib.tcp("a.test", 1), functools.partial)
