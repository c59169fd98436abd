"""What happens in production to a server that a check asks, and what the heartbeat then says.

docs/fault-matrix.md is what these tests saw; `make fault-matrix` writes it again.
"""

import asyncio
import contextlib
import functools
import json
import os
import re
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("redis")

import services

from dockerflow import health
from dockerflow.asgi import DockerflowMiddleware
from dockerflow.checks import Registry, contrib
from dockerflow.config import Config

PAGE = Path(__file__).parents[2] / "docs" / "fault-matrix.md"
WRITE = "DOCKERFLOW_WRITE_FAULT_MATRIX"
REMEDY = "run: make fault-matrix"
TIMEOUT = 0.6  # seconds, for servers that never answer
OWN_TIMEOUT = 1.0  # of clients that have one
NAMES = {
    value: name for name, value in vars(health).items() if name.isupper() and isinstance(value, str)
}


@contextlib.contextmanager
def stopped(server):
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextlib.contextmanager
def killed(server):
    server.kill()
    try:
        yield
    finally:
        server.start()


@contextlib.contextmanager
def paused(server):
    server.pause()
    try:
        yield
    finally:
        server.resume()


@contextlib.contextmanager
def restarted(server):
    server.restart()
    yield


# The last three are each server's own: methods of its class in tests/services/.
FAULTS = {
    "healthy": lambda _: contextlib.nullcontext(),
    "restarted": restarted,
    "stopped": stopped,
    "killed": killed,
    "paused": paused,
    "out of connections": lambda server: server.out_of_connections(),
    "wrong password": lambda server: server.wrong_password(),
    "read-only": lambda server: server.read_only(),
}


@contextlib.asynccontextmanager
async def sqlalchemy_sync(server):
    import sqlalchemy

    engine = sqlalchemy.create_engine(server.url())
    try:
        yield contrib.database(engine)
    finally:
        engine.dispose()


def sqlalchemy_async(driver):
    @contextlib.asynccontextmanager
    async def make(server):
        from sqlalchemy.ext.asyncio import create_async_engine

        engine = create_async_engine(server.url(driver))
        try:
            yield contrib.database(engine)
        finally:
            await engine.dispose()

    return make


@contextlib.asynccontextmanager
async def django_database(server):
    from services.django_settings import add_database

    yield contrib.django_database(add_database("postgres", server))


