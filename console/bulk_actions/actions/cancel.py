"""Cancel an order before its pivot, and undo the steps that were done for it.

After the pivot a saga only goes forward, so a fulfilled order is left as it is.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from console import holds
from console.bulk_actions.action import (
    OrderAction,
    Tile,
    changed_orders,
    no_refunds,
    undecided_charges,
)
from console.bulk_actions.preview import Impact, OrderQueries, Undecided
from console.bulk_actions.results import ActionResult
from console.models import Run
from orders.events import OrderCancelling
from orders.models import Order
from orders.services import OrderFulfilledError, cancel_order
from orders.status import Status
from payments.gateways.currencies import with_currency
from sagas.definition.plan import service_name
from sagas.lifecycle import cancels_at_home

__all__ = ["Cancel"]

# The reason that the customer sees. The operator's own reason stays in the log.
BY_THE_SHOP = OrderCancelling(code="cancelled_by_shop", detail="Cancelled by the shop.")

# Orders that a cancel may touch, each with the pivot of its plan.
CANCELLABLE = """
SELECT o.id, jsonb_path_query_first(o.plan, '$.steps[*] ? (@.pivot == true).name') #>> '{{}}',
       o.status, o.amount, o.currency
  FROM orders_order o
 WHERE o.id = ANY(%(orders)s::uuid[]) AND o.ended_at IS NULL
   AND o.status NOT IN ('fulfilled', 'cancelling', 'cancelled')
"""

PIVOT_DECIDED = """
SELECT saga FROM {inbox}
 WHERE saga = ANY(%(orders)s::uuid[]) AND step = %(pivot)s AND state IN ('done', 'refused')
"""

WITH_PAYMENT = "SELECT order_id FROM payments_payment WHERE order_id = ANY(%(orders)s::uuid[])"

CLOSED = {Status.FULFILLED, Status.CANCELLING, Status.CANCELLED}

# Payments has worked on an order of these statuses.
CHARGED = {Status.PAID, Status.RESERVED}


class _Cancellable(NamedTuple):
    """An order that may be cancelled. `pivot` is the step after which it may not."""

    id: UUID
    pivot: str
    status: str
    amount: int
    currency: str


class Cancel(OrderAction):
    """Cancels an order, if its pivot has not happened."""

    name = "cancel"
    label = "Cancel and undo"
    dangerous = True
    exact_preview = True
    nothing_to_do = (
        "A fulfilled order cannot be cancelled, and an order that is being cancelled needs nothing."
    )

    def is_offered(self, order: Order, *, on_hold: bool) -> bool:
        """Offer it until the order is fulfilled or being cancelled."""
        return order.status not in CLOSED

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the orders that can still be cancelled, with their money and stock."""
        cancellable = _cancellable(queries)
        orders = [order.id for order in cancellable]
        undecided = _undecided(queries, cancellable)
        return queries.impact(
            affected=len(orders),
            refunds=queries.captured(orders),
            unknown_charges=undecided.charges,
            undecided=undecided.amounts,
            units=queries.reserved_units(orders),
        )

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show the refunds, the released stock, and the charges that may still become refunds."""
        refunds = [
            Tile("Money refunded", with_currency(amount, currency), "captured until now", "bad")
            for currency, amount in impact.refunds.items()
        ]
        return (
            changed_orders(impact),
            *(refunds or [no_refunds(impact, "Money refunded")]),
            Tile("Units released", impact.units, "back on sale"),
            undecided_charges(impact),
        )

    def apply(self, order: Order, run: Run) -> ActionResult:
        """Cancel the order, or ask the service of its pivot to do so."""
        if order.status in {Status.CANCELLING, Status.CANCELLED}:
            return ActionResult.nothing(f"It was already {order.status}.")

        try:
            cancel_order(order, reason=BY_THE_SHOP)
        except OrderFulfilledError:
            return ActionResult.nothing("It is fulfilled, so it can no longer be cancelled.")

        if not cancels_at_home(order.plan):
            return ActionResult.done(
                "Cancel requested: the service of the pivot decides whether it comes in time."
            )
        if holds.hold_of(order):
            return ActionResult.done(
                "Cancelling, but the order is on hold: its steps are undone after the release."
            )
        return ActionResult.done("Cancelling: the steps that were done are being undone.")


def _cancellable(queries: OrderQueries) -> list[_Cancellable]:
    """Return the orders whose pivot is undecided, by the inbox of the pivot's service."""
    orders = [_Cancellable(*row) for row in queries.rows("orders", CANCELLABLE)]
    decided = {
        order
        for pivot in sorted({order.pivot for order in orders})
        for order in _decided(queries, pivot, orders)
    }
    return [order for order in orders if order.id not in decided]


def _decided(queries: OrderQueries, pivot: str, orders: Iterable[_Cancellable]) -> list[UUID]:
    ids = [order.id for order in orders if order.pivot == pivot]
    rows = queries.rows(service_name(pivot), PIVOT_DECIDED, orders=ids, pivot=pivot)
    return [order for (order,) in rows]


def _undecided(queries: OrderQueries, orders: Sequence[_Cancellable]) -> Undecided:
    """Return the charges of unknown outcome, also of orders whose payment has lost its row."""
    known = queries.undecided([order.id for order in orders])
    charged = {order.id: order for order in orders if order.status in CHARGED}
    rows = queries.rows("payments", WITH_PAYMENT, orders=list(charged)) if charged else []
    with_payment = {order for (order,) in rows}
    if "payments" in queries.unreachable:
        return known

    missing = [order for order in charged.values() if order.id not in with_payment]
    amounts = Counter(known.amounts)
    for order in missing:
        amounts[order.currency] += order.amount
    return Undecided(known.charges + len(missing), dict(sorted(amounts.items())))
