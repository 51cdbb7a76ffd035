"""Rebuilds the orders from the messages that reached payments and inventory.

Every message carries the context of its saga: the amount, the lines and the payment method. Its
headers have the customer and the idempotency key. An order whose first message left no row in any
other service cannot be rebuilt.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.contrib.auth import get_user_model
from django.db import transaction
from msgspec.structs import replace
from rest_framework.renderers import JSONRenderer

from orders.api.serializers import OrderSerializer
from orders.events import LineOrdered, OrderCancelling, OrderCreated, OrderUnfulfillable
from orders.models import Order, OrderLine
from recovery.deliveries import delivery
from recovery.journal import FINAL, HOME, Event, Journal
from recovery.proofs import received
from recovery.rows import InboxState, RebuiltEvent, set_states, write
from recovery.writes import Note, Plan, Write
from sagas import sql
from sagas.definition.messages import TimelineEntry, to_json
from sagas.definition.plan import Plan as SagaPlan
from sagas.definition.plan import service_name
from sagas.definition.results import RESULTS
from sagas.ids import uuid7
from sagas.storage import timeline
from sagas.storage.registry import get_home

__all__ = ["OWNER", "plan_orders"]

# The user that gets the orders whose customer is not known. It cannot log in.
OWNER = "recovered-orders"

# Fields that the engine adds to the context after the first event.
ADDED = frozenset({"failure", RESULTS})

REBUILT = "order rebuilt"
REQUEST = "lost message of orders rebuilt"
RECORDED = "event recorded in the timeline"
BARRED = "pivot barred"
UNKNOWN_ORDER = "order that cannot be rebuilt"
UNKNOWN_OWNER = "order whose customer is not known"

INSERT_ORDERS = """
WITH placed AS (
  INSERT INTO orders_order (id, user_id, status, amount, currency, payment_method, plan, created_at,
                            updated_at, rescue_at, redrives, needs_attention, failure_code,
                            failure_detail)
  SELECT r.id, r.owner, 'pending', r.amount, r.currency, r.payment_method, r.plan, r.at,
         clock_timestamp(), clock_timestamp(), 0, false, '', ''
    FROM jsonb_to_recordset(%(rows)s::jsonb)
      AS r(id uuid, owner int, amount bigint, currency text, payment_method text, plan jsonb,
           at timestamptz)
   ORDER BY r.id
  ON CONFLICT (id) DO NOTHING
  RETURNING id
)
INSERT INTO orders_orderline (order_id, sku, quantity, unit_amount)
SELECT r.id, line.sku, line.quantity, line.unit_amount
  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(id uuid, lines jsonb),
       LATERAL jsonb_to_recordset(r.lines) AS line(sku text, quantity int, unit_amount bigint)
 WHERE r.id IN (SELECT id FROM placed)
"""


# The customer repeats the request with the key if the answer was lost. The order is then found.
INSERT_KEYS = """
INSERT INTO orders_idempotencykey (user_id, key, fingerprint, order_id, body, created_at)
SELECT r.owner, r.key, r.fingerprint, r.id, r.body, r.at
  FROM jsonb_to_recordset(%(rows)s::jsonb)
    AS r(id uuid, owner int, key text, fingerprint text, body text, at timestamptz)
