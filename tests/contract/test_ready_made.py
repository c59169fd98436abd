"""Many heartbeats on real servers, in every framework, leave nothing behind."""

import asyncio
import gc
import os
import threading

import pytest

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
        after = left_behind(postgres, redis_server)
        # A thread or two more may have been needed once; what leaks is there for each heartbeat.
        for name, count in after.items():
            assert count <= before[name] + 4, (name, before, after)
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
            after = left_behind(postgres, redis_server)
        await engine.dispose()
        return before, after

    before, after = asyncio.run(main())
    for name, count in after.items():
        assert count <= before[name] + 2, (name, before, after)


def test_ten_checks_run_at_the_same_time(make_client):
    barrier = threading.Barrier(10)

    def check():
        barrier.wait()  # for the nine others

    client = make_client()
    for number in range(10):
        client.registry.register(lambda: check(), name=str(number))
    assert client.get("/__heartbeat__").status == 200
