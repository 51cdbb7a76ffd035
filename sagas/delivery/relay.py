"""The relay: claims due rows of a service's outbox and inbox, and has the publisher send them."""

import random
from typing import NamedTuple

from django.conf import settings

from sagas.definition.plan import service_name
from sagas.delivery import publisher, queues
from sagas.storage import inbox, outbox
from sagas.storage.registry import Service
from sagas.testing.failpoints import Point, reach_each

__all__ = ["flush"]

# The most rounds of one flush, so that all processes that flush share a backlog.
ROUNDS = 50

# A flush adds no further batch to a queue with this many messages: they are seconds of work for the
# workers, and take little of the broker's memory.
CONGESTED = 50

SHARE_OF_THE_NEWEST = 0.5


class _Round(NamedTuple):
    sent: int
    destinations: set[str]
    more_is_due: bool


def flush(service: Service) -> int:
    """Send the due outbox rows and the due open steps of a service; return how many were sent.

    A backlog stays in the outbox, not in the broker: a flush stops while the destinations' queues
    are long. Its last chain then flushes this service again.
    """
    sent = 0
    destinations: set[str] = set()

    for number in range(1, ROUNDS + 1):
        # Ask the broker before any row is leased, because the question may raise.
        queued = queues.longest_length(destinations) if destinations else 0
        if queued >= CONGESTED:
            break

        is_last = number == ROUNDS or queued + 1 >= CONGESTED
        done = _send_round(service, is_last=is_last)
        sent += done.sent
        destinations = done.destinations
        if not done.more_is_due:
            break

    return sent


def _send_round(service: Service, *, is_last: bool) -> _Round:
    """Claim and send one batch of outbox rows and one of open steps.

    Claim either the oldest or the newest outbox rows, so that a backlog does not delay new sagas.
    """
    limit = settings.OUTBOX_BATCH_SIZE

    newest = random.random() < SHARE_OF_THE_NEWEST  # noqa: S311  not a secret
    rows = outbox.claim(service, limit=limit, newest=newest)
    reach_each(Point.LEASED, rows)
    more_rows = len(rows) == limit
    publisher.publish(service, rows, and_then_flush=is_last and more_rows)

    due = inbox.claim_due(service, limit=limit)
    publisher.resend(service, due)
    more_steps = len(due) == limit

    return _Round(
        sent=len(rows) + len(due),
        destinations={service_name(row.target or row.plan.home) for row in rows},
        more_is_due=more_rows or more_steps,
    )
