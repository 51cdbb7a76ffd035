"""The snapshots of sagas: every row that the databases hold about one saga, such as an order.

The checks of single sagas read them, and nothing else.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from payments.gateways.refund_keys import is_key_of
from sagas.definition.events import is_notice, is_refusal
from sagas.definition.plan import Plan
from sagas.kinds import SagaKind
from sagas.models import Inbox, TrackedSaga

__all__ = [
    "FINAL",
    "Event",
    "InboxRow",
    "Line",
    "Movement",
    "Order",
    "OrderSnapshot",
    "PartialRefund",
    "Payment",
    "Reservation",
    "SagaSnapshot",
    "TimelineRow",
    "Tracked",
]

FINAL = frozenset({Inbox.State.DONE.value, Inbox.State.REFUSED.value})


class Order(NamedTuple):
    """A row of the orders table. `amount` is in minor units of `currency`."""

    id: UUID
    status: str
    amount: int
    currency: str
    plan: Plan
    created_at: datetime
    ended: bool


class Line(NamedTuple):
    """An order line: the quantity ordered of one SKU."""

    sku: str
    quantity: int


class Payment(NamedTuple):
    """A payment as the payments service recorded it. Amounts are in minor units.

    `captured` is 0 before a capture. `disputed` is withdrawn by open and lost disputes. A person
    has paid `paid_otherwise` to the customer, and the gateway still has it.
    """

    status: str
    amount: int
    captured: int
    refunded: int
    owed: int
    disputed: int
    dispute_status: str
    currency: str
    charge_id: str | None
    paid_otherwise: int = 0


class PartialRefund(NamedTuple):
    """A refund of a part of a payment, for the saga with this id. Amounts are in minor units.

    `refunded` was given back under `key`. The customer has `covered` in another way.
    """

    id: UUID
    status: str
    amount: int
    refunded: int
    covered: int
    currency: str
    key: str


class Movement(NamedTuple):
    """A movement of money in the gateway's ledger. The amount is in minor units.

    `kind`: `capture` and `dispute_return` brought money to us; `refund` and `dispute` took it from
    us. `key` is the idempotency key of a refund of ours.
    """

    kind: str
    charge_id: str | None
    amount: int
    currency: str
    key: str = ""

    @property
    def kept(self) -> int:
        """The amount that came to us, negative if it went from us."""
        return self.amount if self.kind in ("capture", "dispute_return") else -self.amount


class Reservation(NamedTuple):
    """Stock that inventory holds, released or shipped for the order."""

    sku: str
    quantity: int
    state: str


class Event(NamedTuple):
    """An outbox row. `step` wrote it, and `target` is the step that receives it.

    `step` is empty for the event that starts a path through the plan. `unsent`: the row has been
    due for longer than a running relay would leave it.
    """

    id: UUID
    seq: int
    type: str
    step: str
    target: str | None
    unsent: bool

    @property
    def is_change(self) -> bool:
        """Whether the event reports a change, not a step that is still in progress."""
        return not is_notice(self.type)

    @property
    def is_refusal(self) -> bool:
        """Whether the event is the refusal of a step. A wait may have several."""
        return bool(self.step) and is_refusal(self.type)


class InboxRow(NamedTuple):
    """An inbox row: the state of one step."""

    step: str
    state: str


class TimelineRow(NamedTuple):
    """A row of the timeline."""

    id: UUID
    seq: int
    type: str


class Tracked(NamedTuple):
    """The tracked row of a saga that is no order."""

    id: UUID
    plan: Plan
    created_at: datetime
    ended: bool


@dataclass(slots=True)
class SagaSnapshot:
    """One saga of any kind, with its messages and its timeline.

    `row` is an `Order` or a `Tracked`. `has_messages`: no service has purged the saga's messages.
    `kind` is what its domain says of it; None for an order. `tracked` is the row as the domain's
    invariants read it, if it has any.
    """

    row: Any
    has_messages: bool = True
    events: list[Event] = field(default_factory=list)
    steps: list[InboxRow] = field(default_factory=list)
    timeline: list[TimelineRow] = field(default_factory=list)
    kind: SagaKind | None = None
    tracked: TrackedSaga | None = None

    @property
    def id(self) -> UUID:
        """The id of the saga."""
        saga: UUID = self.row.id
        return saga

    @property
    def plan(self) -> Plan:
        """The plan of the saga."""
        plan: Plan = self.row.plan
        return plan

    @property
    def ended(self) -> bool:
        """Whether the saga has ended."""
        return bool(self.row.ended)

    @property
    def cancelled(self) -> bool:
        """Whether the saga has ended by its abort step, which undoes it."""
        return self.ended and self.state(self.plan.abort) == Inbox.State.DONE

    @property
    def fulfilled(self) -> bool:
        """Whether the saga has ended by its last step."""
        return self.ended and not self.cancelled

    def state(self, step: str | None) -> str | None:
        """Return the state of a step, or None if the step has no inbox row."""
        return next((row.state for row in self.steps if row.step == step), None)

    def changes(self) -> Iterator[Event]:
        """Yield the events that report a change."""
        return (event for event in self.events if event.is_change)

    def types(self) -> set[str]:
        """Return the types of all events of the saga."""
        return {event.type for event in self.events}

    def final_path(self) -> list[Event]:
        """Return the events that led to the end of the saga, first to last.

        Each event was written by the step that received the event before it. The first event has
        no step, unless an event is missing.
        """
        plan = self.plan
        last_step = plan.last if self.fulfilled else plan.abort
        endings = (
            event for event in self.changes() if event.step == last_step and event.target is None
        )
        path = list(endings)[:1]

        while path and path[0].step and (before := self._event_before(path[0])):
            path.insert(0, before)
        return path

    def _event_before(self, event: Event) -> Event | None:
        candidates = (
            other
            for other in self.events
            if other.target
            and event.step in self.plan.recipients(other.target)
            and other.seq == event.seq - 1
        )
        return next(candidates, None)


@dataclass(slots=True)
class OrderSnapshot(SagaSnapshot):
    """One order with its rows in all services."""

    lines: list[Line] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    reservations: list[Reservation] = field(default_factory=list)
    parts: list[PartialRefund] = field(default_factory=list)
    parts_after: list[PartialRefund] = field(default_factory=list)

    @property
    def order(self) -> Order:
        """The order itself."""
        order: Order = self.row
        return order

    @property
    def fulfilled(self) -> bool:
        """Whether the order is fulfilled."""
        return self.order.status == "fulfilled"

    @property
    def cancelled(self) -> bool:
        """Whether the order is cancelled."""
        return self.order.status == "cancelled"

    @property
    def captured(self) -> int:
        """The captured amount, in minor units."""
        return self._sum("capture")

    @property
    def refunded(self) -> int:
        """The refunded amount, in minor units."""
        return self._sum("refund")

    @property
    def disputed(self) -> int:
        """The amount that disputes have withdrawn and not returned, in minor units."""
        return self._sum("dispute") - self._sum("dispute_return")

    def open_parts(self) -> list[PartialRefund]:
        """Return the parts that are not given back yet, or that changed during the audit.

        `parts` were read before the ledger, and `parts_after` after it. The follow-up may be making
        the refund of a failed part once more.
        """
        settled = {part for part in self.parts if part.status == "succeeded"}
        return [part for part in self.parts_after if part not in settled]

    def given_back(self, part: PartialRefund) -> int:
        """Return the amount that the ledger has given back under the key of a part."""
        return sum(
            movement.amount
            for movement in self.movements
            if movement.kind == "refund" and is_key_of(movement.key, part.key)
        )

    @property
    def not_recorded_yet(self) -> int:
        """The refunds of open parts that payments may not have recorded yet, in minor units."""
        recorded = sum(payment.refunded for payment in self.payments)
        most = sum(self.given_back(part) for part in self.open_parts())
        return min(max(self.refunded - recorded, 0), most)

    @property
    def kept(self) -> int:
        """The money that we have of the order, in minor units."""
        return sum(movement.kept for movement in self.movements)

    def _sum(self, kind: str) -> int:
        return sum(movement.amount for movement in self.movements if movement.kind == kind)
