"""Compare the orders in the database with the answers that the customers got, and with the money at
the provider.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from tools.chaos.client_record import ClientRecord, CustomerOrder
from tools.chaos.order_reader import OrderRow, ReturnRow

__all__ = [
    "END_SECONDS",
    "free_violations",
    "money_violations",
    "return_violations",
    "seconds_to_the_end",
    "violations",
]

# I13: the time limit, after the last fault, for every order to end.
END_SECONDS = 120.0
# The outcome of a valid order when one of its steps kept failing. Its steps are undone.
GIVEN_UP = "internal_error"
# The outcome of an order of which a person captured a part.
AMOUNT_DIFFERS = "payment_amount_differs"


def violations(
    record: ClientRecord,
    orders: Sequence[OrderRow],
    *,
    last_fault_at: datetime,
    captured_by_hand: Collection[str] = (),
    may_be_given_up: bool = False,
) -> list[str]:
    """Return a line for each broken promise to a customer.

    An order in `captured_by_hand` may be cancelled, because a person captured another amount.
    I16: no other order is cancelled for a fault that is not its own. `may_be_given_up`: the
    provider failed the calls of single orders, so an order may have met such a fault of its own.
    """
    return [
        *record.unexpected,
        *_keys(record, orders),
        *_answers(record, orders),
        *_endings(orders, last_fault_at),
        *_outcomes(record, orders, captured_by_hand, may_be_given_up=may_be_given_up),
    ]


def money_violations(
    orders: Sequence[OrderRow],
    *,
    left: Mapping[str, int],
    taken: Mapping[str, int],
    in_books: Mapping[str, int],
    returned: Mapping[str, int] | None = None,
) -> list[str]:
    """Return a line for each order of which the provider has left us a wrong amount, or of which
    payments has another amount than the provider.

    All amounts are by order id, in minor units: `left` is our money at the provider, and
    `in_books` our money according to payments. `taken` is the money that other people took from us,
    and `returned` the refunds of completed returns. Nothing is left of a cancelled order.
    """
    known = {order.id for order in orders}
    found = [
        f"The provider has captured {amount} for order {order}, which does not exist"
        for order, amount in left.items()
        if order not in known and amount
    ]
    for order in orders:
        gone = taken.get(order.id, 0) + (returned or {}).get(order.id, 0)
        expected = max(0, order.amount - gone) if order.status == "fulfilled" else 0
        if order.ended_at and left.get(order.id, 0) != expected:
            found.append(
                f"Order {order.id} ended {order.outcome}, and {left.get(order.id, 0)} is left of "
                f"it at the provider instead of {expected}"
            )
        if in_books.get(order.id, 0) != left.get(order.id, 0):
            found.append(
                f"Payments has {in_books.get(order.id, 0)} of order {order.id}, and the provider "
                f"has {left.get(order.id, 0)}"
            )
    return found


def free_violations(orders: Sequence[OrderRow], *, with_money: Collection[str]) -> list[str]:
    """Return a line for each free order that has a payment, or a movement of money at the gateway.

    A charge that was refunded is such a movement.
    """
    return [
        f"Order {order.id} is free, and money may have moved for it"
        for order in orders
        if order.amount == 0 and order.id in with_money
    ]


def return_violations(
    record: ClientRecord, returns: Sequence[ReturnRow], *, may_be_given_up: bool = False
) -> list[str]:
    """Return a line for each return that was answered and lost, or that did not end as it must."""
    may_fail = {GIVEN_UP} if may_be_given_up else set()
    known = {returned.id for returned in returns}
    answered = {id_ for customer_order in record.orders.values() for id_ in customer_order.returns}
    lost = [f"Return {id_} was answered 201 but does not exist" for id_ in answered - known]
    wrong = [
        f"Return {returned.id} is {returned.status} {returned.failure}".rstrip()
        for returned in returns
        if returned.ended_at is None
        or (returned.status != "completed" and returned.failure not in may_fail)
    ]
    return [*lost, *wrong]


def seconds_to_the_end(orders: Sequence[OrderRow], last_fault_at: datetime) -> float:
    """Return the seconds from the last fault until the last ended order."""
    ends = [order.ended_at for order in orders if order.ended_at]
    return max(0.0, (max(ends) - last_fault_at).total_seconds()) if ends else 0.0


def _keys(record: ClientRecord, orders: Sequence[OrderRow]) -> Iterator[str]:
    """I2: one order for each key, and no order without a key."""
    for key, count in Counter(order.key for order in orders).items():
        if key not in record.orders:
            yield f"I2: {count} orders have the key {key}, which no customer used"
        elif count > 1:
            yield f"I2: {count} orders have the key {key}"


def _answers(record: ClientRecord, orders: Sequence[OrderRow]) -> Iterator[str]:
    """I1: every order that was answered 201 exists."""
    existing = {(order.key, order.id) for order in orders}
    for key, customer_order in record.orders.items():
        if len(customer_order.ids) > 1:
            yield f"I2: the key {key} was answered with {len(customer_order.ids)} orders"

        for order in sorted(customer_order.ids):
            if (key, order) not in existing:
                yield f"I1: order {order} was answered 201 but does not exist"


def _endings(orders: Sequence[OrderRow], last_fault_at: datetime) -> Iterator[str]:
    """I1 and I13: every order has ended, and in time."""
    for order in orders:
        if order.ended_at is None:
            yield f"I1: order {order.id} is {order.status} and has not ended"

    if (seconds := seconds_to_the_end(orders, last_fault_at)) > END_SECONDS:
        yield f"I13: the last order ended {seconds:.0f} s after the last fault"


def _outcomes(
    record: ClientRecord,
    orders: Sequence[OrderRow],
    captured_by_hand: Collection[str],
    *,
    may_be_given_up: bool,
) -> Iterator[str]:
    """Each order ended in an allowed way, and as the answer to its cancellation said."""
    for order in orders:
        customer_order = record.orders.get(order.key or "")
        if order.id in captured_by_hand and order.failure == AMOUNT_DIFFERS:
            continue
        if customer_order and order.ended_at:
            if order.outcome in _allowed_outcomes(customer_order, order, may_be_given_up):
                continue
            kind = customer_order.request.kind.title
            cancel = f", cancel answered {customer_order.cancel_answer}"
            told = cancel if customer_order.cancel_asked else ""
            yield f"Order {order.id} ({kind}{told}) ended {order.outcome}"


def _allowed_outcomes(
    customer_order: CustomerOrder, order: OrderRow, may_be_given_up: bool
) -> frozenset[str]:
    allowed = customer_order.request.kind.may_end
    if may_be_given_up:
        allowed |= {GIVEN_UP}
    if customer_order.cancel_asked:
        allowed |= {"cancelled_by_customer"}

    match customer_order.cancel_answer:
        case 202 if order.saga == "authorize_first":
            pass  # requested only: the cancel may come too late
        case 200 | 202:
            allowed -= {"fulfilled"}
        case 409:
            allowed = frozenset({"fulfilled"})

    return allowed
