"""The journal of a saga: all that the three databases still know about it.

Every event of a saga is in the outbox of the service that wrote it, and in the timeline at the
saga's home. Most sagas are orders; others, such as returns, have a home of their own. So an event
that one database has lost is still in the other place. The rows of the inbox follow from the
events.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from audit.databases import fetch
from audit.messages import decode_plan
from sagas.definition.events import is_notice, is_refusal
from sagas.definition.plan import Plan, service_name
from sagas.kinds import SagaKind, all_kinds
from sagas.storage.inbox import StoredMessage
from sagas.storage.registry import Home, Service, get_home, get_service
from services import NAMES

__all__ = [
    "FINAL",
    "HOME",
    "Event",
    "Journal",
    "OrderRow",
    "TrackedRow",
    "all_services",
    "load_journals",
    "other_kinds",
]

FINAL = frozenset({"done", "refused"})

# The home of every order saga. Sagas of other homes have no row in `Journal.order`.
HOME = "orders"

ORDERS = """
SELECT id, user_id, status, amount, currency, payment_method, plan::text, created_at, ended_at
  FROM orders_order WHERE id = ANY(%(sagas)s::uuid[])
"""

LINES = """
SELECT order_id, sku, quantity FROM orders_orderline WHERE order_id = ANY(%(sagas)s::uuid[])
 ORDER BY order_id, sku
"""

TIMELINE = """
SELECT saga, id, seq, type, service, step, attempt, at, detail::text
  FROM {timeline} WHERE saga = ANY(%(sagas)s::uuid[])
"""

TRACKED = """
SELECT {key}, plan::text, created_at, ended_at FROM {table} WHERE {key} = ANY(%(sagas)s::uuid[])
"""

OUTBOX = """
SELECT saga, id, seq, type, step, step_attempt, created_at, data::text, target, context::text,
       plan::text, headers::text, saga_started_at
  FROM {outbox} WHERE saga = ANY(%(sagas)s::uuid[])
"""

INBOX = """
SELECT saga, step, state, message::text, saga_started_at
  FROM {inbox} WHERE saga = ANY(%(sagas)s::uuid[])
