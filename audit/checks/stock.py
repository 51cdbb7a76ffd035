"""Stock: the counters of each SKU, its reservations, and the quantities that were ordered."""

from collections import Counter
from collections.abc import Iterator, Sequence

from audit.databases import STATEMENT_TIMEOUT, fetch, keys
from audit.invariant_types import AuditContext, TableResult, Violation
from audit.snapshot import OrderSnapshot

__all__ = [
    "charged_only_for_stock_that_was_held",
    "counters_add_up",
    "no_order_returns_more_than_it_got",
    "no_stock_is_left_held",
    "reservations_add_up_to_the_counters",
    "reservations_belong_to_orders",
    "reserved_at_most_once",
    "shipped_is_what_was_ordered",
    "stock_moved_is_what_was_reserved",
    "wrong_counters",
    "wrong_reservations",
    "wrong_returns",
]

# Each is one statement, so that its result is true while orders are being placed.
COUNTERS = """
SELECT i.sku, i.on_hand, i.reserved, i.shipped, i.returned, COALESCE(a.units, 0)
  FROM inventory_stockitem i
  LEFT JOIN (SELECT sku, sum(quantity)::bigint AS units FROM inventory_stockadjustment
              WHERE sku = ANY(%(skus)s) GROUP BY sku) a ON a.sku = i.sku
 WHERE i.sku = ANY(%(skus)s)
   AND (LEAST(i.on_hand, i.reserved, i.shipped, i.returned) < 0
        OR i.on_hand + i.reserved + i.shipped - i.returned <> COALESCE(a.units, 0))
 ORDER BY i.sku
"""

RESERVED = """
SELECT i.sku, i.reserved, COALESCE(r.held, 0), i.shipped, COALESCE(r.shipped, 0),
       i.returned, COALESCE(b.returned, 0)
  FROM inventory_stockitem i
  LEFT JOIN (SELECT sku, sum(quantity) FILTER (WHERE state = 'held')::bigint AS held,
                    sum(quantity) FILTER (WHERE state = 'shipped')::bigint AS shipped
               FROM inventory_reservation WHERE sku = ANY(%(skus)s) GROUP BY sku) r ON r.sku = i.sku
  LEFT JOIN (SELECT sku, sum(restocked + written_off)::bigint AS returned
               FROM inventory_stockreturn WHERE sku = ANY(%(skus)s) GROUP BY sku) b ON b.sku = i.sku
 WHERE i.sku = ANY(%(skus)s)
   AND (i.reserved, i.shipped, i.returned) IS DISTINCT FROM
       (COALESCE(r.held, 0), COALESCE(r.shipped, 0), COALESCE(b.returned, 0))
 ORDER BY i.sku
"""

OVER_RETURNED = """
SELECT b.order_id, b.sku, sum(b.restocked + b.written_off)::bigint,
       COALESCE((SELECT r.quantity FROM inventory_reservation r
                  WHERE r.order_id = b.order_id AND r.sku = b.sku AND r.state = 'shipped'), 0)
  FROM inventory_stockreturn b
 WHERE b.sku = ANY(%(skus)s)
 GROUP BY b.order_id, b.sku
HAVING sum(b.restocked + b.written_off) >
       COALESCE((SELECT r.quantity FROM inventory_reservation r
                  WHERE r.order_id = b.order_id AND r.sku = b.sku AND r.state = 'shipped'), 0)
 ORDER BY b.order_id, b.sku
"""
ITEMS = ("inventory", "inventory_stockitem", "sku")


def counters_add_up(context: AuditContext) -> Iterator[TableResult]:
    """No counter is negative, and each received unit is counted in exactly one of them."""
    for skus in keys(*ITEMS, kind="text"):
        yield TableResult(len(skus), "SKUs", wrong_counters(skus))


def reservations_add_up_to_the_counters(context: AuditContext) -> Iterator[TableResult]:
    """Each SKU's counters of reserved, shipped and returned units are the sums of their rows."""
    for skus in keys(*ITEMS, kind="text"):
        yield TableResult(len(skus), "SKUs", wrong_reservations(skus))


def no_order_returns_more_than_it_got(context: AuditContext) -> Iterator[TableResult]:
    """No order has returned more units of a SKU than were shipped to it."""
    for skus in keys(*ITEMS, kind="text"):
        yield TableResult(len(skus), "SKUs", wrong_returns(skus))


