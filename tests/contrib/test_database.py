import asyncio
import inspect

import pytest

pytest.importorskip("sqlalchemy")

import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from dockerflow import health
from dockerflow.checks import contrib


def run(check):
    if inspect.iscoroutinefunction(check):
        return asyncio.run(check())
    return check()


def test_sqlite():
    assert contrib.database(sqlalchemy.create_engine("sqlite://"))() is None


@pytest.mark.parametrize("driver", ["postgresql+psycopg"])
def test_restart_is_no_failure(postgres, driver):
    engine = sqlalchemy.create_engine(postgres.url(driver))
    check = contrib.database(engine)
    assert check() is None
    postgres.restart()
    assert check() is None
    postgres.stop()
    assert check().id == health.ERROR_CANNOT_CONNECT_DATABASE
    postgres.start()
    assert check() is None
    postgres.kill()
    assert check().id == health.ERROR_CANNOT_CONNECT_DATABASE
    postgres.start()
    assert check() is None
    with postgres.full():
        assert check() is None
        engine.dispose()
        assert check().id == health.ERROR_CANNOT_CONNECT_DATABASE


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "postgresql+asyncpg"])
def test_restart_is_no_failure_async(postgres, driver):
    engine = create_async_engine(postgres.url(driver))
    check = contrib.database(engine)

    async def main():
        assert await check() is None
        postgres.restart()
        assert await check() is None
        postgres.stop()
        assert (await check()).id == health.ERROR_CANNOT_CONNECT_DATABASE
        postgres.start()
        assert await check() is None
        postgres.kill()
        assert (await check()).id == health.ERROR_CANNOT_CONNECT_DATABASE
        postgres.start()
        assert await check() is None
        with postgres.full():
            assert await check() is None
            await engine.dispose()
            assert (await check()).id == health.ERROR_CANNOT_CONNECT_DATABASE
        await engine.dispose()

    asyncio.run(main())
