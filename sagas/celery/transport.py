"""Celery's transport to Redis, made robust against malformed messages and against broker outages.

Kombu expects that every item of a Redis list is an envelope of its own. An item that is not one
stops the worker's main process. An envelope without a part that Celery needs stops the worker
too. Kombu then restores it, so it stops the next worker as well. This transport logs and drops such
items.

It also drops an item that is larger than any of ours, without keeping it in memory. It drops a
message that is compressed, or encoded in another way than ours, before kombu unpacks it.
"""

import logging
from typing import Any

from kombu.exceptions import OperationalError
from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError, RedisError, ResponseError

from sagas.celery.bounded_reply import BoundedConnection, BoundedSSLConnection

__all__ = ["Transport"]

logger = logging.getLogger(__name__)

# The log shows this many characters of a dropped item.
MOST_CHARACTERS_SHOWN = 1_000

# The only encodings of a message that this project sends.
CONTENT_TYPE, CONTENT_ENCODING, BODY_ENCODING = "application/json", "utf-8", "base64"


class QoS(kombu_redis.QoS):
    """Kombu's record of the messages that are not acknowledged yet."""

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge a message. If the broker is down, free the message's local slot and raise.

        Celery logs the error and continues. A worker without a free slot sends no command to the
        broker, so it would never notice that the connection is lost. A broker that still has the
        message delivers it again.
        """
        try:
            self._refuse_if_closed()
            super().ack(delivery_tag)
        except Exception:
            super(kombu_redis.QoS, self).ack(delivery_tag)  # frees the local slot only
            raise

    def _refuse_if_closed(self) -> None:
        """Raise if a worker that has reconnected ends a task of its closed connection."""
        if self.channel.closed:
            raise RedisConnectionError("The connection of this message was closed.")

    def restore_visible(self, *args: Any, **kwargs: Any) -> Any:
        """Return the messages of lost workers to their queues, unless the broker refuses writes.

        Kombu also calls this while it sets a connection up. An error there would leave the sockets
        of the half-made connection open.
        """
        try:
            return super().restore_visible(*args, **kwargs)
        except ResponseError as error:
            logger.debug("Could not restore the messages of lost workers: %r", error)
            return None

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Return a message to its queue. Drop a malformed one, which would stop every worker."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except Exception as error:
            if _is_broker_error(error):
                raise
            logger.critical(
                "Dropped the unacknowledged message %r, because it is malformed: %r", tag, error
            )
            self.ack(tag)


class Channel(kombu_redis.Channel):
    """A channel that returns no malformed message to the broker, and reads no huge one."""

    QoS = QoS
    connection_class = BoundedConnection
    connection_class_ssl = BoundedSSLConnection

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

    def close(self) -> None:
        """Close the channel and all of its sockets, even if the broker refuses the last commands.

        A broker that refuses writes answers the pending read with an error, and so the return of
        unacknowledged messages. With kombu's own close, the sockets then stay open: each attempt of
        a worker to reconnect costs it another three. The broker delivers the messages again after
        the visibility timeout.
        """
        try:
            self._close_after_refusal()
        finally:
            self._disconnect_pools()  # type: ignore[attr-defined]  # kombu is typed in part
            self._close_clients()  # type: ignore[attr-defined]

    def _close_after_refusal(self) -> None:
        # The first attempt reads the answer to the pending read. The second has nothing to read.
        for _ in range(2):
            try:
                super().close()
            except Exception as error:  # the caller is leaving this connection anyway
                logger.debug("The broker refused a command while a channel was closed: %r", error)
                self._in_poll = None
            else:
                return

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # kombu is typed in part
        except (ValueError, RecursionError, TypeError, AttributeError) as error:
            # kombu's JSON also raises the last two, for text in which it marks other types.
            logger.critical(
                "Dropped an item that is not JSON from a queue: %s: %.*r",
                error,
                MOST_CHARACTERS_SHOWN,
                getattr(error, "doc", "")[:MOST_CHARACTERS_SHOWN],
            )
            return True


class Transport(kombu_redis.Transport):
    """Kombu's transport to Redis, which drops malformed messages."""

    Channel = Channel

    def _deliver(self, message: Any, queue: Any) -> None:
        reason = _reason_to_refuse(message)
        if reason:
            logger.critical(
                "Dropped a message from queue %s, because it %s. No process of ours sends such"
                " messages, so it was forged: %.*s",
                queue,
                reason,
                MOST_CHARACTERS_SHOWN,
                _shown(message),
            )
            return
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
                _shown(message),
            )


def _reason_to_refuse(envelope: Any) -> str | None:
    """Return why an envelope must not be unpacked, or None."""
    if not isinstance(envelope, dict):
        return None  # it is dropped as malformed
    headers, properties = envelope.get("headers"), envelope.get("properties")
    if not isinstance(headers, dict) or not isinstance(properties, dict):
        return None

    encoding = str(envelope.get("content-encoding")).lower()
    reasons = {
        "is compressed": bool(headers.get("compression")),
        f"is not of the type {CONTENT_TYPE}": envelope.get("content-type") != CONTENT_TYPE,
        f"is not encoded in {CONTENT_ENCODING}": encoding != CONTENT_ENCODING,
        f"has a body not encoded in {BODY_ENCODING}": (
            properties.get("body_encoding") != BODY_ENCODING
            or not isinstance(envelope.get("body"), str)
        ),
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


def _shown(message: Any) -> str:
    """Return the beginning of an item for the log. Most of a long body is left out."""
    if isinstance(message, dict):
        message = {**message, "body": str(message.get("body"))[:100]}
    return repr(message)[:MOST_CHARACTERS_SHOWN]


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
