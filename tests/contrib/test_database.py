import asyncio
import inspect

import pytest

pytest.importorskip("sqlalchemy")

import sqlalchemy

from dockerflow.checks import contrib


def run(check):
    if inspect.iscoroutinefunction(check):
        return asyncio.run(check())
    return check()


def test_sqlite():
    assert contrib.database(sqlalchemy.create_engine("sqlite://"))() is None
