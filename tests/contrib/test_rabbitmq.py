import asyncio
import contextlib
import socket
import time

import pytest

pytest.importorskip("pika")
pytest.importorskip("aio_pika")

import aio_pika
import pika
import services

from dockerflow import health
from dockerflow.checks import contrib


@pytest.mark.parametrize("connection", ["amqp://app:secret@db/", None, object()])
def test_what_is_no_connection(connection):
    with pytest.raises(TypeError, match="connection must be") as caught:
        contrib.rabbitmq(connection)
    assert "secret" not in str(caught.value)


def test_no_connection_is_left_open(rabbitmq):
    check = contrib.rabbitmq(pika.URLParameters(rabbitmq.url()))
    assert [check(), check()] == [None, None]
    services.wait_for(lambda: rabbitmq.connections() == 0, "end of the connections")


def test_the_client_ends_its_waiting(rabbitmq):
    parameters = pika.URLParameters(rabbitmq.url())
    parameters.socket_timeout = parameters.stack_timeout = 0.2
    rabbitmq.pause()
    message = contrib.rabbitmq(parameters)()
    assert message.id == health.ERROR_RABBITMQ_TIMED_OUT
    assert "127.0.0.1" not in message.msg


def test_a_host_that_does_not_respond():
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):  # they fill its queue
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        parameters = pika.ConnectionParameters(*server.getsockname(), socket_timeout=0.2)
        assert contrib.rabbitmq(parameters)().id == health.ERROR_RABBITMQ_TIMED_OUT


def test_passwords_are_not_logged():
    url = f"amqp://app:word-of-app@127.0.0.1:{services.free_port()}/"
    message = contrib.rabbitmq(pika.URLParameters(url))()
    assert message.id == health.ERROR_CANNOT_CONNECT_RABBITMQ
    assert "word-of-app" not in f"{message.log_detail} {message.log_error}"


def test_a_lost_connection_fails_until_it_is_made_again(rabbitmq):
    async def main():
        async with await aio_pika.connect_robust(
            rabbitmq.url(), reconnect_interval=0.05
        ) as connection:
            check = contrib.rabbitmq(connection)
            assert await check() is None
            rabbitmq.stop()
            await asyncio.sleep(0.1)
            lost = await check()
            assert lost.id == health.ERROR_CANNOT_CONNECT_RABBITMQ
            rabbitmq.start()
            end = time.monotonic() + services.PATIENCE
            while await check() is not None:
                assert time.monotonic() < end
                await asyncio.sleep(0.05)
        closed = await check()
        assert closed.id == health.ERROR_CANNOT_CONNECT_RABBITMQ

    asyncio.run(main())


def test_a_channel_that_cannot_be_opened(rabbitmq):
    """The broker allows the connection no channel more than the app's own."""

    async def main():
        async with await aio_pika.connect(rabbitmq.url()) as connection:
            rabbitmq.order("rabbit_auth_backend_internal:set_user_limits" + LIMITS % 1)
            try:
                async with connection.channel():
                    return await contrib.rabbitmq(connection)()
            finally:
                rabbitmq.order("rabbit_auth_backend_internal:set_user_limits" + LIMITS % -1)

    assert asyncio.run(main()).id == health.ERROR_CANNOT_CONNECT_RABBITMQ


LIMITS = '(<<"app">>, #{<<"max-channels">> => %d}, <<"tests">>)'
