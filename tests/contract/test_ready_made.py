"""Many heartbeats on real servers, in every framework, leave nothing behind."""

import asyncio
import gc
import os
import threading
import time

import pytest
import services

from dockerflow.checks import contrib

HEARTBEATS = int(os.environ.get("DOCKERFLOW_TEST_HEARTBEATS", "100"))
"""How many; .ci/run asks for ten thousand."""


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


def many(client, registry, count):
    """Send heartbeats as a server would, on one event loop under ASGI."""

    async def main():
        async with client.started():
            for _ in range(count):
                check(await client._asgi("GET", "/__heartbeat__", {}, ""))

    def check(response):
        assert response.status == 200, response.body

    if client.row.is_asgi:
        asyncio.run(main())
    else:
        for _ in range(count):
            check(client._wsgi("GET", "/__heartbeat__", {}, ""))


@pytest.mark.timeout(900)
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts files by /proc")
def test_heartbeats_leave_nothing_behind(make_client, row, postgres, redis_server):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    redis = pytest.importorskip("redis")
    client = make_client()
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
        many(client, client.registry, 10)
        before = left_behind(postgres, redis_server)
        many(client, client.registry, HEARTBEATS)
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

    async def main():
        engine = create_async_engine(postgres.url("postgresql+asyncpg"))
        async with Redis(host="127.0.0.1", port=redis_server.port) as own, client.started():
            client.registry.register(contrib.redis(own))
            client.registry.register(contrib.database(engine))

            async def many(count):
                for _ in range(count):
                    response = await client._asgi("GET", "/__heartbeat__", {}, "")
                    assert response.status == 200, response.body

            await many(10)
            before = left_behind(postgres, redis_server)
            await many(HEARTBEATS)
            assert_no_more_than(before, 2, postgres, redis_server)
        await engine.dispose()

    asyncio.run(main())


def test_ten_checks_run_at_the_same_time(make_client):
    barrier = threading.Barrier(10)

    def check():
        barrier.wait()  # for the nine others

    client = make_client()
    for number in range(10):
        client.registry.register(lambda: check(), name=str(number))
    assert client.get("/__heartbeat__").status == 200
