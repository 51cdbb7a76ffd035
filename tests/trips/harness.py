"""Drive trips from a test: start them, deliver their messages, and read the results."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, transaction

from sagas.definition.messages import Message
from sagas.definition.plan import Plan
from sagas.execution import runner
from sagas.execution.failures import Failure, StepFailed, record_failures
from sagas.ids import uuid7
from sagas.lifecycle import CancelRequest, CancelResult, cancel_before_pivot, start
from sagas.storage.registry import get_home, get_service

from .models import Effect, Inbox, Outbox, Trip
from .saga import TRIP
from .steps import Began, CalledOff, behaviour, calls

TRIPS = get_service("trips")
HOME = get_home("trips")
PLAN: Plan = TRIP.plan

# How long a test waits for another thread or process, in seconds.
LIMIT = 20


def forget() -> None:
    """Reset the behaviour of the steps."""
    behaviour.clear()
    calls.clear()


def begin(count: int = 1, *, names: Sequence[str] = ()) -> list[UUID]:
    """Start trips for some travellers (default: Ada), and return their ids in order."""
    names = names or ["Ada"] * count
    ids = sorted(uuid7() for _ in names)
    with transaction.atomic():
        for trip, name in zip(ids, names, strict=True):
            Trip.objects.create(id=trip, plan=msgspec.to_builtins(PLAN))
            start(
                TRIP,
                saga=trip,
                started_at=Trip.objects.get(id=trip).created_at,
                event=Began(name=name),
            )
    return ids


def messages_to(step: str, trips: Sequence[UUID], *, attempt: int = 0) -> list[Message]:
    """Return the messages to a step, built from the outbox rows of some trips."""
    rows = Outbox.objects.filter(target=step, saga__in=trips).order_by("saga", "seq")
    return [
        Message(
            id=row.id,
            saga=row.saga,
            started_at=row.saga_started_at,
            seq=row.seq,
            context=row.context,
            attempt=attempt,
        )
        for row in rows
    ]


def deliver(step: str, trips: Sequence[UUID], *, attempt: int = 0) -> list[Failure]:
    """Deliver the messages to a step in one batch, and return the failures that it reports."""
    try:
        runner.run(step, PLAN, messages_to(step, trips, attempt=attempt))
    except StepFailed as failed:
        return failed.failures
    return []


def fail(
    step: str,
    trips: Sequence[UUID],
    *,
    attempt: int = 1,
    isolated: bool = True,
    error: str = "boom",
) -> None:
    """Record a failed attempt, as the error callback does."""
    failures = [
        Failure(message=message, attempt=attempt, error=error, isolated=isolated)
        for message in messages_to(step, trips)
    ]
    record_failures(PLAN, step, failures)


def call_off(trip: UUID) -> CancelResult:
    """Cancel a trip before its pivot, as its traveller does."""
    row = Trip.objects.get(id=trip)
    with transaction.atomic():
        return cancel_before_pivot(
            CancelRequest(
                saga=trip,
                plan=row.plan,
                started_at=row.created_at,
                context={"name": "Ada"},
                event=CalledOff(),
            )
        )


def walk(trips: Sequence[UUID]) -> None:
    """Deliver all messages until the steps send no new ones."""
    seen: set[UUID] = set()
    while fresh := set(
        Outbox.objects.exclude(target=None).exclude(id__in=seen).values_list("id", flat=True)
    ):
        targets = set(Outbox.objects.filter(id__in=fresh).values_list("target", flat=True))
        for step in sorted(str(target) for target in targets):
            deliver(step, trips)
        seen |= fresh


def effects(trip: UUID) -> list[str]:
    """Return the steps that had an effect on a trip, in order."""
    return list(Effect.objects.filter(trip=trip).order_by("at").values_list("step", flat=True))


def events(trip: UUID) -> list[str]:
    """Return the types of the events of a trip, in order."""
    return list(
        Outbox.objects.filter(saga=trip).order_by("seq", "id").values_list("type", flat=True)
    )


def row(trip: UUID, step: str) -> Any:
    """Return the inbox row of a step."""
    return Inbox.objects.get(saga=trip, step=step)


def state(trip: UUID, step: str) -> str | None:
    """Return the state of a step's inbox row, or None if there is none."""
    return Inbox.objects.filter(saga=trip, step=step).values_list("state", flat=True).first()


def make_due() -> None:
    """Let the leases of open inbox rows expire, and make their next attempts due."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE trips_inbox"
            " SET due_at = now() - interval '1 s', send_at = now() - interval '1 s'"
            " WHERE state IN ('started', 'waiting')"
        )
