"""The kinds and the states of a return, and the state that each event leads to."""

from collections.abc import Mapping

from django.db import models

__all__ = [
    "FREED",
    "OPEN",
    "REFUSED_CODES",
    "RISING",
    "STATUS_AFTER_EVENT",
    "STATUS_AFTER_WAIT",
    "TRANSITIONS",
    "Kind",
    "Status",
]


class Kind(models.TextChoices):
    """Goods that come back, or money that the shop gives back without goods."""

    GOODS = "goods"
    GOODWILL = "goodwill"


class Status(models.TextChoices):
    """The status that the customer sees. `ended_at` tells whether the saga has ended."""

    REQUESTED = "requested"
    AWAITING_APPROVAL = "awaiting_approval"
    AWAITING_GOODS = "awaiting_goods"
    REFUNDING = "refunding"
    COMPLETED = "completed"
    CLOSING = "closing"
    REFUSED = "refused"
    CANCELLED = "cancelled"


_BEFORE_PIVOT = (Status.REQUESTED, Status.AWAITING_APPROVAL, Status.AWAITING_GOODS)
_ENDS_WITHOUT_REFUND = {Status.CLOSING, Status.REFUSED, Status.CANCELLED}

# The next states of each state. A database trigger enforces them too. States may be skipped,
# because events arrive late.
TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    **{
        status: frozenset({*_BEFORE_PIVOT[place + 1 :], Status.REFUNDING, *_ENDS_WITHOUT_REFUND})
        for place, status in enumerate(_BEFORE_PIVOT)
    },
    Status.REFUNDING: frozenset({Status.COMPLETED}),
    Status.CLOSING: frozenset({Status.REFUSED, Status.CANCELLED}),
    Status.COMPLETED: frozenset(),
    Status.REFUSED: frozenset(),
    Status.CANCELLED: frozenset(),
}

# A return may be cancelled in these states.
OPEN = frozenset(_BEFORE_PIVOT)

# A return in these states has no claim on pieces and money of its order.
FREED = (Status.REFUSED, Status.CANCELLED)

# Events raise the status in this order. The other states are set by their steps alone.
RISING = (*_BEFORE_PIVOT, Status.CLOSING)

# The status while the saga is at a wait, by the name of its step.
STATUS_AFTER_WAIT: Mapping[str, Status] = {
    "returns.approve": Status.AWAITING_APPROVAL,
    "returns.receive": Status.AWAITING_GOODS,
}

STATUS_AFTER_EVENT: Mapping[str, Status] = {
    "return.approved": Status.AWAITING_APPROVAL,
    "return.goods_received": Status.AWAITING_GOODS,
    "return.declined": Status.CLOSING,
    "return.not_approved": Status.CLOSING,
    "return.goods_missing": Status.CLOSING,
    "return.not_accepted": Status.CLOSING,
    "return.cancelled": Status.CLOSING,
}

# The codes of a failure with which staff refuse a return. With any other code it is cancelled.
REFUSED_CODES = frozenset({"return_declined", "nothing_received"})
