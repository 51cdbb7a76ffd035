"""The relay: claims due rows of a service's outbox and inbox, and has the publisher send them."""

import logging
import random
from typing import NamedTuple

from sagas.conf import settings
from sagas.delivery import admission, publisher
from sagas.failpoints import Point, reach_each
from sagas.storage import inbox, outbox
from sagas.storage.registry import Service

__all__ = ["flush"]

logger = logging.getLogger(__name__)

# The most rounds of one flush, so that all processes that flush share a backlog.
ROUNDS = 50

SHARE_OF_THE_NEWEST = 0.5


class _Round(NamedTuple):
    sent: int
    destinations: set[str]
    more_is_due: bool


def flush(service: Service) -> int:
    """Send the due outbox rows and the due open steps of a service; return how many were sent.

    A backlog stays in PostgreSQL, not in the broker: rows for a long queue are not sent. The last
    chain of a flush that leaves rows behind flushes this service again.
    """
    sent = 0
    full = _still_full()
    queued = 0

    for number in range(1, ROUNDS + 1):
        is_last = number == ROUNDS or queued + 1 >= admission.CONGESTED
        done = _send_outbox(service, full, is_last=is_last)
        sent += done.sent
        if not done.more_is_due:
            break

        # Ask the broker before any row is leased, because the question may raise.
        queued = max(map(admission.length, done.destinations), default=0)
        if queued >= admission.CONGESTED:
            break

    return sent + _send_due_steps(service)


def _still_full() -> set[str]:
    """Return the queues that are known to be full. While the broker is down, none is known."""
    try:
        return admission.still_full()
    except Exception as error:  # publishing meets the same fault, and notes it in the rows
        logger.debug("Could not ask the broker for the length of its queues: %r", error)
        return set()


def _send_outbox(service: Service, full: set[str], *, is_last: bool) -> _Round:
    """Claim and send one batch of outbox rows that go to no full queue.

    Claim either the oldest or the newest rows, so that a backlog does not delay new sagas.
    """
    limit = settings.BATCH_SIZE

    newest = random.random() < SHARE_OF_THE_NEWEST  # noqa: S311  not a secret
    rows = outbox.claim(service, limit=limit, newest=newest, full_queues=full)
    reach_each(Point.LEASED, rows)
    more_rows = len(rows) == limit
    kept_back = publisher.publish(service, rows, and_then_flush=is_last and more_rows)

    return _Round(
        sent=len(rows) - kept_back,
        destinations={queue for row in rows for queue in admission.queues_of(service.name, row)},
        more_is_due=more_rows and not kept_back,
    )


def _send_due_steps(service: Service) -> int:
    """Send the due open steps of a service to its own queue, until it is long.

    A step that was sent before and that no worker has claimed since lies in the queue, or its
    message is lost. It is sent again once the queue has drained.
    """
    sent = 0
    limit = settings.BATCH_SIZE

    for _ in range(ROUNDS):
        if not inbox.has_due(service):
            break
        queued = admission.length(service.name)
        if queued >= admission.CONGESTED:
            break

        due = inbox.claim_due(service, limit=limit, sent_too=queued <= admission.DRAINED)
        publisher.resend(service, due)
        sent += len(due)
        if len(due) < limit:
            break

    return sent
