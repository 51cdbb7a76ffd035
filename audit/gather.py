"""Gathering the cases, a page of orders at a time: one statement for each table, never one for each
order.

The three databases cannot be read at the same moment. What keeps the findings true is the order of
reading:

- Orders come first. One that has ended at that moment is final, and so is what payments and
  inventory say of it later.
- The timeline is read before the outboxes, for an event is in its outbox before it is in the
  timeline.
- A service's outbox and inbox are read in one statement, for each step writes both in one
  transaction.
- How far the services have forgotten is read last: what was purged before its rows were read is
  known by then.

Checks of orders that have not ended therefore compare no two databases, but for the timeline with
the outboxes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

from audit.case import Case, Event, Line, Order, Payment, Recorded, Reservation, StepState
from audit.databases import fetch
from audit.ledger import Ledger
from orders.saga import SAGAS
from sagas.definition.plan import Plan
from sagas.storage.registry import Service, get_service

__all__ = ["cases", "services"]

PAGE = 2_000

NEWEST = "SELECT id FROM orders_order ORDER BY id DESC LIMIT 1"
ORDERS = """
SELECT id, status, amount, currency, plan::text, created_at, ended_at IS NOT NULL FROM orders_order
 WHERE (%(after)s::uuid IS NULL OR id > %(after)s::uuid) AND id <= %(newest)s ORDER BY id LIMIT %(limit)s
"""
LINES = (
    "SELECT order_id, sku, quantity FROM orders_orderline WHERE order_id = ANY(%(orders)s::uuid[])"
)
TIMELINE = (
    "SELECT saga, id, seq, type FROM orders_timelineevent WHERE saga = ANY(%(orders)s::uuid[])"
)
PAYMENTS = """
SELECT order_id, status, amount, refunded_amount, currency, charge_id FROM payments_payment
 WHERE order_id = ANY(%(orders)s::uuid[])
"""
RESERVATIONS = """
SELECT order_id, sku, quantity, state FROM inventory_reservation WHERE order_id = ANY(%(orders)s::uuid[])
"""
MESSAGES = """
SELECT saga, id, seq, type, step, target,
       published_at IS NULL AND due_at < now() - make_interval(secs => %(patience)s)
  FROM {outbox} WHERE saga = ANY(%(orders)s::uuid[])
 UNION ALL
SELECT saga, NULL, NULL, state, step, NULL, NULL FROM {inbox} WHERE saga = ANY(%(orders)s::uuid[])
"""
FORGOTTEN_BEFORE = "SELECT max(before) FROM {watermark}"

decode_plan = lru_cache(maxsize=100)(msgspec.json.Decoder(Plan).decode)


def services() -> list[Service]:
    """Return the services that take part in an order's saga, whichever it is."""
    return [
        get_service(name)
        for name in sorted({name for saga in SAGAS.values() for name in saga.plan.services()})
    ]


def cases(*, ledger: Ledger, patience: float) -> Iterator[list[Case]]:
    """Yield the cases of all orders there are now, in pages.

    `patience`: seconds for which a row of an outbox may be due and not sent.
    """
    newest = fetch("default", NEWEST)
    after: UUID | None = None
    while newest and (page := _orders(after, newest[0][0])):
        yield _gather(page, ledger=ledger, patience=patience)
        after = page[-1].id


def _orders(after: UUID | None, newest: UUID) -> list[Order]:
    rows = fetch("default", ORDERS, {"after": after, "newest": newest, "limit": PAGE})
    return [
        Order(order, status, amount, currency, decode_plan(plan), created_at, ended)
        for order, status, amount, currency, plan, created_at, ended in rows
    ]


def _gather(orders: Sequence[Order], *, ledger: Ledger, patience: float) -> list[Case]:
    found = {order.id: Case(order) for order in orders}

    def fill(alias: str, sql: str, add: Callable[[Case, tuple[Any, ...]], None]) -> None:
        for order, *columns in fetch(alias, sql, {"orders": list(found), "patience": patience}):
            add(found[order], tuple(columns))

    fill("default", TIMELINE, lambda case, row: case.timeline.append(Recorded(*row)))
    fill("default", LINES, lambda case, row: case.lines.append(Line(*row)))
    fill("payments", PAYMENTS, lambda case, row: case.payments.append(Payment(*row)))
    for order, movement in ledger.moved(list(found)):
        found[order].movements.append(movement)
    fill("inventory", RESERVATIONS, lambda case, row: case.reservations.append(Reservation(*row)))
    for service in services():
        fill(
            service.alias, MESSAGES.format(outbox=service.outbox, inbox=service.inbox), _add_message
        )
    _mark_forgotten(found.values())
    return list(found.values())


def _add_message(case: Case, row: tuple[Any, ...]) -> None:
    event, _, name, step, *_ = row
    if event is None:
        case.steps.append(StepState(step, name))
    else:
        case.events.append(Event(*row))


def _mark_forgotten(found: Iterable[Case]) -> None:
    before = _forgotten_before()
    for case in found:
        case.remembered = before is None or case.order.created_at >= before


def _forgotten_before() -> datetime | None:
    marks = [
        fetch(s.alias, FORGOTTEN_BEFORE.format(watermark=s.watermark))[0][0] for s in services()
    ]
    return max((mark for mark in marks if mark is not None), default=None)
