"""The transport frees a worker's slot even if the broker is down during an acknowledgement."""

from typing import Any

import pytest
from celery import current_app
from kombu import Queue
from redis.exceptions import ConnectionError as BrokerAway


def test_a_slot_is_freed_even_if_the_broker_missed_the_acknowledgement(
    broker,
):
    with current_app.connection_for_write() as connection:
        queue = Queue("places", channel=connection.default_channel)
        queue.declare()
        connection.Producer().publish("a message", routing_key="places", declare=[queue])
        channel: Any = connection.default_channel
        channel.basic_qos(0, 1, False)
        message: Any = queue.get()
        assert not channel.qos.can_consume()
        broker.kill()
        with pytest.raises(BrokerAway):
            message.ack()
        assert channel.qos.can_consume()
        broker.start()
