"""Stock: the counters of each SKU, what the orders hold of it, and whether that is what they
ordered.
"""

from collections import Counter
from collections.abc import Iterator

from audit.case import Case
from audit.databases import fetch, keys
from audit.invariant import Scope, Seen, Violation

__all__ = [
    "charged_for_what_is_there_alone",
    "counters_add_up",
    "no_stock_is_left_held",
    "reservations_add_up_to_the_counters",
    "reservations_know_our_orders_alone",
    "reserved_at_most_once",
    "shipped_is_what_was_ordered",
    "stock_moved_is_what_was_reserved",
]

# Each in one statement, so that it holds while orders are being placed.
COUNTERS = """
SELECT i.sku, i.on_hand, i.reserved, i.shipped, COALESCE(a.pieces, 0)
  FROM inventory_stockitem i
  LEFT JOIN (SELECT sku, sum(quantity)::bigint AS pieces FROM inventory_stockadjustment WHERE sku = ANY(%(skus)s)
              GROUP BY sku) a ON a.sku = i.sku
 WHERE i.sku = ANY(%(skus)s)
   AND (LEAST(i.on_hand, i.reserved, i.shipped) < 0
        OR i.on_hand + i.reserved + i.shipped <> COALESCE(a.pieces, 0))
 ORDER BY i.sku
"""
RESERVED = """
SELECT i.sku, i.reserved, COALESCE(r.held, 0), i.shipped, COALESCE(r.shipped, 0)
  FROM inventory_stockitem i
  LEFT JOIN (SELECT sku, sum(quantity) FILTER (WHERE state = 'held')::bigint AS held,
                    sum(quantity) FILTER (WHERE state = 'shipped')::bigint AS shipped
               FROM inventory_reservation WHERE sku = ANY(%(skus)s) GROUP BY sku) r ON r.sku = i.sku
 WHERE i.sku = ANY(%(skus)s)
   AND (i.reserved, i.shipped) IS DISTINCT FROM (COALESCE(r.held, 0), COALESCE(r.shipped, 0))
 ORDER BY i.sku
"""
ITEMS = ("inventory", "inventory_stockitem", "sku")


def counters_add_up(scope: Scope) -> Iterator[Seen]:
    """No counter is negative, and every piece that was ever received is in exactly one of them."""
    for skus in keys(*ITEMS, kind="text"):
        found = fetch("inventory", COUNTERS, {"skus": skus})
        violations = [
            Violation(
                sku,
                f"on hand {on_hand} + reserved {reserved} + shipped {shipped}, received {received}",
            )
            for sku, on_hand, reserved, shipped, received in found
        ]
        yield Seen(len(skus), "SKUs", violations)


def reservations_add_up_to_the_counters(scope: Scope) -> Iterator[Seen]:
    """What orders hold of a SKU is counted as reserved, and what they got of it as shipped."""
    for skus in keys(*ITEMS, kind="text"):
        found = fetch("inventory", RESERVED, {"skus": skus})
        violations = [
            Violation(
                sku, f"reserved {reserved}, orders hold {held}; shipped {shipped}, orders got {got}"
            )
            for sku, reserved, held, shipped, got in found
        ]
        yield Seen(len(skus), "SKUs", violations)


def reservations_know_our_orders_alone(scope: Scope) -> Iterator[Seen]:
    """Every reservation belongs to an order."""
    looked_at, unknown = scope.strangers("inventory", "inventory_reservation", "order_id")
    violations = (
        Violation(str(order), "is no order, but inventory_reservation has it") for order in unknown
    )
    yield Seen(looked_at, "reserving orders", violations)


def shipped_is_what_was_ordered(case: Case) -> Iterator[str]:
    """A fulfilled order that has ended got the lines it ordered; a cancelled one got nothing."""
    ordered = {line.sku: line.quantity for line in case.lines} if case.fulfilled else {}
    shipped: Counter[str] = Counter()
    for reservation in case.reservations:
        if reservation.state == "shipped":
            shipped[reservation.sku] += reservation.quantity
    if dict(shipped) != ordered:
        yield f"is {case.order.status}: shipped {dict(shipped)}, not {ordered}"


def charged_for_what_is_there_alone(case: Case) -> Iterator[str]:
    """Under a plan that takes the money behind the stock, money moved only for orders whose
    stock was held.
    """
    if (
        case.movements
        and not case.reservations
        and case.order.plan.comes_before("inventory.reserve", "payments.capture")
    ):
        yield f"moved {case.captured} {case.order.currency}, but no stock was ever held for it"


def no_stock_is_left_held(case: Case) -> Iterator[str]:
    """An order that has ended holds no stock."""
    for reservation in case.reservations:
        if reservation.state == "held":
            yield f"is {case.order.status}, but holds {reservation.quantity} of {reservation.sku}"


def reserved_at_most_once(case: Case) -> Iterator[str]:
    """One reservation of each SKU, for an order."""
    times = Counter(reservation.sku for reservation in case.reservations)
    yield from (f"has {count} reservations of {sku}" for sku, count in times.items() if count > 1)


def stock_moved_is_what_was_reserved(case: Case) -> Iterator[str]:
    """Stock was held, and so released or shipped, only where `inventory.reserve` was done."""
    if case.reservations and (state := case.state("inventory.reserve")) != "done":
        yield f"has reservations, but inventory.reserve is {state or 'not known'}"
