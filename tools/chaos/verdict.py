"""What the customers were answered, held against the orders there are."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from tools.chaos.books import OrderRow
from tools.chaos.record import Purchase, Record

__all__ = ["END_SECONDS", "seconds_to_the_end", "violations"]

# I13: everything has ended so long after the last fault.
END_SECONDS = 120.0
# How an order ends that nothing is wrong with, where a step of it kept failing: undone, and nothing
# is lost.
GIVEN_UP = "internal_error"


def violations(record: Record, orders: Sequence[OrderRow], *, last_fault_at: datetime) -> list[str]:
    """Return everything that breaks a promise made to a customer, each in one line."""
    return [
        *record.oddities,
        *_keys(record, orders),
        *_answers(record, orders),
        *_ends(orders, last_fault_at),
        *_outcomes(record, orders),
    ]


def seconds_to_the_end(orders: Sequence[OrderRow], last_fault_at: datetime) -> float:
    """Return the seconds from the last fault until the last order ended, of those that have."""
    ends = [order.ended_at for order in orders if order.ended_at]
    return max(0.0, (max(ends) - last_fault_at).total_seconds()) if ends else 0.0


def _keys(record: Record, orders: Sequence[OrderRow]) -> Iterator[str]:
    """I2: one order for each key, and none without."""
    for key, count in Counter(order.key for order in orders).items():
        if key not in record.purchases:
            yield f"I2: {count} orders under the key {key}, which no customer used"
        elif count > 1:
            yield f"I2: {count} orders under the key {key}"


def _answers(record: Record, orders: Sequence[OrderRow]) -> Iterator[str]:
    """I1: what was answered 201 exists."""
    there_are = {(order.key, order.id) for order in orders}
    for key, purchase in record.purchases.items():
        if len(purchase.ids) > 1:
            yield f"I2: the key {key} was answered with {len(purchase.ids)} orders"
        for order in sorted(purchase.ids):
            if (key, order) not in there_are:
                yield f"I1: order {order} was answered 201 and does not exist"


def _ends(orders: Sequence[OrderRow], last_fault_at: datetime) -> Iterator[str]:
    """I1 and I13: every order has ended, and in time."""
    for order in orders:
        if order.ended_at is None:
            yield f"I1: order {order.id} is {order.status} and has not ended"
    if (seconds := seconds_to_the_end(orders, last_fault_at)) > END_SECONDS:
        yield f"I13: the last order ended {seconds:.0f} s after the last fault"


def _outcomes(record: Record, orders: Sequence[OrderRow]) -> Iterator[str]:
    """Each order ended as it may, and as the answer to its cancellation said."""
    for order in orders:
        purchase = record.purchases.get(order.key or "")
        if purchase and order.ended_at and not _may_end(purchase, order):
            told = (
                f", its cancellation answered {purchase.cancel_answer}"
                if purchase.cancel_asked
                else ""
            )
            yield f"Order {order.id}, {purchase.wish.kind.title}{told}, ended {order.outcome}"


def _may_end(purchase: Purchase, order: OrderRow) -> bool:
    allowed = purchase.wish.kind.may_end | {GIVEN_UP}
    if purchase.cancel_asked:
        allowed |= {"cancelled_by_customer"}
    match purchase.cancel_answer:
        case 202 if order.saga == "authorize_first":  # asked for, and it may come too late
            pass
        case 200 | 202:
            allowed -= {"fulfilled"}
        case 409:
            allowed = frozenset({"fulfilled"})
    return order.outcome in allowed
