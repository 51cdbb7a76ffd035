"""Start tours from a test, deliver their messages, and read what their steps have read."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import pytest

import sagas
from sagas.definition import handlers
from sagas.definition.messages import Message, OutboxRow
from sagas.definition.plan import Plan, Saga
from sagas.execution import runner
from sagas.execution.failures import Failure, StepFailed
from sagas.storage import outbox
from sagas.storage.registry import get_service
from tests.tours.steps import TourBegan, register
from tests.trips.models import Trip

__all__ = ["begin", "deliver", "facts", "row_to", "rows", "tour"]

SERVICES = ("trips", "inventory")


@pytest.fixture
def tour(monkeypatch) -> Saga:
    """Declare the saga for the time of the test. The test calls the relay itself."""
    monkeypatch.setattr(handlers, "_definitions", dict(handlers._definitions))
    monkeypatch.setattr(Saga, "declared", dict(Saga.declared))
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)
    return register()


def begin(saga: Saga, *prices: int, insured: bool = False) -> list[UUID]:
    """Start a tour for each price; return their ids in order."""
    return [
        sagas.start(saga, Trip(), TourBegan(price=price, insured=insured)).pk for price in prices
    ]


def rows(tour_id: UUID) -> list[OutboxRow]:
    """Return the outbox rows of a tour in both services, in the order of the saga."""
    found = [row for name in SERVICES for row in outbox.of_saga(get_service(name), tour_id)]
    return sorted(found, key=lambda row: (row.seq, row.id))


def row_to(step: str, tour_id: UUID) -> OutboxRow:
    """Return the outbox row with the message to a step."""
    (row,) = (row for row in rows(tour_id) if row.target == step)
    return row


def deliver(step: str, tours: Sequence[UUID]) -> list[Failure]:
    """Deliver the messages to a step, in one batch for each plan; return the failures."""
    failures = []
    for plan, messages in _by_plan(step, tours):
        try:
            runner.run(step, plan, messages)
        except StepFailed as failed:
            failures += failed.failures
    return failures


def facts(tour_id: UUID, type_: str) -> dict[str, Any]:
    """Return the facts of an event, or of the undo of an action, as in `undone trips.quote`."""
    wanted, _, action = type_.partition(" ")
    (row,) = (
        row
        for row in rows(tour_id)
        if row.type == f"tour.{wanted}" and (not action or row.plan.action_of(row.step) == action)
    )
    return row.data


def _by_plan(step: str, tours: Sequence[UUID]) -> Iterator[tuple[Plan, list[Message]]]:
    groups: dict[Plan, list[Message]] = defaultdict(list)
    for tour_id in tours:
        row = row_to(step, tour_id)
        groups[row.plan].append(row.message())
    yield from groups.items()
