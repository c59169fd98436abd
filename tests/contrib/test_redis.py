import asyncio
import shutil
import sys
import types

import pytest

pytest.importorskip("redis")

import redis
import services

from dockerflow import health
from dockerflow.checks import Registry, contrib
from dockerflow.checks._process import background_loop


class Stub:
    """For what a real Redis can't be made to say."""

    def __init__(self, answer=True):
        self.answer = answer

    def ping(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class AsyncStub(Stub):
    async def ping(self):
        return super().ping()


ANSWERS = [
    (True, None),
    (False, "E007"),
    (redis.ConnectionError("secret.example.org"), "E004"),
    (redis.AuthenticationError("secret"), "E004"),
    (redis.exceptions.RedisClusterException("secret"), "E004"),
    (redis.TimeoutError("secret"), "E010"),
    (redis.ResponseError("MISCONF secret"), "E010"),
    (redis.exceptions.ClusterDownError("CLUSTERDOWN"), "E012"),
]


@pytest.mark.parametrize(("answer", "id_"), ANSWERS)
def test_ids(answer, id_):
    for message in (contrib.redis(Stub(answer))(), asyncio.run(contrib.redis(AsyncStub(answer))())):
        assert (message and message.id) == (id_ and f"dockerflow.health.{id_}")
        assert "secret" not in (message.msg if message else "")


def test_no_client():
    assert contrib.redis(None)().id == health.ERROR_MISSING_REDIS_CLIENT


def test_the_other_module_may_be_half_imported(monkeypatch):
    check = contrib.redis(Stub())
    monkeypatch.setitem(sys.modules, "redis.asyncio", types.ModuleType("redis.asyncio"))
    assert check() is None


def test_what_is_no_error_of_redis_is_raised():
    with pytest.raises(ZeroDivisionError):
        contrib.redis(Stub(ZeroDivisionError()))()


def test_disk_that_cannot_be_written(redis_server):
    """Redis refuses a ping, as it refuses to write, once it can't save."""
    redis_server.call("config", "set", "save", "1 1")
    redis_server.call("set", "a", "b")
    redis_server.data.rename(redis_server.folder / "gone")
    shutil.rmtree(redis_server.folder / "gone")

    def save():
        try:
            return redis_server.call("bgsave")
        except redis.ResponseError:  # one is under way, begun before the folder was gone or after
            return None

    try:
        with redis_server.client() as client:
            check = contrib.redis(client)
            services.wait_for(save, "a save that begins")
            message = services.wait_for(check, "the failed save")
        assert message.id == health.ERROR_REDIS_EXCEPTION
    finally:
        redis_server.kill()


def test_cluster_without_all_of_its_slots(redis_cluster):
    client = redis.RedisCluster(host="127.0.0.1", port=redis_cluster.port)
    check = contrib.redis(client)
    assert check() is None
    redis_cluster.call("cluster", "delslots", 1)
    try:
        message = services.wait_for(check, "the cluster's failure")
        assert message.id == health.ERROR_REDIS_CLUSTER_DOWN
    finally:
        redis_cluster.call("cluster", "addslots", 1)
        client.close()
        services.wait_for(
            lambda: "cluster_state:ok" in redis_cluster.call("cluster", "info"), "the cluster"
        )


def test_async_client_that_only_the_check_uses(redis_server):
    """Without an event loop of the app's, the check runs on one that the library keeps."""
    import redis.asyncio

    client = redis.asyncio.Redis(host="127.0.0.1", port=redis_server.port)
    registry = Registry()
    registry.register(contrib.redis(client))
    for _ in range(5):
        assert registry.run().statuses == {"redis": "ok"}
    services.wait_for(
        lambda: redis_server.connections() == 1, "one connection only", services.NOTICE
    )
    asyncio.run_coroutine_threadsafe(client.aclose(), background_loop.get()).result(10)


def test_async_client_of_another_loop(redis_server, caplog):
    """Its pooled connection belongs to the app's loop: that is said, and logged."""
    import redis.asyncio

    async def use(client):
        await client.ping()

    client = redis.asyncio.Redis(host="127.0.0.1", port=redis_server.port)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use(client))
    registry = Registry()
    registry.register(contrib.redis(client))
    assert registry.run().statuses == {"redis": "error"}
    assert "attached to a different loop" in caplog.text
    loop.run_until_complete(client.aclose())
    loop.close()


def test_a_wrapper_of_an_async_client_is_not_healthy():
    class Wrapper:
        def ping(self):
            return self.reply()

        async def reply(self):
            return True

    with pytest.raises(TypeError, match="client is asynchronous"):
        contrib.redis(Wrapper())()
