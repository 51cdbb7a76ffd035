"""The timeline of an order as it happens: each event as soon as it is recorded, until the order has
ended.

Events go out in the order in which they were recorded, not by their `at`: a service's clock may be
behind, and what it tells may come late, but whoever resumes after an event has everything that was
recorded before it.
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

__all__ = ["LAST_EVENT_ID", "event_resumed_after", "follow"]

logger = logging.getLogger(__name__)

LAST_EVENT_ID = "Last-Event-ID"

# Seconds between comments, within the minute that proxies allow; and the longest that one stream
# goes on: the client comes again and resumes, so that servers can be taken out of service and
# tokens run out.
KEEP_ALIVE_SECONDS = 15.0
LONGEST_STREAM = 600.0

# Milliseconds after which a client whose stream has ended comes again.
RETRY = 2_000


def event_resumed_after(request: Request, order: UUID) -> TimelineEvent | None:
    """Return the last event that a client has seen, if it names one. Raises `InvalidInput` for
    one of another order.
    """
    given = request.headers.get(LAST_EVENT_ID)
    if not given:
        return None
    try:
        return selectors.timeline_of(order).get(id=UUID(given))
    except (ValueError, TimelineEvent.DoesNotExist) as error:
        detail = "No event of this order. Leave it out to begin at the beginning."
        raise InvalidInput(FieldError(LAST_EVENT_ID, "unknown", detail)) from error


def follow(
    order: UUID, *, after: TimelineEvent | None, slot: Slot[OrderVersion]
) -> Iterator[bytes]:
    """Yield what is recorded of an order after an event, and comments meanwhile. A database that
    is away ends it.
    """
    end = time.monotonic() + LONGEST_STREAM
    yield retry_after(RETRY)
    try:
        while True:
            pulse = order_version(
                order
            )  # before the events: what is recorded in between shows as a change of it
            events = list(selectors.events_recorded_after(order, after=after))
            release_connections()  # a client that reads slowly holds up its thread, and nothing else
            for event in events:
                yield _message(event)
                after = event
            if pulse is None or pulse.ended or slot.cancelled or time.monotonic() > end:
                return
            if not slot.wait(order, _changed_since(pulse), seconds=KEEP_ALIVE_SECONDS):
                yield KEEP_ALIVE
    except Error as error:
        logger.warning("The stream of order %s ends here, its client will resume: %r", order, error)


def _changed_since(pulse: OrderVersion) -> Callable[[OrderVersion | None], bool]:
    return lambda now: now is None or now.version != pulse.version


def _message(event: TimelineEvent) -> bytes:
    data = JSONRenderer().render(TimelineEventSerializer(event).data)
    return message(id=event.id, event=event.type, data=data)
