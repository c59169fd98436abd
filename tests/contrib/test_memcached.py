import pytest

pytest.importorskip("pymemcache")

import services
from pymemcache import Client, HashClient, PooledClient
from pymemcache.client.retrying import RetryingClient

from dockerflow import health
from dockerflow.checks import contrib


def address(server):
    return ("127.0.0.1", server.port)


@pytest.mark.parametrize(
    "make",
    [
        Client,
        PooledClient,
        lambda server: RetryingClient(Client(server)),
        lambda server: HashClient([server]),
        lambda server: HashClient([server], use_pooling=True),
    ],
    ids=["Client", "PooledClient", "RetryingClient", "HashClient", "pooling"],
)
def test_every_client(memcached, make):
    client = make(address(memcached))
    check = contrib.memcached(client)
    assert check() is None
    memcached.restart()
    assert check() is None
    client.close()


@pytest.mark.parametrize("ignore", [False, True])
def test_one_of_several_servers_is_down(memcached, ignore):
    servers = [address(memcached), ("127.0.0.1", services.free_port())]
    client = HashClient(servers, use_pooling=True, ignore_exc=ignore)
    message = contrib.memcached(client)()
    client.close()
    assert message.id == health.ERROR_CANNOT_CONNECT_MEMCACHED
    assert "127.0.0.1" not in message.msg


def test_the_client_ends_its_waiting(memcached):
    client = PooledClient(address(memcached), timeout=0.1, connect_timeout=0.1)
    memcached.pause()
    assert contrib.memcached(client)().id == health.ERROR_MEMCACHED_EXCEPTION
    client.close()


def test_what_is_no_client():
    with pytest.raises(TypeError, match="client must be"):
        contrib.memcached("127.0.0.1:11211")