ON CONFLICT (user_id, key) DO NOTHING
"""


class OrderToInsert(msgspec.Struct, frozen=True, kw_only=True):
    """An order with its lines. `owner` is the id of its customer; 0 is the user `OWNER`.

    `key` and `fingerprint` are of the request that placed it; empty if they are not known.
    """

    id: UUID
    owner: int
    key: str
    fingerprint: str
    amount: int
    currency: str
    payment_method: str
    plan: SagaPlan
    at: datetime
    lines: tuple[LineOrdered, ...]


def plan_orders(journals: Sequence[Journal]) -> Plan:
    """Plan the rows of orders for a page of sagas.

    The rows of an order come in three rounds, because each follows from the rows before. The first
    round inserts the order, the second its events and lost messages, the third runs its steps.
    """
    plan = Plan()
    users = _existing_users(journals)
    for journal in journals:
        if journal.order is None:
            _plan_order(plan, journal, users)
        elif not _plan_events(plan, journal):
            _plan_steps(plan, journal)
    return plan


def _plan_order(plan: Plan, journal: Journal, users: set[int]) -> None:
    created = _created(journal)
    if created is None or journal.plan is None or journal.started_at is None:
        detail = "Its rows in payments and inventory do not have its lines. Ask the customer."
        plan.notes.append(
            Note(kind=UNKNOWN_ORDER, subject=str(journal.saga), detail=detail, blocking=True)
        )
        return

    owner = _owner(journal, users)
    if not owner:
        method = created.payment_method or "no payment method"
        detail = f"{created.amount} {created.currency}, {method}; owner {OWNER}"
        plan.notes.append(Note(kind=UNKNOWN_OWNER, subject=str(journal.saga), detail=detail))

    row = OrderToInsert(
        id=journal.saga,
        owner=owner,
        key=_headers(journal).get("idempotency_key", ""),
        fingerprint=_headers(journal).get("fingerprint", ""),
        amount=created.amount,
        currency=created.currency,
        payment_method=created.payment_method,
        plan=journal.plan,
        at=journal.started_at,
        lines=created.lines,
    )
    detail = f"{created.amount} {created.currency}, {len(created.lines)} lines"
    plan.writes.append(
        Write(kind=REBUILT, subject=str(journal.saga), detail=detail, apply=_insert, row=row)
    )


def _plan_events(plan: Plan, journal: Journal) -> bool:
    """Plan the first event, the lost requests and the timeline; tell whether any was missing."""
    before = len(plan.writes)
    if journal.purged:
        return False

    for event in _missing_requests(journal):
        plan.writes.append(_request(journal, event))
    for event in journal.events:
        if event.stored and not event.recorded:
            entry = _entry(journal, event)
            detail = f"{event.type} of {event.service}"
            plan.writes.append(
                Write(
                    kind=RECORDED,
                    subject=str(journal.saga),
                    detail=detail,
                    apply=_record,
                    row=entry,
                )
            )
    return len(plan.writes) > before


def _plan_steps(plan: Plan, journal: Journal) -> None:
    """Plan the steps of orders that were done before: the other services show their results.

    A step without such a result is left to the workers, because a customer may still cancel.
    """
    saga_plan = journal.plan
    if journal.purged or saga_plan is None:
        return

    if row := _refused_pivot(journal, saga_plan):
        plan.writes.append(
            Write(
                kind=BARRED,
                subject=str(journal.saga),
                detail=f"{row.step}: {row.error}",
                apply=set_states(HOME),
                row=row,
            )
        )
        return

    for event in journal.requested(HOME):
        step = event.target
        if step is None or journal.states.get(step) in FINAL:
            continue
        after = saga_plan.after(step)
        if step == saga_plan.abort or (after and journal.has_reached(after)):
            plan.writes.append(delivery(journal, event, step))


def _missing_requests(journal: Journal) -> list[Event]:
    """Return the lost events of orders whose messages other services have received."""
    plan, started_at = journal.plan, journal.started_at
    context = _context(journal)
    if plan is None or started_at is None or context is None:
        return []

    events: dict[tuple[str, int], Event] = {}
    base = {name: value for name, value in context.items() if name not in ADDED}
    if journal.first is None:
        events[plan.first, 0] = _event(journal, OrderCreated.type, 0, "", plan.first, base)

    for step, seq, request_context in received(journal, HOME):
        if journal.request(step, seq) or (step, seq) in events:
            continue
        if event := _lost_request(journal, plan, step, seq, request_context):
            events[step, seq] = event
    return list(events.values())


def _lost_request(
    journal: Journal, plan: SagaPlan, step: str, seq: int, context: dict[str, Any]
) -> Event | None:
    """Return the event of orders that requested a step: a cancel, or a refused fulfilment.

    A request for a step after `orders.fulfil` is not rebuilt: the step runs again and writes it.
    """
    failure = context.get("failure") or {}
    if plan.first == step and seq == 0:
        return None
    is_cancel = step in (plan.bar, plan.after_cancel())
    if not is_cancel or not failure:
        return None

    refused = failure.get("code") == OrderUnfulfillable().code
    type_ = OrderUnfulfillable.type if refused else OrderCancelling.type
    by = "orders.fulfil" if refused else ""
    return _event(journal, type_, seq, by, step, context, failure)


def _event(  # noqa: PLR0913, PLR0917  the columns of one row
    journal: Journal,
    type_: str,
    seq: int,
    step: str,
    target: str,
    context: dict[str, Any],
    data: dict[str, Any] | None = None,
) -> Event:
    return Event(
        id=uuid7(),
        seq=seq,
        type=type_,
        service=HOME,
        step=step,
        attempt=1,
        at=journal.started_at or datetime.min,  # noqa: DTZ901  the callers know the start
        data=context if data is None else data,
        target=target,
        context=context,
        headers=_headers(journal),
    )


def _request(journal: Journal, event: Event) -> Write:
    row = RebuiltEvent(
        id=event.id,
        saga=journal.saga,
        started_at=journal.started_at,
        seq=event.seq,
        type=event.type,
        step=event.step,
        attempt=event.attempt,
        data=event.data,
        context=event.context or {},
        plan=journal.plan,  # type: ignore[arg-type]  # the caller has checked it
        target=event.target,
        headers=event.headers,
        at=event.at,
        sent=True,
    )
    detail = f"{event.type} at position {event.seq}, to {event.target}"
    return Write(kind=REQUEST, subject=str(journal.saga), detail=detail, apply=write(HOME), row=row)


def _refused_pivot(journal: Journal, plan: SagaPlan) -> InboxState | None:
    """Return the row that bars a pivot of orders which a lost cancel or refusal had barred."""
    pivot = plan.pivot
    if pivot is None or service_name(pivot.name) != HOME or journal.states.get(pivot.name) in FINAL:
        return None
    for event in journal.changes(HOME):
        if event.seq > 0 and event.step in ("", pivot.name) and event.target:
            if event.step == pivot.name and not event.is_refusal:
                continue
            return InboxState(
                saga=journal.saga,
                started_at=journal.started_at,
                step=pivot.name,
                state="refused",
                error=str(event.data.get("detail", "")),
            )
    return None


def _entry(journal: Journal, event: Event) -> TimelineEntry:
    plan = journal.plan
    ends = {plan.last, plan.abort} if plan else set()
    return TimelineEntry(
        id=event.id,
        saga=journal.saga,
        seq=event.seq,
        type=event.type,
        service=event.service,
        step=event.step,
        attempt=event.attempt,
        at=event.at,
        detail=event.data,
        ends=event.is_change and event.target is None and event.step in ends,
    )


def _created(journal: Journal) -> OrderCreated | None:
    context = _context(journal)
    if context is None:
        return None
    try:
        created = msgspec.convert(context, OrderCreated)
    except msgspec.ValidationError:
        return None
    return created if created.lines and created.amount >= 0 else None


def _context(journal: Journal) -> dict[str, Any] | None:
    """Return the context of the saga's messages, from any row that has it."""
    stored = [event.context for event in journal.events if event.context]
    kept = [message.message.context for message in journal.messages.values()]
    return next(iter([*stored, *kept]), None)


