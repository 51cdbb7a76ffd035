"""Celery's transport to Redis, made robust against malformed messages and against broker outages.

Kombu expects that every item of a Redis list is an envelope of its own. An item that is not one
stops the worker's main process. An envelope without a part that Celery needs stops the worker
too. Kombu then restores it, so it stops the next worker as well. This transport logs and drops such
items.
"""

import logging
from typing import Any

from kombu.exceptions import OperationalError
from kombu.transport import redis as kombu_redis
from redis.exceptions import DataError, RedisError

__all__ = ["Transport"]

logger = logging.getLogger(__name__)

# The log shows this many characters of a dropped item.
MOST_CHARACTERS_SHOWN = 1_000


class QoS(kombu_redis.QoS):
    """Kombu's record of the messages that are not acknowledged yet."""

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge a message. If the broker is down, free the message's local slot and raise.

        Celery logs the error and continues. A worker without a free slot sends no command to the
        broker, so it would never notice that the connection is lost. A broker that still has the
        message delivers it again.
        """
        try:
            super().ack(delivery_tag)
        except Exception:
            super(kombu_redis.QoS, self).ack(delivery_tag)  # frees the local slot only
            raise

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Return a message to its queue. Drop a malformed one, which would stop every worker."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except (TypeError, ValueError) as error:
            logger.critical(
                "Dropped the unacknowledged message %r, because it is malformed: %r", tag, error
            )
            self.ack(tag)


class Channel(kombu_redis.Channel):
    """A channel that returns no malformed message to the broker."""

    QoS = QoS

    def basic_consume(
        self, queue: Any, no_ack: Any, callback: Any, consumer_tag: Any, **kwargs: Any
    ) -> Any:
        """Consume from a queue. If the consumer raises, acknowledge the message and re-raise."""

        def consume(message: Any) -> Any:
            try:
                return callback(message)
            except Exception as error:
                if not _is_broker_error(error) and not message.acknowledged:
                    message.ack()
                raise

        return super().basic_consume(queue, no_ack, consume, consumer_tag, **kwargs)

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # kombu is typed in part
        except ValueError as error:
            logger.critical(
                "Dropped an item that is not JSON from a queue: %s: %.*r",
                error,
                MOST_CHARACTERS_SHOWN,
                getattr(error, "doc", ""),
            )
            return True


class Transport(kombu_redis.Transport):
    """Kombu's transport to Redis, which drops malformed messages."""

    Channel = Channel

    def _deliver(self, message: Any, queue: Any) -> None:
        try:
            super()._deliver(message, queue)
        except Exception as error:
            if _is_broker_error(error):
                raise
            logger.critical(
                "Dropped an item that is not a task from queue %s: %r: %.*r",
                queue,
                error,
                MOST_CHARACTERS_SHOWN,
                message,
            )


def _is_broker_error(error: Exception) -> bool:
    """Tell whether the broker caused an error, so that the worker must reconnect.

    Kombu lists KeyError as one, but a message without an id raises KeyError too.
    """
    if isinstance(error, (KeyError, DataError)):
        return False
    broker_errors = (
        OSError,
        RedisError,
        OperationalError,
        *kombu_redis.Transport.connection_errors,
    )
    return isinstance(error, broker_errors)
