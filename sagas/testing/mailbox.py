"""The messages of one saga, taken from the tables of its services instead of from a broker."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

import msgspec
from msgspec.structs import replace

from sagas import sql
from sagas.definition.messages import Message, OutboxRow, TimelineEntry
from sagas.definition.plan import Plan
from sagas.storage import outbox
from sagas.storage.inbox import StoredMessage
from sagas.storage.registry import Service, get_service, service_of_step
from sagas.storage.signals import EARLY

__all__ = [
    "Delivery",
    "EntryDelivery",
    "InboxState",
    "Mailbox",
    "StepDelivery",
    "TakenRow",
    "deliveries_of",
]

# The states of all steps of a saga in one service, in the order of their last change. A row that is
# only an early signal belongs to a step that has not begun.
STATES = """
SELECT step, state, attempts, error, updated_at
  FROM {inbox} i WHERE saga = %(saga)s AND NOT ({early}) ORDER BY updated_at, id
"""

# Open steps whose message the service keeps. A parked row is due in the year 9999. A wait without a
# signal stays: a story lets it expire where it says so.
OPEN = """
UPDATE {inbox} SET due_at = clock_timestamp(), send_at = clock_timestamp()
 WHERE saga = %(saga)s AND state IN ('started', 'waiting') AND message IS NOT NULL
   AND due_at < timestamptz '9000-01-01'
   AND (expires_at IS NULL OR expires_at <= clock_timestamp() OR signal IS NOT NULL)
RETURNING step, attempts, message::text
"""

EXPIRE = """
UPDATE {inbox} SET expires_at = clock_timestamp()
 WHERE saga = %(saga)s AND step = %(step)s AND expires_at > clock_timestamp()
   AND state IN ('started', 'waiting', 'held')
"""

FINAL = ("done", "refused")

_stored_decoder = msgspec.json.Decoder(StoredMessage)


class InboxState(NamedTuple):
    """The state of one step of the saga. Each run of the step changes `changed_at`."""

    state: str
    attempts: int
    error: str
    changed_at: datetime

    @property
    def is_final(self) -> bool:
        """Whether nothing changes this state any more."""
        return self.state in FINAL


class StepDelivery(NamedTuple):
    """A message to a step."""

    step: str
    plan: Plan
    message: Message


class EntryDelivery(NamedTuple):
    """An event on its way to the timeline of the saga's home."""

    home: str
    entry: TimelineEntry


Delivery: TypeAlias = StepDelivery | EntryDelivery


class TakenRow(NamedTuple):
    """An outbox row, and the name of the service that wrote it."""

    service: str
    row: OutboxRow


class Mailbox:
    """Takes the messages of one saga from the outboxes and inboxes of the plan's services.

    A row that was sent before is taken too, unless its step is over: its message may be lost.
    """

    def __init__(self, saga: UUID, plan: Plan) -> None:
        self._saga = saga
        self._services = [get_service(name) for name in sorted(plan.services())]
        over = [step for step, found in self.states().items() if found.is_final]
        self._taken = {
            row.id
            for _, row in self._rows()
            if row.target and all(step in over for step in row.recipients())
        }

    def take_new(self) -> list[TakenRow]:
        """Take the outbox rows that were not taken before, and mark them as published."""
        found = [(service, row) for service, row in self._rows() if row.id not in self._taken]
        for service, row in found:
            self._taken.add(row.id)
            outbox.mark_published(service, [row])
        return [TakenRow(service.name, row) for service, row in found]

    def take_open(self) -> list[StepDelivery]:
        """Let time pass: make all open steps of the saga due, and return their messages."""
        return [delivery for service in self._services for delivery in self._open_at(service)]

    def expire(self, step: str) -> bool:
        """Let the time of a wait run out; return False if it is not open."""
        service = service_of_step(step)
        statement = EXPIRE.format(inbox=service.inbox)
        return bool(sql.run(service.alias, statement, {"saga": self._saga, "step": step}))

    def states(self) -> dict[str, InboxState]:
        """Return the state of each step that has an inbox row."""
        return {
            step: InboxState(*columns)
            for service in self._services
            for step, *columns in sql.fetch(
                service.alias, STATES.format(inbox=service.inbox, early=EARLY), {"saga": self._saga}
            )
        }

    def _rows(self) -> Iterator[tuple[Service, OutboxRow]]:
        for service in self._services:
            for row in outbox.of_saga(service, self._saga):
                yield service, row

    def _open_at(self, service: Service) -> Iterator[StepDelivery]:
        statement = OPEN.format(inbox=service.inbox)
        for step, attempts, text in sql.fetch(service.alias, statement, {"saga": self._saga}):
            stored = _stored_decoder.decode(text)
            yield StepDelivery(step, stored.plan, replace(stored.message, attempt=attempts))


def deliveries_of(taken: Sequence[TakenRow]) -> Iterator[Delivery]:
    """Yield the deliveries that outbox rows cause: an event for the timeline, then the message."""
    for service, row in taken:
        if not row.begins:  # the start of the saga has recorded its first event
            yield EntryDelivery(row.plan.home, row.entry(service))
        for step in row.recipients():
            yield StepDelivery(step, row.plan, row.message())