def once():
    """No retries, as those of newer redis-py take up to 5 s and the older have none."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return Retry(NoBackoff(), 0)


def once_async():
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Retry(NoBackoff(), 0)


@contextlib.asynccontextmanager
async def redis_sync(server):
    import redis

    with redis.Redis(host="127.0.0.1", port=server.port, retry=once()) as client:
        yield contrib.redis(client)


@contextlib.asynccontextmanager
async def redis_async(server):
    import redis.asyncio

    options = {"host": "127.0.0.1", "port": server.port, "retry": once_async()}
    async with redis.asyncio.Redis(**options) as client:
        yield contrib.redis(client)


@contextlib.asynccontextmanager
async def cluster_sync(server):
    import redis

    client = redis.RedisCluster(host="127.0.0.1", port=server.port, retry=once())
    try:
        yield contrib.redis(client)
    finally:
        client.close()


@contextlib.asynccontextmanager
async def cluster_async(server):
    import redis.asyncio

    client = redis.asyncio.RedisCluster(host="127.0.0.1", port=server.port, retry=once_async())
    try:
        yield contrib.redis(client)
    finally:
        await client.aclose()


@contextlib.asynccontextmanager
async def psycopg_sync(server):
    from psycopg_pool import ConnectionPool

    with ConnectionPool(server.conninfo(), min_size=1, timeout=OWN_TIMEOUT) as pool:
        pool.wait()
        yield contrib.database_pool(pool)


@contextlib.asynccontextmanager
async def psycopg_async(server):
    from psycopg_pool import AsyncConnectionPool

    options = {"min_size": 1, "timeout": OWN_TIMEOUT, "open": False}
    async with AsyncConnectionPool(server.conninfo(), **options) as pool:
        await pool.wait()
        yield contrib.database_pool(pool)


@contextlib.asynccontextmanager
async def asyncpg_pool(server):
    import asyncpg

    async with asyncpg.create_pool(server.conninfo(), min_size=1) as pool:
        yield contrib.database_pool(pool)


@contextlib.asynccontextmanager
async def pymysql(server):
    import pymysql

    yield contrib.dbapi(functools.partial(pymysql.connect, **server.account()))


@contextlib.asynccontextmanager
async def aiomysql_pool(server):
    import aiomysql

    pool = await aiomysql.create_pool(**server.account(), minsize=1)
    try:
        yield contrib.database_pool(pool)
    finally:
        pool.close()
        await pool.wait_closed()


@contextlib.asynccontextmanager
async def pika(server):
    import pika

    yield contrib.rabbitmq(pika.URLParameters(server.url() + "?socket_timeout=2&stack_timeout=4"))


@contextlib.asynccontextmanager
async def aio_pika(server):
    import aio_pika

    url = server.url() + "?reconnect_interval=0.1"
    async with await aio_pika.connect_robust(url) as connection:
        yield contrib.rabbitmq(connection)


@contextlib.asynccontextmanager
async def pymemcache(server):
    from pymemcache import PooledClient

    client = PooledClient(("127.0.0.1", server.port), connect_timeout=2, timeout=2)
    try:
        yield contrib.memcached(client)
    finally:
        client.close()


@contextlib.asynccontextmanager
async def smtp(server):
    yield contrib.smtp(
        "127.0.0.1", server.port, user="app", password=server.password, timeout=OWN_TIMEOUT
    )


@contextlib.asynccontextmanager
async def django_mail(server):
    from services.django_settings import mail_settings

    with mail_settings(server, timeout=OWN_TIMEOUT):
        yield contrib.django_mail()


@contextlib.asynccontextmanager
async def dns(server):
    yield contrib.dns("app.test", resolver=server.resolver(), timeout=OWN_TIMEOUT)


CHECKS = {
    "`database`, psycopg": ("postgres", sqlalchemy_sync),
    "`database`, psycopg async": ("postgres", sqlalchemy_async("postgresql+psycopg")),
    "`database`, asyncpg": ("postgres", sqlalchemy_async("postgresql+asyncpg")),
    "`django_database`, psycopg": ("postgres", django_database),
    "`redis`": ("redis_server", redis_sync),
    "`redis`, asyncio": ("redis_server", redis_async),
    "`redis`, cluster": ("redis_cluster", cluster_sync),
    "`redis`, asyncio cluster": ("redis_cluster", cluster_async),
    "`database_pool`, psycopg": ("postgres", psycopg_sync),
    "`database_pool`, psycopg async": ("postgres", psycopg_async),
    "`database_pool`, asyncpg": ("postgres", asyncpg_pool),
    "`database_pool`, aiomysql": ("mariadb", aiomysql_pool),
    "`dbapi`, PyMySQL": ("mariadb", pymysql),
    "`rabbitmq`, pika": ("rabbitmq", pika),
    "`rabbitmq`, aio-pika": ("rabbitmq", aio_pika),
    "`memcached`": ("memcached", pymemcache),
    "`smtp`": ("smtp_server", smtp),
    "`django_mail`": ("smtp_server", django_mail),
    "`dns`": ("dns_server", dns),
}
LEFT_OUT = {
    # A cluster's nodes have the same faults; these are about its client.
    "redis_cluster": {"killed", "out of connections", "wrong password", "read-only"},
    # A start of Erlang takes seconds, and to its clients a server that was killed is stopped.
    "rabbitmq": {"killed", "read-only"},
    "memcached": {"killed", "wrong password", "read-only"},
    "smtp_server": {"killed", "read-only"},
    "dns_server": {"killed", "out of connections", "wrong password", "read-only"},
}
ROWS = [
    (check, fault)
    for check, (server, _) in CHECKS.items()
    for fault in FAULTS
    if fault not in LEFT_OUT.get(server, ())
    # It depends on how soon the connection is made again.
    and (check, fault) != ("`rabbitmq`, aio-pika", "restarted")
]
# These give up by themselves.
TIMED = {"`smtp`", "`django_mail`", "`dns`"}
# Their connections are made again in the background, some time after the server is back.
RECONNECTING = {
    "`database_pool`, psycopg", "`database_pool`, psycopg async", "`rabbitmq`, aio-pika",
}  # fmt: skip


async def heartbeat(app):
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "path": "/__heartbeat__", "query_string": b"",
        "headers": [], "client": ("192.0.2.1", 1), "root_path": "",
    }  # fmt: skip
    started = time.monotonic()
    await app(scope, receive, send)
    seconds = time.monotonic() - started
    payload = json.loads(sent[1]["body"])
    messages = [m for detail in payload["details"].values() for m in detail["messages"]]
    return sent[0]["status"], messages, seconds, sent[1]["body"].decode()


def time_class(messages, seconds):
    if health.ERROR_CHECK_TIMED_OUT in messages:
        return "the check's time limit"
    return "under 1 s" if seconds < 1 else "under 5 s"


async def observe(server, check, fault):
    """Return what the heartbeat says under this fault: status, ids and kind of time."""
    _, make = CHECKS[check]
    async with make(server) as function:
        registry = Registry()
        is_short = fault == "paused" and check not in TIMED
        registry.register(function, name="it", timeout=TIMEOUT if is_short else 10)
        app = DockerflowMiddleware(None, config=Config(heartbeat_timeout=20), registry=registry)
        end = time.monotonic() + services.PATIENCE
        while True:  # to connect may take longer than the time limit, on a busy machine
            status, _, _, body = await heartbeat(app)
            if status == 200 or time.monotonic() > end:
                break
        assert status == 200, body
        with FAULTS[fault](server):
            # The event loop learns that connections were closed; until then asyncpg raises an
            # error that SQLAlchemy 2.0.30 doesn't take for that.
            await asyncio.sleep(0.05)
            status, messages, seconds, body = await heartbeat(app)
            for secret in ("127.0.0.1", str(server.port), "password", "p@ss", "Errno", "refused"):
                assert secret not in body
        end = time.monotonic() + services.PATIENCE
        while (again := await heartbeat(app))[0] != 200:
            # Only what hung needs a moment, until the hung one is over.
            assert fault == "paused" or check in RECONNECTING, again
            assert time.monotonic() < end, again
            await asyncio.sleep(0.1)
    return status, messages, time_class(messages, seconds)


def make_row(check, fault, status, messages, kind):
    ids = ", ".join(f"`{id_}`" for id_ in messages) or "none"
    return f"| {check} | {fault} | {status} | {ids} | {kind} |"


@pytest.fixture(scope="module")
def rows():
    """The rows of the page; with the variable set, they are written from what was seen."""
    written = {}
    yield written
    if os.environ.get(WRITE):
        lines = [written.get(row) or known_row(*row) for row in ROWS]
        before, begin, _ = PAGE.read_text(encoding="utf-8").partition("|---|---|---|---|---|\n")
        PAGE.write_text(before + begin + "\n".join(filter(None, lines)) + "\n", encoding="utf-8")


def known_row(check, fault):
    start = f"| {check} | {fault} |"
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return next((line for line in lines if line.startswith(start)), None)


@pytest.mark.parametrize(
    ("check", "fault"), ROWS, ids=[f"{c}-{f}".replace("`", "") for c, f in ROWS]
)
def test_fault(request, rows, check, fault):
    if check == "`redis`, asyncio cluster" and fault in {"restarted", "stopped"}:
        redis = pytest.importorskip("redis")
        if redis.VERSION < (7, 2):
            pytest.skip("this client never finds its nodes again")
    server = request.getfixturevalue(CHECKS[check][0])
    status, messages, kind = asyncio.run(observe(server, check, fault))
    if fault in {"healthy", "restarted", "read-only"}:
        assert (status, messages) == (200, [])
    else:
        assert status == 500
        assert len(messages) == 1
    row = rows[check, fault] = make_row(check, fault, status, messages, kind)
    if not os.environ.get(WRITE):
        # The time depends on the machine; status and ids don't.
        known = known_row(check, fault)
        assert known is not None, REMEDY
        assert known.split(" | ")[:4] == row.split(" | ")[:4], REMEDY


def test_page_has_no_other_rows():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    found = [tuple(line[2:].split(" | ")[:2]) for line in lines if re.match(r"\| `", line)]
    assert found == ROWS, REMEDY


@pytest.mark.parametrize("check", ["`database`, psycopg", "`django_database`, psycopg", "`redis`"])
def test_paused_server_holds_one_thread(request, check):
    server = request.getfixturevalue(CHECKS[check][0])

    def threads():
        return {thread for thread in threading.enumerate() if thread.name == "dockerflow-check"}

    async def main():
        async with CHECKS[check][1](server) as function:
            runs = []

            def counted():
                runs.append(threading.current_thread())
                return function()

            registry = Registry()
            registry.register(counted, name="it", timeout=0.5)
            app = DockerflowMiddleware(None, config=Config(), registry=registry)
            await until_well(app)
            before = threads()
            runs.clear()
            server.pause()
            for _ in range(3):
                status, messages, _, _ = await heartbeat(app)
                assert (status, list(messages)) == (500, [health.ERROR_CHECK_TIMED_OUT])
            assert len(runs) == 1
            assert threads() - before == set(runs)
            server.resume()
            await until_well(app)

    async def until_well(app):
        end = time.monotonic() + services.PATIENCE
        while (await heartbeat(app))[0] != 200:
            assert time.monotonic() < end
            await asyncio.sleep(0.05)

    asyncio.run(main())
