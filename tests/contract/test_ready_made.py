"""Many heartbeats on real servers, in every framework, leave nothing behind."""

import dataclasses
import gc
import os
import threading
import time

import pytest
import services

from dockerflow.checks import contrib

HEARTBEATS = int(os.environ.get("DOCKERFLOW_TEST_HEARTBEATS", "20"))
"""How many; .ci/run asks for ten thousand."""


pytestmark = pytest.mark.usefixtures("quick_collections")


def left_behind(*servers):
    gc.collect()
    return {
        "files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        **{type(server).__name__: server.connections() for server in servers},
    }


def assert_no_more_than(before, more, *servers):
    """Servers may notice a little later that a connection was closed."""
    end = time.monotonic() + services.NOTICE
    while True:
        after = left_behind(*servers)
        if all(count <= before[name] + more for name, count in after.items()):
            return
        assert time.monotonic() < end, (before, after)
        time.sleep(0.05)


def many(client, count):
    for _ in range(count):
        response = client.get("/__heartbeat__")
        assert response.status == 200, response.body


@pytest.mark.timeout(900)
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts files by /proc")
def test_heartbeats_leave_nothing_behind(make_client, row, postgres, redis_server):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    redis = pytest.importorskip("redis")
    client = make_client()
    client.row = dataclasses.replace(row, needs_startup=True)  # one event loop, as on a server
    engine = sqlalchemy.create_engine(postgres.url())
    own = redis.Redis(host="127.0.0.1", port=redis_server.port)
    client.registry.register(contrib.redis(own))
    if "django" in row.name:
        from services.django_settings import add_database

        alias = add_database("postgres", postgres, CONN_MAX_AGE=None)
        client.registry.register(contrib.django_database(alias))
    else:
        client.registry.register(contrib.database(engine))
    try:
        many(client, 5)
        before = left_behind(postgres, redis_server)
        many(client, HEARTBEATS)
        # A thread or two more may have been needed once; what leaks is there for each heartbeat.
        assert_no_more_than(before, 4, postgres, redis_server)
    finally:
        engine.dispose()
        own.close()


@pytest.mark.timeout(900)
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts files by /proc")
def test_heartbeats_of_async_clients_leave_nothing_behind(make_asgi_client, postgres, redis_server):
    pytest.importorskip("asyncpg")
    from redis.asyncio import Redis
    from sqlalchemy.ext.asyncio import create_async_engine

    client = make_asgi_client()
    client.row = dataclasses.replace(client.row, needs_startup=True)
    engine = create_async_engine(postgres.url("postgresql+asyncpg"))
    own = Redis(host="127.0.0.1", port=redis_server.port)
    app = client.app

    async def app_that_closes(scope, receive, send):
        """Their loop is the server's."""
        if scope.get("path") == "/close":
            await own.aclose()
            await engine.dispose()
        await app(scope, receive, send)

    client = dataclasses.replace(client, _app=app_that_closes)
    client.registry.register(contrib.redis(own))
    client.registry.register(contrib.database(engine))
    many(client, 5)
    before = left_behind(postgres, redis_server)
    many(client, HEARTBEATS)
    assert_no_more_than(before, 2, postgres, redis_server)
    client.get("/close")


def test_ten_checks_run_at_the_same_time(make_client):
    barrier = threading.Barrier(10)

    def check():
        barrier.wait()  # for the nine others

    client = make_client()
    for number in range(10):
        client.registry.register(lambda: check(), name=str(number))
    assert client.get("/__heartbeat__").status == 200
