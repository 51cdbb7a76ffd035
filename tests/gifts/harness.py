"""Start gifts from a test, deliver their messages one by one, and read their rows."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

import sagas
from sagas import sql
from sagas.definition import handlers
from sagas.definition.messages import Message, OutboxRow
from sagas.definition.plan import Saga
from sagas.execution import runner
from sagas.execution.failures import Failure, StepFailed, record_failures
from sagas.storage import outbox
from sagas.storage.registry import get_service
from tests.gifts.steps import GiftChosen, register
from tests.trips.models import Cruise

__all__ = ["begin", "count_failure", "deliver", "facts", "gift", "messages", "rows", "states"]

SERVICES = ("trips", "inventory", "payments")


@pytest.fixture
def gift(monkeypatch) -> Saga:
    """Declare the saga for the time of the test. The test calls the relay itself."""
    monkeypatch.setattr(handlers, "_definitions", dict(handlers._definitions))
    monkeypatch.setattr(Saga, "declared", dict(Saga.declared))
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)
    return register()


def begin(saga: Saga, **chosen: Any) -> UUID:
    """Start a gift; return its id."""
    started: UUID = sagas.start(saga, Cruise(), GiftChosen(**chosen)).pk
    return started


def rows(saga: UUID) -> list[OutboxRow]:
    """Return the outbox rows of a gift in all services, in the order of the saga."""
    found = [row for name in SERVICES for row in outbox.of_saga(get_service(name), saga)]
    return sorted(found, key=lambda row: (row.seq, row.id))


def messages(step: str, saga: UUID) -> list[Message]:
    """Return the messages to a step, in the order of the saga."""
    return [row.message() for row in rows(saga) if step in row.recipients()]


def deliver(step: str, saga: UUID, *, only: str | None = None) -> list[Failure]:
    """Deliver the messages to a step, one by one; return the failures.

    `only`: the message of this branch.
    """
    failures: list[Failure] = []
    for row in rows(saga):
        if step in row.recipients() and only in (None, row.step):
            try:
                runner.run(step, row.plan, [row.message()])
            except StepFailed as failed:
                failures += failed.failures
    return failures


def count_failure(
    step: str, saga: UUID, *, attempt: int = 1, lost: bool = False, only: str | None = None
) -> None:
    """Record a failed attempt for each message to a step, as the error callback does.

    `only`: the message of this branch.
    """
    for row in rows(saga):
        if step in row.recipients() and only in (None, row.step):
            failure = Failure(
                message=row.message(), attempt=attempt, error="boom", isolated=True, lost=lost
            )
            record_failures(row.plan, step, [failure])


def states(saga: UUID) -> dict[str, str]:
    """Return the state of each inbox row of a gift."""
    return {
        step: state
        for name in SERVICES
        for step, state in sql.fetch(
            get_service(name).alias,
            f"SELECT step, state FROM {get_service(name).inbox} WHERE saga = %(saga)s",
            {"saga": saga},
        )
    }


def facts(saga: UUID, step: str) -> Sequence[dict[str, Any]]:
    """Return the facts of the events that a step has written."""
    return [row.data for row in rows(saga) if row.step == step]
