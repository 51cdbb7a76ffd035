"""The states of an order, their transitions, and the state that each event leads to."""

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
    """The status that the customer sees. `ended_at` tells whether the saga has ended."""

    PENDING = "pending"
    PAID = "paid"
    RESERVED = "reserved"
    FULFILLED = "fulfilled"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


# The next states of each state. A database trigger enforces them too, so that no writer can leave a
# terminal state. States may be skipped, because events arrive late: an order can be fulfilled
# before the event of its payment is recorded.
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

# If the pivot is in another service, a cancel is only a request, which may come too late.
TOO_LATE = (Status.CANCELLING, Status.FULFILLED)

# Events only raise the status in this order. The two terminal states are set only by their steps.
STATUS_ORDER = (Status.PENDING, Status.PAID, Status.RESERVED, Status.CANCELLING)

# By the event's name, as other services publish it, because no service imports another.
STATUS_AFTER_EVENT: Mapping[str, Status] = {
    "payment.processed": Status.PAID,
    "stock.reserved": Status.RESERVED,
    "payment.failed": Status.CANCELLING,
    "stock.unavailable": Status.CANCELLING,
    "order.unfulfillable": Status.CANCELLING,
    "order.cancelling": Status.CANCELLING,
    "saga.deadline_missed": Status.CANCELLING,
    "stock.released": Status.CANCELLING,
    "stock.barred": Status.CANCELLING,
    "payment.refunded": Status.CANCELLING,
    "payment.barred": Status.CANCELLING,
    "payment.expiring": Status.CANCELLING,
    "payment.withheld": Status.CANCELLING,
    "payment.voided": Status.CANCELLING,
}


def may_become(before: str, after: Status, *, pivot_elsewhere: bool = False) -> bool:
    """Tell whether an order may go from one state to another.

    `pivot_elsewhere` means that the pivot of its plan is in another service.
    """
    return after in TRANSITIONS[Status(before)] or (pivot_elsewhere and (before, after) == TOO_LATE)