"""

# The row with an empty home is of a release that did not tell the homes apart.
WATERMARKS = "SELECT before, kept FROM {watermark} WHERE home IN ('', %(home)s)"


class OrderRow(msgspec.Struct, frozen=True):
    """A row of the orders table. `amount` is in minor units of `currency`."""

    id: UUID
    user_id: int
    status: str
    amount: int
    currency: str
    payment_method: str
    plan: Plan
    created_at: datetime
    ended_at: datetime | None


class TrackedRow(msgspec.Struct, frozen=True):
    """The tracked row of a saga that is no order."""

    plan: Plan
    created_at: datetime
    ended_at: datetime | None


class Event(msgspec.Struct, kw_only=True):
    """One event of a saga.

    `stored`: its row is in the outbox of its service. `recorded`: it is in the timeline. `proven`:
    neither is known, but a later message shows that there was such an event. The target, the
    context and the headers are known from the row, or from the later message.
    """

    id: UUID
    seq: int
    type: str
    service: str
    step: str
    attempt: int
    at: datetime
    data: dict[str, Any]
    target: str | None = None
    context: dict[str, Any] | None = None
    headers: dict[str, str] = {}
    stored: bool = False
    recorded: bool = False
    proven: bool = False

    @property
    def is_change(self) -> bool:
        """Whether the event reports a change, not a step that is still in progress."""
        return not is_notice(self.type)

    @property
    def is_refusal(self) -> bool:
        """Whether the event is the refusal of a step. A wait may have several."""
        return bool(self.step) and is_refusal(self.type)

    @property
    def subject(self) -> str:
        """The change that the event reports. No saga has two events with the same subject."""
        return self.step or self.type


@dataclass
class Journal:
    """One saga: its order, its events in all services, and its inbox rows.

    `messages` has the messages that open inbox rows keep, by step. `purged`: retention has deleted
    the saga's messages.
    """

    saga: UUID
    order: OrderRow | None = None
    other: TrackedRow | None = None
    lines: list[tuple[str, int]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    messages: dict[str, StoredMessage] = field(default_factory=dict)
    started: datetime | None = None
    stored_plan: Plan | None = None
    purged: bool = False

    @property
    def plan(self) -> Plan | None:
        """The plan of the saga; None if no row has it."""
        if row := self.order or self.other:
            return row.plan
        stored = next((message.plan for message in self.messages.values()), None)
        return self.stored_plan or stored

    @property
    def started_at(self) -> datetime | None:
        """When the saga started; None if no row tells."""
        row = self.order or self.other
        return row.created_at if row else self.started

    @property
    def ended(self) -> bool:
        """Whether the saga has ended."""
        row = self.order or self.other
        return row is not None and row.ended_at is not None

    @property
    def home(self) -> str:
        """The home of the saga, as far as a row tells."""
        return self.plan.home if self.plan else HOME

    @property
    def first(self) -> Event | None:
        """The stored first event of the saga, which has its context."""
        return next((event for event in self.events if event.stored and event.seq == 0), None)

    def changes(self, service: str = "") -> list[Event]:
        """Return the events that report a change, of one service or of all, in their order."""
        found = (event for event in self.events if event.is_change)
        return sorted(
            (event for event in found if not service or event.service == service),
            key=lambda event: (event.seq, str(event.id)),
        )

    def event_of(self, step: str) -> Event | None:
        """Return the event that reports the result of a step, or None."""
        return next((event for event in self.changes() if event.step == step), None)

    def has_reached(self, step: str) -> bool:
        """Return whether a step has an inbox row or an event."""
        return step in self.states or self.event_of(step) is not None

    def request(self, step: str, seq: int) -> Event | None:
        """Return the event that requested a step and has this position, or None."""
        found = (event for event in self.events if (event.target, event.seq) == (step, seq))
        return next(found, None)

    def requested(self, service: str) -> Iterator[Event]:
        """Yield the stored events whose message goes to a step of a service."""
        for event in sorted(self.events, key=lambda event: event.seq):
            if event.stored and event.target and service_name(event.target) == service:
                yield event


def load_journals(sagas: Sequence[UUID]) -> list[Journal]:
    """Return the journals of some sagas, in the order of the ids.

    Raises `DatabaseUnavailable`.
    """
    journals = {saga: Journal(saga) for saga in sagas}
    params = {"sagas": list(sagas)}

    for row in fetch("default", ORDERS, params):
        saga, *columns = row
        columns[5] = decode_plan(columns[5])
        journals[saga].order = OrderRow(saga, *columns)
    for saga, sku, quantity in fetch("default", LINES, params):
        journals[saga].lines.append((sku, quantity))

    for kind in other_kinds():
        _add_tracked(journals, kind, params)

    for service in all_services():
        _add_outbox(journals, service, params)
        _add_inbox(journals, service, params)
    for home in {kind.home for kind in all_kinds()}:
        _add_timeline(journals, get_home(home), params)
    _mark_purged(journals.values())
    return list(journals.values())


def all_services() -> list[Service]:
    """Return all services: a saga of any home may take part in them."""
    return [get_service(name) for name in NAMES]


def other_kinds() -> list[SagaKind]:
    """Return the kinds of sagas that are no orders."""
    return [kind for kind in all_kinds() if kind.home != HOME]


def _add_tracked(
    journals: Mapping[UUID, Journal], kind: SagaKind, params: Mapping[str, Any]
) -> None:
    statement = TRACKED.format(key=kind.key, table=kind.table)
    for saga, plan, created_at, ended_at in fetch(get_home(kind.home).alias, statement, params):
        journals[saga].other = TrackedRow(decode_plan(plan), created_at, ended_at)


def _add_outbox(
    journals: Mapping[UUID, Journal], service: Service, params: Mapping[str, Any]
) -> None:
    for saga, *row in fetch(service.alias, OUTBOX.format(outbox=service.outbox), params):
        event_id, seq, type_, step, attempt, at, data, target, context, plan, headers, started = row
        journal = journals[saga]
        journal.stored_plan = journal.stored_plan or decode_plan(plan)
        journal.started = started
        journal.events.append(
            Event(
                id=event_id,
                seq=seq,
                type=type_,
                service=service.name,
                step=step,
                attempt=attempt,
                at=at,
                data=msgspec.json.decode(data),
                target=target,
                context=msgspec.json.decode(context),
                headers=msgspec.json.decode(headers),
                stored=True,
            )
        )


def _add_inbox(
    journals: Mapping[UUID, Journal], service: Service, params: Mapping[str, Any]
) -> None:
    for saga, step, state, message, started in fetch(
        service.alias, INBOX.format(inbox=service.inbox), params
    ):
        journal = journals[saga]
        journal.states[step] = state
        journal.started = started
        if message and message != "null":
            journal.messages[step] = msgspec.json.decode(message, type=StoredMessage)


def _add_timeline(journals: Mapping[UUID, Journal], home: Home, params: Mapping[str, Any]) -> None:
    statement = TIMELINE.format(timeline=home.timeline._meta.db_table)
    stored = {event.id: event for journal in journals.values() for event in journal.events}
    for saga, event_id, seq, type_, service, step, attempt, at, detail in fetch(
        home.alias, statement, params
    ):
        if event := stored.get(event_id):
            event.recorded = True
            continue
        journals[saga].events.append(
            Event(
                id=event_id,
                seq=seq,
                type=type_,
                service=service,
                step=step,
                attempt=attempt,
                at=at,
                data=msgspec.json.decode(detail),
                recorded=True,
            )
        )


def _mark_purged(journals: Iterable[Journal]) -> None:
    """Mark the sagas whose messages retention has deleted in any service."""
    by_home: dict[str, list[Journal]] = {}
    for journal in journals:
        by_home.setdefault(journal.home, []).append(journal)
    for home, sagas in by_home.items():
        _mark_purged_of(home, sagas)


def _mark_purged_of(home: str, journals: Iterable[Journal]) -> None:
    marks = [
        mark
        for service in all_services()
        for mark in fetch(
            service.alias, WATERMARKS.format(watermark=service.watermark), {"home": home}
        )
    ]
    before = max((mark for mark, _ in marks), default=None)
    kept = {saga for _, sagas in marks for saga in sagas}
    for journal in journals:
        started = journal.started_at
        if before and started and started < before and journal.saga not in kept:
            journal.purged = True
