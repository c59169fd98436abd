"""RabbitMQ: pika's parameters, and connections of aio-pika."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, overload

from dockerflow import health
from dockerflow.checks.contrib._common import AsyncCheck, Check, fail, load, named
from dockerflow.checks.messages import CheckMessage

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection
    from pika.connection import Parameters


@overload
def rabbitmq(connection: AbstractConnection) -> AsyncCheck: ...
@overload
def rabbitmq(connection: Parameters) -> Check: ...
def rabbitmq(connection: Any) -> Check | AsyncCheck:
    """Make a check that the app can log in to RabbitMQ, or that its open connection works.

    :param connection: pika's ``ConnectionParameters`` or ``URLParameters``: the check makes a
        connection with them and closes it, since connections of pika belong to one thread. Or an
        open connection of aio-pika: then the check is a coroutine function, opens and closes a
        channel, and has to run on the event loop that the app uses the connection on.
    :returns: the check, to be registered. It gives ``dockerflow.health.E037`` when it can't
        connect or log in, or when the connection is lost, and ``E038`` when there was no response
        in the time that the parameters allow.
    :raises TypeError: when ``connection`` is neither.

    .. versionadded:: 0.1.0
    """
    # Imported by all who have such an object.
    if (aio_pika := sys.modules.get("aio_pika.abc")) and isinstance(
        connection, aio_pika.AbstractConnection
    ):
        return functools.partial(_rabbitmq_async, connection)
    if (pika := sys.modules.get("pika.connection")) and isinstance(connection, pika.Parameters):
        return functools.partial(_rabbitmq, connection)
    message = (
        "connection must be ConnectionParameters or URLParameters of pika, or a connection of "
        f"aio_pika, not {type(connection).__name__}"  # a URL may have a password in it
    )
    raise TypeError(message)


_CANNOT_CONNECT = ("Could not connect to RabbitMQ.", health.ERROR_CANNOT_CONNECT_RABBITMQ)


@named("rabbitmq")
def _rabbitmq(parameters: Any) -> CheckMessage | None:
    pika = load("pika", "rabbitmq")
    workflow = load("pika.adapters.utils.connection_workflow", "rabbitmq")
    try:
        pika.BlockingConnection(parameters).close()
    except (pika.exceptions.AMQPError, workflow.AMQPConnectorException, OSError) as error:
        cause = getattr(error.args[0], "exception", error) if error.args else error
        if isinstance(cause, workflow.AMQPConnectorStackTimeout | TimeoutError):
            text, id_ = "RabbitMQ did not respond in time.", health.ERROR_RABBITMQ_TIMED_OUT
        else:
            text, id_ = _CANNOT_CONNECT
        password = getattr(parameters.credentials, "password", None)
        return fail(text, id_, error, secrets=(password,))
    return None


@named("rabbitmq")
async def _rabbitmq_async(connection: Any) -> CheckMessage | None:
    errors = load("aio_pika.exceptions", "aio-pika").CONNECTION_EXCEPTIONS
    # A channel of a connection that is lost would wait until it is made again.
    if connection.is_closed or not connection.connected.is_set():
        return fail(*_CANNOT_CONNECT, detail="the connection is lost")
    try:
        async with connection.channel(publisher_confirms=False):
            return None
    except errors as error:
        return fail(*_CANNOT_CONNECT, error)
