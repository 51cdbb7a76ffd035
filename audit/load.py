"""Loads the snapshots, a page of orders at a time: one statement for each table, never for each
order.

The three databases cannot be read at the same moment. The order of reading keeps the findings
true:

- Orders come first. An order that has ended by then is final, and so are its payment and stock.
- The timeline comes before the outboxes, because an event is in its outbox before it is in the
  timeline.
- One statement reads a service's outbox and inbox, because each step writes both in one
  transaction.
- The partial refunds of a payment come before the ledger, and once more after it, because a refund
  of an ended order may be under way meanwhile.
- The watermarks come last. If a service purged rows before they were read, its watermark shows it.

Therefore a check of an open order compares no two databases, except the timeline with the
outboxes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from audit.databases import fetch
from audit.ledger import Ledger
from audit.messages import add_messages, add_timeline, decode_plan, fill, mark_purged
from audit.snapshot import (
    Line,
    Order,
    OrderSnapshot,
    PartialRefund,
    Payment,
    Reservation,
)
from orders.saga import SAGAS
from sagas.storage.registry import Service, get_home, get_service

__all__ = ["load_orders", "load_snapshots", "saga_services"]

PAGE = 2_000

NEWEST = "SELECT id FROM orders_order ORDER BY id DESC LIMIT 1"

ORDERS = """
SELECT id, status, amount, currency, plan::text, created_at, ended_at IS NOT NULL
  FROM orders_order
 WHERE (%(after)s::uuid IS NULL OR id > %(after)s::uuid) AND id <= %(newest)s
 ORDER BY id LIMIT %(limit)s
"""

ORDERS_BY_ID = """
SELECT id, status, amount, currency, plan::text, created_at, ended_at IS NOT NULL
  FROM orders_order WHERE id = ANY(%(orders)s::uuid[]) ORDER BY id
"""

LINES = """
SELECT order_id, sku, quantity FROM orders_orderline WHERE order_id = ANY(%(orders)s::uuid[])
"""

PAYMENTS = """
SELECT order_id, status, amount,
       CASE WHEN charge_id IS NULL THEN 0 ELSE coalesce(captured_amount, amount) END,
       refunded_amount, owed_amount, disputed_amount, dispute_status, currency, charge_id,
       paid_otherwise_amount
  FROM payments_payment WHERE order_id = ANY(%(orders)s::uuid[])
"""

PARTS = """
SELECT order_id, id, status, amount, refunded_amount, covered_amount, currency, key
  FROM payments_partialrefund WHERE order_id = ANY(%(orders)s::uuid[]) ORDER BY id
"""

RESERVATIONS = """
SELECT order_id, sku, quantity, state
  FROM inventory_reservation WHERE order_id = ANY(%(orders)s::uuid[])
"""


def saga_services() -> list[Service]:
    """Return the services that take part in any of the order sagas."""
    names = {name for saga in SAGAS.values() for name in saga.plan.services()}
    return [get_service(name) for name in sorted(names)]


def load_snapshots(*, ledger: Ledger, unsent_after: float) -> Iterator[list[OrderSnapshot]]:
    """Yield the snapshots of all orders that exist now, in pages.

    `unsent_after`: seconds after which an outbox row that is due and not sent counts as stuck.
    """
    newest = fetch("default", NEWEST)
    after: UUID | None = None
    while newest and (page := _orders(after, newest[0][0])):
        yield _load_page(page, ledger=ledger, unsent_after=unsent_after)
        after = page[-1].id


def load_orders(ids: Sequence[UUID], *, ledger: Ledger) -> list[OrderSnapshot]:
    """Return the snapshots of some orders without their messages. Unknown orders are left out."""
    snapshots = {
        order.id: OrderSnapshot(order, has_messages=False)
        for order in _decoded(fetch("default", ORDERS_BY_ID, {"orders": list(ids)}))
    }
    _load_rows(snapshots, ledger)
    return list(snapshots.values())


def _orders(after: UUID | None, newest: UUID) -> list[Order]:
    params = {"after": after, "newest": newest, "limit": PAGE}
    return _decoded(fetch("default", ORDERS, params))


def _decoded(rows: Iterable[tuple[Any, ...]]) -> list[Order]:
    return [
        Order(order, status, amount, currency, decode_plan(plan), created_at, ended)
        for order, status, amount, currency, plan, created_at, ended in rows
    ]


def _load_page(
    orders: Sequence[Order], *, ledger: Ledger, unsent_after: float
) -> list[OrderSnapshot]:
    snapshots = {order.id: OrderSnapshot(order) for order in orders}
    add_timeline(snapshots, get_home("orders"))
    _load_rows(snapshots, ledger)
    services = saga_services()
    add_messages(snapshots, services, unsent_after=unsent_after)
    mark_purged(snapshots.values(), services, home="orders")
    return list(snapshots.values())


def _load_rows(snapshots: Mapping[UUID, OrderSnapshot], ledger: Ledger) -> None:
    """Load the lines, payments, movements and reservations of orders that were read before."""
    fill(snapshots, "default", LINES, lambda order, row: order.lines.append(Line(*row)))
    fill(snapshots, "payments", PAYMENTS, lambda order, row: order.payments.append(Payment(*row)))
    fill(snapshots, "payments", PARTS, lambda order, row: order.parts.append(PartialRefund(*row)))
    for order, movement in ledger.movements(list(snapshots)):
        snapshots[order].movements.append(movement)
    fill(
        snapshots,
        "payments",
        PARTS,
        lambda order, row: order.parts_after.append(PartialRefund(*row)),
    )
    fill(
        snapshots,
        "inventory",
        RESERVATIONS,
        lambda order, row: order.reservations.append(Reservation(*row)),
    )
