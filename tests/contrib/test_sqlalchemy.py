import asyncio
import inspect
import io
import subprocess
import sys

import pytest

pytest.importorskip("sqlalchemy")

import sqlalchemy
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import QueuePool

from dockerflow import health
from dockerflow.checks import Registry, contrib
from dockerflow.checks.contrib._sqlalchemy import check_engine


def run(engine, check):
    if not inspect.iscoroutinefunction(check):
        try:
            return check()
        finally:
            engine.dispose()

    async def main():
        try:
            return await check()
        finally:
            await engine.dispose()

    return asyncio.run(main())


ENGINES = [
    lambda path: sqlalchemy.create_engine(f"sqlite:///{path}"),
    lambda path: create_async_engine(f"sqlite+aiosqlite:///{path}"),
]


@pytest.fixture(params=ENGINES, ids=["sync", "async"])
def engine(request, tmp_path):
    return request.param(tmp_path / "db")


def test_database(engine):
    assert run(engine, contrib.database(engine)) is None


def test_cannot_connect(tmp_path, caplog):
    engine = ENGINES[0](tmp_path / "no" / "folder" / "db")
    registry = Registry()
    registry.register(contrib.database(engine))
    assert list(registry.run().details["database"].messages) == ["dockerflow.health.E001"]
    assert "unable to open database file" in caplog.text
    engine.dispose()


class Broken:
    """An engine whose connection can't be made, or can't be used."""

    def __init__(self, connecting=None, using=None):
        self.connecting, self.using = connecting, using

    def connect(self):
        if self.connecting:
            raise self.connecting
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def execute(self, _):
        raise self.using


def dbapi_error(kind, **options):
    return kind("SELECT 1", {}, Exception("secret.example.org"), **options)


ERRORS = [
    ({"connecting": dbapi_error(exc.OperationalError)}, "E001", "E008"),
    ({"connecting": dbapi_error(exc.DBAPIError)}, "E001", "E008"),
    ({"connecting": exc.TimeoutError()}, "E011", "E009"),
    ({"connecting": exc.ArgumentError()}, "E009", "E009"),
    ({"using": dbapi_error(exc.OperationalError)}, "E002", "E008"),
    ({"using": dbapi_error(exc.DBAPIError, connection_invalidated=True)}, "E002", "E008"),
    ({"using": dbapi_error(exc.ProgrammingError)}, "E008", "E008"),
    ({"using": exc.InvalidRequestError()}, "E009", "E009"),
]


@pytest.mark.parametrize(("how", "id_", "id_of_flask"), ERRORS)
def test_ids(how, id_, id_of_flask):
    message = contrib.database(Broken(**how))()
    assert message.id == f"dockerflow.health.{id_}"
    assert "secret" not in message.msg
    message = check_engine(Broken(**how))
    assert message.id == f"dockerflow.health.{id_of_flask}"
    assert "secret" not in message.msg


def test_the_app_has_all_of_the_pool(tmp_path):
    engine = sqlalchemy.create_engine(
        f"sqlite:///{tmp_path / 'db'}", poolclass=QueuePool, pool_size=1, max_overflow=0,
        pool_timeout=0.1,
    )  # fmt: skip
    check = contrib.database(engine)
    with engine.connect():
        assert check().id == health.ERROR_DATABASE_POOL_EXHAUSTED
    assert check() is None
    assert engine.pool.checkedout() == 0
    engine.dispose()


def test_a_password_is_neither_shown_nor_logged(postgres, caplog):
    engine = sqlalchemy.create_engine(postgres.url(password="not-the-password"))
    registry = Registry()
    registry.register(contrib.database(engine))
    results = registry.run()
    engine.dispose()
    assert list(results.details["database"].messages) == ["dockerflow.health.E001"]
    assert "authentication failed" in caplog.text
    assert "not-the-password" not in caplog.text + str(results)


def test_async_engine_of_another_loop(postgres):
    """Its pooled connections belong to the loop that made them: the check says that it failed."""
    engine = create_async_engine(postgres.url("postgresql+asyncpg"))
    check = contrib.database(engine)
    # It rests meanwhile: two threads at one connection can crash asyncpg.
    app_loop = asyncio.new_event_loop()
    app_loop.run_until_complete(check())
    message = asyncio.run(check())
    assert message is not None
    assert message.level >= 40
    app_loop.run_until_complete(engine.dispose())
    app_loop.close()


@pytest.fixture
def scripts(tmp_path):
    pytest.importorskip("alembic")
    from alembic import command
    from alembic.config import Config

    folder = tmp_path / "scripts"
    config = Config(str(tmp_path / "alembic.ini"), stdout=io.StringIO())
    command.init(config, str(folder))
    for number in ("one", "two"):
        command.revision(config, message=number, rev_id=number)
    return folder


def stamp(engine, revision):
    with sqlalchemy.create_engine(str(engine.url).replace("+aiosqlite", "")).begin() as connection:
        connection.execute(
            sqlalchemy.text("CREATE TABLE IF NOT EXISTS alembic_version (version_num TEXT)")
        )
        connection.execute(sqlalchemy.text("DELETE FROM alembic_version"))
        connection.execute(
            sqlalchemy.text("INSERT INTO alembic_version VALUES (:v)"), {"v": revision}
        )
        connection.engine.dispose()


@pytest.mark.parametrize(
    ("revision", "id_"),
    [(None, "W001"), ("one", "W001"), ("of-newer-code", "W001"), ("two", None)],
)
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_migrations(engine, scripts, revision, id_):
    if revision:
        stamp(engine, revision)
    message = run(engine, contrib.migrations(engine, scripts))
    assert (message and message.id) == (id_ and f"dockerflow.health.{id_}")


def test_migrations_by_other_configurations(scripts, tmp_path):
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(scripts))
    ini = tmp_path / "other.ini"
    ini.write_text(f"[alembic]\nscript_location = {scripts}\n", encoding="utf-8")
    for given in (config, ini, str(ini), ScriptDirectory.from_config(config)):
        engine = sqlalchemy.create_engine("sqlite://")
        assert run(engine, contrib.migrations(engine, given)).id == "dockerflow.health.W001"


@pytest.mark.parametrize("path", ["nowhere", "empty"])
def test_cannot_check_migrations(engine, tmp_path, path):
    pytest.importorskip("alembic")
    (tmp_path / "empty").mkdir()
    message = run(engine, contrib.migrations(engine, tmp_path / path / "x"))
    assert (message.id, message.level) == (health.INFO_CANT_CHECK_MIGRATIONS, 20)


def test_cannot_check_migrations_without_a_database(scripts):
    message = contrib.migrations(Broken(dbapi_error(exc.OperationalError)), scripts)()
    assert message.id == health.INFO_CANT_CHECK_MIGRATIONS


def test_a_sync_engine_needs_no_greenlet():
    """SQLAlchemy 2.1 installs it for its asyncio part only."""
    code = (
        "import sys; sys.modules['greenlet'] = None\n"
        "from sqlalchemy import create_engine\n"
        "from dockerflow.checks import contrib\n"
        "assert contrib.database(create_engine('sqlite://'))() is None\n"
        "assert 'sqlalchemy.ext.asyncio' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
