"""Empties the broker's queues before a recovery.

The broker has only copies of rows. A copy of a row that a database has lost would start a step that
the rebuilt rows may start again, so that two results of it exist.
"""

from typing import Any

from celery import current_app

from sagas.storage.registry import service_names

__all__ = ["empty_queues"]


def empty_queues() -> int:
    """Delete all waiting and unacknowledged messages; return the number of waiting ones.

    Raises while the broker is down.
    """
    with current_app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        waiting = sum(channel.queue_purge(name) for name in service_names())
        channel.client.delete(
            channel.unacked_key, channel.unacked_index_key, channel.unacked_mutex_key
        )
    return int(waiting)
