"""Databases without SQLAlchemy."""

import asyncio
import functools
import sqlite3

import pytest

from dockerflow import health
from dockerflow.checks import contrib


class Connection:
    """What a driver's connection does when something goes wrong."""

    def __init__(self, fault):
        self.fault, self.closed = fault, False

    def cursor(self):
        return self

    def execute(self, statement):
        raise self.fault

    def close(self):
        self.closed = True
        raise self.fault


def test_a_connection_that_answers():
    assert contrib.dbapi(functools.partial(sqlite3.connect, ":memory:"))() is None


def test_cannot_connect(tmp_path):
    message = contrib.dbapi(lambda: sqlite3.connect(tmp_path / "none" / "file"))()
    assert message.id == health.ERROR_CANNOT_CONNECT_DATABASE
    assert "none" not in message.msg


def test_a_broken_connection_is_closed():
    connection = Connection(OSError("lost"))
    message = contrib.dbapi(lambda: connection)()
    assert message.id == health.ERROR_UNUSABLE_DATABASE
    assert connection.closed


@pytest.mark.parametrize(
    "given",
    [
        "postgresl://app:word-of-app@127.0.0.1/db",
        "postgresql://app:word-of-app @127.0.0.1/db",
        "host=127.0.0.1 password=word-of-app user",
        "host=127.0.0.1 password = 'word-of-app' user",
    ],
)
@pytest.mark.parametrize("is_keyword", [False, True])
def test_no_password_of_a_wrong_url_is_logged(given, is_keyword):
    def connect(dsn):
        raise ValueError(f"can't parse {dsn}")

    arguments, keywords = ([], {"dsn": given}) if is_keyword else ([given], {})
    message = contrib.dbapi(functools.partial(connect, *arguments, **keywords))()
    assert "can't parse" in message.log_detail
    assert "word-of-app" not in f"{message.log_detail} {message.log_error}"


@pytest.mark.parametrize("name", ["password", "passwd"])
def test_a_password_is_not_logged(name):
    def connect(**arguments):
        raise OSError(f"no login with {arguments}")

    message = contrib.dbapi(functools.partial(connect, **{name: "word-of-app"}))()
    assert "no login" in message.log_detail
    assert "word-of-app" not in f"{message.log_detail} {message.log_error}"


async def connect():
    raise NotImplementedError


@pytest.mark.parametrize("wrong", ["mysql://u:secret@db/x", connect, object()])
def test_what_is_no_function(wrong):
    with pytest.raises(TypeError, match="connect must be") as caught:
        contrib.dbapi(wrong)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("wrong", ["postgresql://u:secret@db/x", None, object()])
def test_what_is_no_pool(wrong):
    with pytest.raises(TypeError, match="pool must be") as caught:
        contrib.database_pool(wrong)
    assert "secret" not in str(caught.value)


def test_no_connection_is_left_open(mariadb):
    pymysql = pytest.importorskip("pymysql")
    check = contrib.dbapi(functools.partial(pymysql.connect, **mariadb.account()))
    assert [check(), check()] == [None, None]
    mariadb.execute("SELECT 1")
    assert mariadb.connections() == 0


def test_many_stale_connections_of_psycopg(postgres):
    psycopg_pool = pytest.importorskip("psycopg_pool")
    with psycopg_pool.ConnectionPool(postgres.conninfo(), min_size=4) as pool:
        pool.wait()
        postgres.restart()
        assert contrib.database_pool(pool)() is None


def test_many_stale_connections_of_psycopg_async(postgres):
    psycopg_pool = pytest.importorskip("psycopg_pool")

    async def main():
        conninfo = postgres.conninfo()
        async with psycopg_pool.AsyncConnectionPool(conninfo, min_size=4, open=False) as pool:
            await pool.wait()
            postgres.restart()
            return await contrib.database_pool(pool)()

    assert asyncio.run(main()) is None


def test_many_stale_connections_of_asyncpg(postgres):
    asyncpg = pytest.importorskip("asyncpg")

    async def main():
        async with asyncpg.create_pool(postgres.conninfo(), min_size=4) as pool:
            postgres.restart()
            return await contrib.database_pool(pool)()

    assert asyncio.run(main()) is None


def test_a_connection_of_the_pool_is_given_back(postgres):
    asyncpg = pytest.importorskip("asyncpg")

    async def main():
        async with asyncpg.create_pool(postgres.conninfo(), min_size=1, max_size=1) as pool:
            check = contrib.database_pool(pool)
            return [await check(), await check()]

    assert asyncio.run(main()) == [None, None]


def test_a_closed_pool(postgres):
    psycopg_pool = pytest.importorskip("psycopg_pool")
    with psycopg_pool.ConnectionPool(postgres.conninfo()) as pool:
        pass
    assert contrib.database_pool(pool)().id == health.ERROR_UNUSABLE_DATABASE
