"""An order's snapshot: every row that the three databases hold about one order.

The checks of single orders read it, and nothing else.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sagas.definition.events import is_notice
from sagas.definition.handlers import definition
from sagas.definition.plan import Plan
from sagas.models import Inbox

__all__ = [
    "FINAL",
    "Event",
    "InboxRow",
    "Line",
    "Movement",
    "Order",
    "OrderSnapshot",
    "Payment",
    "Reservation",
    "TimelineRow",
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

    `captured` is 0 before a capture. `disputed` is withdrawn by open and lost disputes.
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


class Movement(NamedTuple):
    """A movement of money in the gateway's ledger. The amount is in minor units.

    `kind`: `capture` and `dispute_return` brought money to us; `refund` and `dispute` took it from
    us.
    """

    kind: str
    charge_id: str | None
    amount: int
    currency: str

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
        """Whether the event is the refusal that its step declares."""
        known = definition(self.step)
        return known is not None and known.refusal is not None and known.refusal.type == self.type


class InboxRow(NamedTuple):
    """An inbox row: the state of one step."""

    step: str
    state: str


class TimelineRow(NamedTuple):
    """A row of the timeline."""

    id: UUID
    seq: int
    type: str


@dataclass(slots=True)
class OrderSnapshot:
    """One order with its rows in all services.

    `has_messages`: no service has purged the messages of the order's saga.
    """

    order: Order
    has_messages: bool = True
    lines: list[Line] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    reservations: list[Reservation] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    steps: list[InboxRow] = field(default_factory=list)
    timeline: list[TimelineRow] = field(default_factory=list)

    @property
    def fulfilled(self) -> bool:
        return self.order.status == "fulfilled"

    @property
    def cancelled(self) -> bool:
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

    @property
    def kept(self) -> int:
        """The money that we have of the order, in minor units."""
        return sum(movement.kept for movement in self.movements)

    def state(self, step: str | None) -> str | None:
        """Return the state of a step, or None if the step has no inbox row."""
        return next((row.state for row in self.steps if row.step == step), None)

    def changes(self) -> Iterator[Event]:
        """Yield the events that report a change."""
        return (event for event in self.events if event.is_change)

    def types(self) -> set[str]:
        """Return the types of all events of the order."""
        return {event.type for event in self.events}

    def final_path(self) -> list[Event]:
        """Return the events that led to the end of the saga, first to last.

        Each event was written by the step that received the event before it. The first event has
        no step, unless an event is missing.
        """
        plan = self.order.plan
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
            if other.target == event.step and other.seq == event.seq - 1
        )
        return next(candidates, None)

    def _sum(self, kind: str) -> int:
        return sum(movement.amount for movement in self.movements if movement.kind == kind)