def _headers(journal: Journal) -> dict[str, str]:
    stored = [event.headers for event in journal.events if event.headers]
    kept = [message.message.headers for message in journal.messages.values()]
    return next(iter([*stored, *kept]), {})


def _owner(journal: Journal, users: set[int]) -> int:
    owner = _headers(journal).get("customer", "")
    return int(owner) if owner.isdecimal() and int(owner) in users else 0


def _existing_users(journals: Sequence[Journal]) -> set[int]:
    named = {_headers(journal).get("customer", "") for journal in journals if not journal.order}
    ids = [int(name) for name in named if name.isdecimal()]
    return set(get_user_model().objects.filter(id__in=ids).values_list("id", flat=True))


def _insert(rows: Sequence[OrderToInsert]) -> None:
    unknown = 0 if all(row.owner for row in rows) else _unknown_owner()
    owned = [row if row.owner else replace(row, owner=unknown) for row in rows]
    keys = [_key(row) for row in rows if row.owner and row.key]
    with transaction.atomic(using="default"):
        sql.run("default", INSERT_ORDERS, {"rows": to_json(owned)})
        sql.run("default", INSERT_KEYS, {"rows": sql.json_rows(keys)})


def _key(row: OrderToInsert) -> dict[str, Any]:
    """Return the row of an idempotency key, with the answer that the request got."""
    order = Order(
        id=row.id,
        user_id=row.owner,
        amount=row.amount,
        currency=row.currency,
        payment_method=row.payment_method,
        created_at=row.at,
        updated_at=row.at,
    )
    order.placed_lines = [
        OrderLine(order=order, sku=line.sku, quantity=line.quantity, unit_amount=line.unit_amount)
        for line in row.lines
    ]
    body = JSONRenderer().render(OrderSerializer(order).data).decode()
    return {
        "id": row.id,
        "owner": row.owner,
        "key": row.key,
        "fingerprint": row.fingerprint,
        "body": body,
        "at": row.at,
    }


def _unknown_owner() -> int:
    users = get_user_model().objects
    user, is_new = users.get_or_create(username=OWNER, defaults={"is_active": False})
    if is_new:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    return int(user.pk)


def _record(rows: Sequence[TimelineEntry]) -> None:
    timeline.record(get_home(HOME), rows)
