"""Celery's transport to Redis, on which garbage costs one log line, and neither a worker nor a
loop; nor does a broker that goes away while all that a worker holds is being done.

Kombu takes whatever lies in a list for an envelope of its own making. What is none brings down the
worker's main process. What looks like one, and lacks a part that Celery reads without asking, is
restored as the worker stops or reconnects, taken again, and stops it again, for ever.
"""

import logging
from typing import Any

from kombu.exceptions import OperationalError
from kombu.transport import redis as kombu_redis
from redis.exceptions import DataError, RedisError

__all__ = ["Transport"]

logger = logging.getLogger(__name__)

# Of what is dropped, so many characters are logged.
SHOWN = 1_000


class QoS(kombu_redis.QoS):
    """The bookkeeping of what is not acknowledged yet."""

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge a message; where the broker is away, at least free the place that it takes
        here.

        Celery logs what is raised, and goes on. A worker all of whose places are taken asks the
        broker for nothing, so it would never notice that the connection is gone. The broker, if it
        still has the message, sends it again.
        """
        try:
            super().ack(delivery_tag)
        except Exception:
            super(kombu_redis.QoS, self).ack(delivery_tag)  # the bookkeeping here alone
            raise

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Give a message back to its queue; drop what is none, or every worker would stumble
        over it again.
        """
        try:
            super().restore_by_tag(tag, client, leftmost)
        except (TypeError, ValueError) as error:
            logger.critical(
                "Dropped %r from the unacknowledged, which cannot be restored: %r", tag, error
            )
            self.ack(tag)


class Channel(kombu_redis.Channel):
    """A channel that gives nothing back to the broker that no worker can take."""

    QoS = QoS

    def basic_consume(
        self, queue: Any, no_ack: Any, callback: Any, consumer_tag: Any, **kwargs: Any
    ) -> Any:
        """Consume from a queue; acknowledge what the consumer cannot digest, and raise what it
        raised.
        """

        def consume(message: Any) -> Any:
            try:
                return callback(message)
            except Exception as error:
                if not _of_the_broker(error) and not message.acknowledged:
                    message.ack()
                raise

        return super().basic_consume(queue, no_ack, consume, consumer_tag, **kwargs)

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # kombu is typed in part
        except ValueError as error:
            logger.critical(
                "Dropped from a queue what is no JSON: %s: %.*r",
                error,
                SHOWN,
                getattr(error, "doc", ""),
            )
            return True


class Transport(kombu_redis.Transport):
    """Kombu's transport to Redis, sound against garbage."""

    Channel = Channel

    def _deliver(self, message: Any, queue: Any) -> None:
        try:
            super()._deliver(message, queue)
        except Exception as error:
            if _of_the_broker(error):
                raise
            logger.critical(
                "Dropped from queue %s what is no task: %r: %.*r", queue, error, SHOWN, message
            )


def _of_the_broker(error: Exception) -> bool:
    """Tell whether an error is the broker's, so that the worker must connect again.

    Kombu counts KeyError among them, which a message without an id raises too.
    """
    if isinstance(error, (KeyError, DataError)):
        return False
    return isinstance(
        error, (OSError, RedisError, OperationalError, *kombu_redis.Transport.connection_errors)
    )
