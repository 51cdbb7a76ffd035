"""A connection closes all of its sockets, also where the broker refuses writes. A late
acknowledgement opens no new ones.
"""

from contextlib import contextmanager
from typing import Any

import psutil
import pytest
import redis
from celery import current_app
from kombu import Consumer, Queue
from redis.exceptions import ConnectionError as BrokerAway

from tests.plugin import running

# Connections that are lost one after the other.
ROUNDS = 10


def sockets() -> int:
    """Return the number of open sockets of this process."""
    return len(psutil.Process().net_connections("all"))


@contextmanager
def refusing_writes(client: redis.Redis):
    """Make the broker refuse writes, because it has no replica."""
    client.config_set("min-replicas-to-write", 1)
    try:
        yield
    finally:
        client.config_set("min-replicas-to-write", 0)


@pytest.fixture
def client():
    with redis.Redis.from_url(running().valkey.url, socket_timeout=5) as client:
        client.ping()
        yield client
        client.delete("places")


def connected() -> tuple[Any, Any]:
    """Return a connection with an unacknowledged message, and that message."""
    connection = current_app.connection_for_read()
    queue = Queue("places", channel=connection.default_channel)
    queue.declare()
    connection.Producer().publish("a message", routing_key="places", declare=[queue])
    return connection, queue.get()


@pytest.mark.parametrize("is_reading", [False, True])
def test_closed_connections_keep_no_socket_while_the_broker_refuses_writes(client, is_reading):
    before = sockets()
    lost = [connected() for _ in range(ROUNDS)]
    assert sockets() >= before + ROUNDS

    with refusing_writes(client):
        for connection, _message in lost:
            channel = connection.default_channel
            if is_reading:
                Consumer(channel, [Queue("places")], callbacks=[print]).consume()
                channel.connection.cycle._register_BRPOP(channel)
            connection.close()
            assert channel.closed
        assert sockets() <= before


def test_a_late_acknowledgement_on_a_closed_channel_opens_no_connection():
    before = sockets()
    late = [connected() for _ in range(ROUNDS)]
    for connection, _message in late:
        connection.close()
    assert sockets() <= before

    for _connection, message in late:
        with pytest.raises(BrokerAway, match="was closed"):
            message.ack()
    assert sockets() <= before
