"""The timeline of an order as a stream: each event once it is recorded, until the order has ended.

Events are sent in the order of recording, not of their `at`: clocks differ, and events from other
services may arrive late. So a client that resumes after an event has all events recorded before it.
"""

import logging
import time
from collections.abc import Callable, Iterator
from uuid import UUID

from django.db import Error
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

from api.problems.exceptions import FieldError, InvalidInput
from api.responses.event_stream import KEEP_ALIVE, message, retry_after
from api.responses.long_poller import Slot, release_connections
from orders import selectors
from orders.api.serializers import TimelineEventSerializer
from orders.long_polling import OrderVersion, order_version
from orders.models import TimelineEvent

__all__ = ["LAST_EVENT_ID", "event_resumed_after", "stream_events"]

logger = logging.getLogger(__name__)

LAST_EVENT_ID = "Last-Event-ID"

# Seconds between comments: proxies close a connection that is idle for a minute.
KEEP_ALIVE_SECONDS = 15.0

# Seconds after which a stream ends and its client resumes, so that servers can be stopped and
# expired tokens are noticed.
LONGEST_STREAM = 600.0

# Milliseconds after which a client reconnects when its stream has ended.
RETRY = 2_000


def event_resumed_after(request: Request, order: UUID) -> TimelineEvent | None:
    """Return the last event that the client has seen, if it names one.

    Raises `InvalidInput` for an event of another order.
    """
    given = request.headers.get(LAST_EVENT_ID)
    if not given:
        return None
    try:
        return selectors.timeline_of(order).get(id=UUID(given))
    except (ValueError, TimelineEvent.DoesNotExist) as error:
        detail = "This is not an event of this order. Omit the header to start at the beginning."
        raise InvalidInput(FieldError(LAST_EVENT_ID, "unknown", detail)) from error


def stream_events(
    order: UUID, *, after: TimelineEvent | None, slot: Slot[OrderVersion]
) -> Iterator[bytes]:
    """Yield the events recorded after a given one, and comments while there are none.

    A database error ends the stream, because the client resumes by itself.
    """
    end = time.monotonic() + LONGEST_STREAM
    yield retry_after(RETRY)
    try:
        while True:
            # Read the version before the events: an event recorded in between changes the version.
            version = order_version(order)
            events = list(selectors.events_recorded_after(order, after=after))
            release_connections()  # a slow client must not hold a connection

            for event in events:
                yield _message(event)
                after = event
            if version is None or version.ended or slot.cancelled or time.monotonic() > end:
                return
            if not slot.wait(order, _changed_since(version), seconds=KEEP_ALIVE_SECONDS):
                yield KEEP_ALIVE
    except Error as error:
        logger.warning(
            "Order %s: a database error ended the event stream; the client will resume: %r",
            order,
            error,
        )


def _changed_since(version: OrderVersion) -> Callable[[OrderVersion | None], bool]:
    return lambda now: now is None or now.version != version.version


def _message(event: TimelineEvent) -> bytes:
    data = JSONRenderer().render(TimelineEventSerializer(event).data)
    return message(id=event.id, event=event.type, data=data)
