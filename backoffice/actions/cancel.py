"""Cancel an order before its pivot: the refunds, the stock, and the charges of unknown outcome."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from backoffice.money import Undecided, captured, reserved_units, undecided
from console.bulk_actions.action import Tile, changed_orders, no_refunds, undecided_charges
from console.bulk_actions.actions.cancel import (
    REQUESTED,
    Cancel,
    Cancellable,
    cancelling,
    open_cancellable,
    undecided_by_pivot,
)
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from orders.kind import CANCELLED_BY_SHOP
from orders.models import Order
from orders.services import OrderFulfilledError, cancel_order
from orders.status import Status
from sagas.currencies import with_currency
from sagas.lifecycle import cancels_at_home
from sagas.models import TrackedSaga

__all__ = ["CancelOrder"]

# Orders that a cancel may touch, each with the pivot of its plan.
CANCELLABLE = """
SELECT o.id, jsonb_path_query_first(o.plan, '$.steps[*] ? (@.pivot == true).name') #>> '{{}}',
       o.status, o.amount, o.currency
  FROM orders_order o
 WHERE o.id = ANY(%(orders)s::uuid[]) AND o.ended_at IS NULL
   AND o.status NOT IN ('fulfilled', 'cancelling', 'cancelled')
"""

WITH_PAYMENT = "SELECT order_id FROM payments_payment WHERE order_id = ANY(%(orders)s::uuid[])"

# Payments has worked on an order of these statuses, unless the order is free.
CHARGED = {Status.PAID, Status.RESERVED}


class _Cancellable(NamedTuple):
    """An order that may be cancelled. Without a currency it is a saga of another kind."""

    id: UUID
    pivot: str
    status: str = ""
    amount: int = 0
    currency: str = ""


class CancelOrder(Cancel):
    """Cancels an order, and shows its money and its stock before. Cancels other sagas as usual."""

    nothing_to_do = (
        "None of these sagas can be cancelled: each is fulfilled, or is being cancelled already."
    )

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the orders that can still be cancelled, with their money and stock."""
        cancellable = _cancellable(queries)
        orders = [order.id for order in cancellable]
        unknown = _undecided(queries, cancellable)
        return queries.impact(
            affected=len(orders),
            refunds=captured(queries, orders),
            unknown_charges=unknown.charges,
            undecided=unknown.amounts,
            units=reserved_units(queries, orders),
            unpriced=sum(not order.currency for order in cancellable),
        )

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show the refunds, the released stock, and the charges that may still become refunds."""
        refunds = [
            Tile("Money refunded", with_currency(amount, currency), "captured until now", "bad")
            for currency, amount in impact.refunds.items()
        ]
        unpriced = self.unpriced(impact)
        if impact.unpriced and impact.unpriced == impact.affected:
            return changed_orders(impact), unpriced
        return (
            changed_orders(impact),
            *(refunds or [no_refunds(impact, "Money refunded")]),
            Tile("Units released", impact.units, "back on sale"),
            undecided_charges(impact),
            *([unpriced] if impact.unpriced else []),
        )

    def apply(self, order: TrackedSaga, run: Run) -> ActionResult:
        """Cancel the order, or ask the service of its pivot to do so."""
        if not isinstance(order, Order):
            return super().apply(order, run)
        if order.status in {Status.CANCELLING, Status.CANCELLED}:
            return ActionResult.nothing(f"It was already {order.status}.")

        try:
            cancel_order(order, reason=CANCELLED_BY_SHOP)
        except OrderFulfilledError:
            return ActionResult.nothing("It is fulfilled, so it can no longer be cancelled.")

        if not cancels_at_home(order.plan):
            return ActionResult.done(REQUESTED)
        return ActionResult.done(cancelling(order))


def _cancellable(queries: OrderQueries) -> list[_Cancellable]:
    """Return the sagas whose pivot is undecided: orders, and others without their money."""
    found = [_Cancellable(*row) for row in queries.rows("orders", CANCELLABLE)]
    found += [_Cancellable(*saga) for saga in open_cancellable(queries, besides=Order)]
    undecided_ids = undecided_by_pivot(
        queries, [Cancellable(each.id, each.pivot) for each in found]
    )
    return [each for each in found if each.id in undecided_ids]


def _undecided(queries: OrderQueries, orders: Sequence[_Cancellable]) -> Undecided:
    """Return the charges of unknown outcome, also of orders whose payment has lost its row."""
    known = undecided(queries, [order.id for order in orders])
    charged = {order.id: order for order in orders if order.status in CHARGED and order.amount}
    rows = queries.rows("payments", WITH_PAYMENT, orders=list(charged)) if charged else []
    with_payment = {order for (order,) in rows}
    if "payments" in queries.unreachable:
        return known

    missing = [order for order in charged.values() if order.id not in with_payment]
    amounts = Counter(known.amounts)
    for order in missing:
        amounts[order.currency] += order.amount
    return Undecided(known.charges + len(missing), dict(sorted(amounts.items())))
