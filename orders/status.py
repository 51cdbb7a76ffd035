"""The states of an order: how one may follow another, and what an event of the saga says of it."""

from collections.abc import Mapping

from django.db import models

__all__ = [
    "OPEN",
    "STATUS_AFTER_EVENT",
    "STATUS_ORDER",
    "TERMINAL",
    "TRANSITIONS",
    "Status",
    "may_become",
]


class Status(models.TextChoices):
    """What the customer sees. Whether the saga is over is another matter: `ended_at` says that."""

    PENDING = "pending"
    PAID = "paid"
    RESERVED = "reserved"
    FULFILLED = "fulfilled"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


# From which state to which. A trigger in the database holds this as well: whatever writes, a
# terminal state stays. Steps may be skipped, for the picture comes late: an order can be fulfilled
# before its payment was heard of.
TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.PENDING: frozenset(
        {Status.PAID, Status.RESERVED, Status.FULFILLED, Status.CANCELLING, Status.CANCELLED}
    ),
    Status.PAID: frozenset(
        {Status.RESERVED, Status.FULFILLED, Status.CANCELLING, Status.CANCELLED}
    ),
    Status.RESERVED: frozenset({Status.FULFILLED, Status.CANCELLING, Status.CANCELLED}),
    Status.CANCELLING: frozenset({Status.CANCELLED}),
    Status.FULFILLED: frozenset(),
    Status.CANCELLED: frozenset(),
}

TERMINAL = frozenset(status for status, following in TRANSITIONS.items() if not following)
OPEN = frozenset(TRANSITIONS) - TERMINAL

# Where the pivot lies outside orders, a cancel is a request, and can come too late.
TOO_LATE = (Status.CANCELLING, Status.FULFILLED)

# Events only raise the status along this line; the two terminal states are set by their steps
# alone.
STATUS_ORDER = (Status.PENDING, Status.PAID, Status.RESERVED, Status.CANCELLING)

# By the name of the event, as other services publish it: no domain app imports another.
STATUS_AFTER_EVENT: Mapping[str, Status] = {
    "payment.processed": Status.PAID,
    "stock.reserved": Status.RESERVED,
    "payment.failed": Status.CANCELLING,
    "stock.unavailable": Status.CANCELLING,
    "order.unfulfillable": Status.CANCELLING,
    "order.cancelling": Status.CANCELLING,
    "stock.released": Status.CANCELLING,
    "payment.refunded": Status.CANCELLING,
    "payment.expiring": Status.CANCELLING,
    "payment.withheld": Status.CANCELLING,
    "payment.voided": Status.CANCELLING,
}


def may_become(before: str, after: Status, *, pivot_elsewhere: bool = False) -> bool:
    """Tell whether an order may go from one state to another, under a plan whose pivot lies in
    orders or elsewhere.
    """
    return after in TRANSITIONS[Status(before)] or (pivot_elsewhere and (before, after) == TOO_LATE)
