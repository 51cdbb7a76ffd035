"""A case: everything the three databases say of one order. What the checks of single orders look
at.
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
    "Case",
    "Event",
    "Line",
    "Movement",
    "Order",
    "Payment",
    "Recorded",
    "Reservation",
    "StepState",
]

FINAL = frozenset({Inbox.State.DONE.value, Inbox.State.REFUSED.value})


class Order(NamedTuple):
    """The order itself. `amount` is in minor units of `currency`."""

    id: UUID
    status: str
    amount: int
    currency: str
    plan: Plan
    created_at: datetime
    ended: bool


class Line(NamedTuple):
    """What the order wants of one SKU."""

    sku: str
    quantity: int


class Payment(NamedTuple):
    """What payments knows of the order's money. Amounts in minor units."""

    status: str
    amount: int
    refunded_amount: int
    currency: str
    charge_id: str | None


class Movement(NamedTuple):
    """What the gateway says it moved: a capture or a refund. Minor units."""

    kind: str
    charge_id: str | None
    amount: int
    currency: str


class Reservation(NamedTuple):
    """What inventory holds, held or shipped for the order."""

    sku: str
    quantity: int
    state: str


class Event(NamedTuple):
    """A row of an outbox. `step` wrote it (empty at the start of a walk), `target` is whom it goes
    to.

    `unsent`: it has been due for longer than any relay that runs would leave it.
    """

    id: UUID
    seq: int
    type: str
    step: str
    target: str | None
    unsent: bool

    @property
    def is_news(self) -> bool:
        """Whether it tells of a change, rather than of a step that is still under way."""
        return not is_notice(self.type)

    @property
    def is_refusal(self) -> bool:
        """Whether it is its step's way of saying no."""
        known = definition(self.step)
        return known is not None and known.refusal is not None and known.refusal.type == self.type


class StepState(NamedTuple):
    """A row of an inbox."""

    step: str
    state: str


class Recorded(NamedTuple):
    """A row of the timeline."""

    id: UUID
    seq: int
    type: str


@dataclass(slots=True)
class Case:
    """One order, and all that is known of it. `remembered`: no service has purged the messages
    of its saga.
    """

    order: Order
    remembered: bool = True
    lines: list[Line] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    reservations: list[Reservation] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    steps: list[StepState] = field(default_factory=list)
    timeline: list[Recorded] = field(default_factory=list)

    @property
    def fulfilled(self) -> bool:
        """Whether the order is fulfilled."""
        return self.order.status == "fulfilled"

    @property
    def cancelled(self) -> bool:
        """Whether the order is cancelled."""
        return self.order.status == "cancelled"

    @property
    def kept(self) -> int:
        """What was captured and not refunded, in minor units."""
        return self.captured - self.refunded

    @property
    def captured(self) -> int:
        """What was captured, in minor units."""
        return sum(movement.amount for movement in self.movements if movement.kind == "capture")

    @property
    def refunded(self) -> int:
        """What was refunded, in minor units."""
        return sum(movement.amount for movement in self.movements if movement.kind == "refund")

    def state(self, step: str | None) -> str | None:
        """Return the state of a step, or None where there is no row of it."""
        return next((row.state for row in self.steps if row.step == step), None)

    def news(self) -> Iterator[Event]:
        """Yield the events that tell of a change."""
        return (event for event in self.events if event.is_news)

    def types(self) -> set[str]:
        """Return the types of all events of the order."""
        return {event.type for event in self.events}

    def last_walk(self) -> list[Event]:
        """Return the events that led to the end of the saga, first to last.

        Each was written by the step that the one before it went to. The first has no step, if none
        is missing.
        """
        plan = self.order.plan
        last = plan.last if self.fulfilled else plan.abort
        walk = [event for event in self.news() if event.step == last and event.target is None][:1]
        while walk and walk[0].step and (before := self._before(walk[0])):
            walk.insert(0, before)
        return walk

    def _before(self, event: Event) -> Event | None:
        asked = (
            other
            for other in self.events
            if other.target == event.step and other.seq == event.seq - 1
        )
        return next(asked, None)
