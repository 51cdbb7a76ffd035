"""Messages that a lost database had received: they are delivered here, or become due again."""

from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

import msgspec
from django.conf import settings

from recovery.journal import FINAL, Event, Journal
from recovery.writes import Plan, Write
from sagas import sql
from sagas.definition.messages import Message
from sagas.definition.plan import Plan as SagaPlan
from sagas.execution import runner
from sagas.kinds import SagaKind, all_kinds
from sagas.storage import outbox
from sagas.storage.registry import get_home, get_service

__all__ = ["Request", "deliver", "delivery", "plan_deliveries", "republish_open"]

DELIVERED = "message delivered again"

OPEN_SAGAS = "SELECT {key} FROM {tracked} WHERE ended_at IS NULL ORDER BY {key}"

START_CLOCK = """
UPDATE {tracked} SET rescue_at = {stalled_at}, redrives = 0 WHERE {key} = ANY(%(sagas)s::uuid[])
"""

# Sagas whose rows are made due in one transaction.
BATCH = 500

T = TypeVar("T")


class Request(msgspec.Struct, frozen=True):
    """A message to a step, and the plan that it follows."""

    step: str
    plan: SagaPlan
    message: Message


def plan_deliveries(journal: Journal, service: str) -> Plan:
    """Plan the messages to a service's steps that have no final inbox row, of an ended saga.

    No re-drive touches a saga that has ended, so the step runs here. It asks the gateway under the
    same key, so its effect is not repeated. Open sagas are published again as a whole.
    """
    plan = Plan()
    if journal.purged or not journal.ended or _is_complete(journal):
        return plan

    for event in journal.requested(service):
        if event.target and journal.states.get(event.target) not in FINAL:
            plan.writes.append(delivery(journal, event, event.target))
    return plan


def delivery(journal: Journal, event: Event, step: str) -> Write:
    """Return the delivery of an event's message to a step."""
    message = Message(
        id=event.id,
        saga=journal.saga,
        started_at=_known(journal.started_at),
        seq=event.seq,
        context=event.context or {},
        headers=event.headers,
    )
    return Write(
        kind=DELIVERED,
        subject=str(journal.saga),
        detail=f"{event.type} to {step}",
        apply=deliver,
        row=Request(step, _known(journal.plan), message),
    )


def deliver(requests: Sequence[Request]) -> None:
    """Run the steps of some messages in this process, as a worker does. Raises `StepFailed`."""
    groups: dict[tuple[str, SagaPlan], list[Message]] = defaultdict(list)
    for request in requests:
        groups[request.step, request.plan].append(request.message)
    for (step, plan), messages in groups.items():
        runner.run(step, plan, messages)


def republish_open(services: Sequence[str]) -> int:
    """Make all messages of all open sagas due again; return the number of sagas.

    Receivers that have done their step ignore them.
    """
    return sum(_republish_open(kind, services) for kind in all_kinds())


def _republish_open(kind: SagaKind, services: Sequence[str]) -> int:
    alias = get_home(kind.home).alias
    statement = OPEN_SAGAS.format(tracked=kind.table, key=kind.key)
    sagas: list[UUID] = [saga for (saga,) in sql.fetch(alias, statement, {})]
    start_clock = START_CLOCK.format(
        tracked=kind.table, key=kind.key, stalled_at=sql.seconds_from_now("%(stall)s")
    )
    for start in range(0, len(sagas), BATCH):
        batch = sagas[start : start + BATCH]
        for name in services:
            outbox.republish(get_service(name), sagas=batch)
        params = {"sagas": batch, "stall": settings.SAGA_STALL_SECONDS}
        sql.run(alias, start_clock, params)
    return len(sagas)


def _is_complete(journal: Journal) -> bool:
    """Return whether the events show the whole way to the end of the saga.

    A message of another way may have been lost before, without any harm.
    """
    plan = _known(journal.plan)
    if journal.event_of(plan.last):
        return all(journal.event_of(step.name) for step in plan.actions)

    event = journal.event_of(plan.abort)
    while event and event.step:
        event = journal.request(event.step, event.seq - 1)
    return event is not None


def _known(value: T | None) -> T:
    if value is None:
        raise ValueError("A saga without a plan or a start was to be delivered.")
    return value