def wrong_counters(
    skus: Sequence[str], *, milliseconds: int = STATEMENT_TIMEOUT
) -> list[Violation]:
    """Return the SKUs whose counters are negative or do not add up."""
    rows = fetch("inventory", COUNTERS, {"skus": list(skus)}, milliseconds=milliseconds)
    return [
        Violation(
            sku,
            f"on hand {on_hand} + reserved {reserved} + shipped {shipped} - returned {returned}, "
            f"received {received}",
        )
        for sku, on_hand, reserved, shipped, returned, received in rows
    ]


def wrong_reservations(
    skus: Sequence[str], *, milliseconds: int = STATEMENT_TIMEOUT
) -> list[Violation]:
    """Return the SKUs whose counters differ from the sums of their reservations."""
    rows = fetch("inventory", RESERVED, {"skus": list(skus)}, milliseconds=milliseconds)
    return [
        Violation(
            sku,
            f"counted as reserved {reserved}, held by orders {held}; "
            f"counted as shipped {shipped}, shipped to orders {delivered}; "
            f"counted as returned {returned}, returned by orders {came_back}",
        )
        for sku, reserved, held, shipped, delivered, returned, came_back in rows
    ]


def wrong_returns(skus: Sequence[str], *, milliseconds: int = STATEMENT_TIMEOUT) -> list[Violation]:
    """Return the orders that have returned more of these SKUs than they got."""
    rows = fetch("inventory", OVER_RETURNED, {"skus": list(skus)}, milliseconds=milliseconds)
    return [
        Violation(str(order), f"returned {returned} of {sku}, but got {shipped}")
        for order, sku, returned, shipped in rows
    ]


def reservations_belong_to_orders(context: AuditContext) -> Iterator[TableResult]:
    """Every reservation belongs to an order."""
    orphans = context.orphans("inventory", "inventory_reservation", "order_id")
    violations = [
        Violation(str(order), "inventory_reservation has rows of it, but there is no such order")
        for order in orphans.ids
    ]
    yield TableResult(orphans.checked, "reserving orders", violations)


def shipped_is_what_was_ordered(order: OrderSnapshot) -> Iterator[str]:
    """A fulfilled order that has ended was shipped as ordered; a cancelled one was not shipped."""
    ordered = {line.sku: line.quantity for line in order.lines} if order.fulfilled else {}
    shipped: Counter[str] = Counter()
    for reservation in order.reservations:
        if reservation.state == "shipped":
            shipped[reservation.sku] += reservation.quantity

    if dict(shipped) != ordered:
        yield f"is {order.order.status}: shipped {dict(shipped)}, expected {ordered}"


def charged_only_for_stock_that_was_held(order: OrderSnapshot) -> Iterator[str]:
    """If the plan captures after it reserves, money moved only for orders that held stock.

    A person may have captured the authorization at the gateway before.
    """
    reserves_first = order.plan.comes_before("inventory.reserve", "payments.capture")
    if not (order.movements and reserves_first) or order.reservations or _captured_by_hand(order):
        return
    amount = f"{order.captured} {order.order.currency}"
    yield f"captured {amount}, but no stock was ever held for the order"


def _captured_by_hand(order: OrderSnapshot) -> bool:
    """Tell whether the order's own step did not capture the money, as far as its rows tell."""
    if order.has_messages:
        return order.state("payments.capture") != "done"
    return order.captured != order.order.amount


def no_stock_is_left_held(order: OrderSnapshot) -> Iterator[str]:
    """An order that has ended holds no stock."""
    for reservation in order.reservations:
        if reservation.state == "held":
            stock = f"{reservation.quantity} of {reservation.sku}"
            yield f"is {order.order.status}, but still holds {stock}"


def reserved_at_most_once(order: OrderSnapshot) -> Iterator[str]:
    """An order has one reservation of each SKU at most."""
    counts = Counter(reservation.sku for reservation in order.reservations)
    yield from (f"has {count} reservations of {sku}" for sku, count in counts.items() if count > 1)


def stock_moved_is_what_was_reserved(order: OrderSnapshot) -> Iterator[str]:
    """An order has reservations only if `inventory.reserve` was done for it."""
    if order.reservations and (state := order.state("inventory.reserve")) != "done":
        found = state or "missing from the inbox"
        yield f"has reservations, but inventory.reserve is {found}"
