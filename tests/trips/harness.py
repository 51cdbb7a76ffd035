"""Drive trips from a test: start them, deliver their messages, and read the results."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from sagas import start
from sagas.definition import handlers
from sagas.definition.messages import Message
from sagas.definition.plan import Plan, Saga
from sagas.definition.policy import Policy
from sagas.execution import runner
from sagas.execution.failures import Failure, StepFailed, record_failures
from sagas.ids import uuid7
from sagas.lifecycle import CancelRequest, CancelResult, cancel_before_pivot
from sagas.operations import retention
from sagas.storage.registry import get_home, get_service

from .models import Effect, Inbox, Outbox, Trip, Watermark
from .saga import TRIP
from .steps import Began, CalledOff, behaviour, calls, destinations

TRIPS = get_service("trips")
HOME = get_home("trips")
PLAN: Plan = TRIP.plan

# How long a test waits for another thread or process, in seconds.
LIMIT = 20


def forget() -> None:
    """Reset the behaviour of the steps."""
    behaviour.clear()
    calls.clear()
    destinations.clear()


@contextmanager
def with_policy(step: str, **policy: Any) -> Iterator[None]:
    """Give a registered step another policy while the context lasts."""
    definition = handlers.definition(step)
    assert definition
    changed = msgspec.structs.replace(definition, policy=Policy(**policy))
    with handlers.substituted(changed):
        yield


def begin(count: int = 1, *, names: Sequence[str] = (), declaration: Saga = TRIP) -> list[UUID]:
    """Start trips for some travellers (default: Ada), and return their ids in order."""
    names = names or ["Ada"] * count
    ids = sorted(uuid7() for _ in names)
    with transaction.atomic():
        for trip, name in zip(ids, names, strict=True):
            start(declaration, Trip(id=trip), Began(name=name))
    return ids


def messages_to(
    step: str,
    trips: Sequence[UUID],
    *,
    attempt: int = 0,
    attempts: Mapping[UUID, int] | None = None,
) -> list[Message]:
    """Return the messages to a step, built from the outbox rows of some trips.

    `attempts` are the numbers of the trips that have an attempt of their own.
    """
    numbers = attempts or {}
    rows = Outbox.objects.filter(target=step, saga__in=trips).order_by("saga", "seq")
    return [
        Message(
            id=row.id,
            saga=row.saga,
            started_at=row.saga_started_at,
            seq=row.seq,
            context=row.context,
            attempt=numbers.get(row.saga, attempt),
        )
        for row in rows
    ]


def deliver(
    step: str,
    trips: Sequence[UUID],
    *,
    attempt: int = 0,
    attempts: Mapping[UUID, int] | None = None,
    plan: Plan = PLAN,
) -> list[Failure]:
    """Deliver the messages to a step in one batch, and return the failures that it reports."""
    try:
        runner.run(step, plan, messages_to(step, trips, attempt=attempt, attempts=attempts))
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
    claim: UUID | None = None,
    plan: Plan = PLAN,
) -> None:
    """Record a failed attempt, as the error callback does."""
    failures = [
        Failure(message=message, attempt=attempt, error=error, isolated=isolated, claim=claim)
        for message in messages_to(step, trips)
    ]
    record_failures(plan, step, failures)


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


def age(trips: Sequence[UUID], *, days: float) -> None:
    """Make some trips and all their rows older, and mark their outbox rows as published."""
    columns = {
        "trips_trip": ["created_at"],
        "trips_outbox": ["saga_started_at", "created_at", "published_at"],
        "trips_inbox": ["saga_started_at", "created_at", "updated_at"],
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE trips_outbox SET published_at = created_at WHERE published_at IS NULL"
        )
        for table, names in columns.items():
            changes = ", ".join(
                f"{name} = {name} - make_interval(secs => %(age)s)" for name in names
            )
            key = "id" if table == "trips_trip" else "saga"
            cursor.execute(
                f"UPDATE {table} SET {changes} WHERE {key} = ANY(%(trips)s)",
                {"age": days * 86_400, "trips": list(trips)},
            )


def hear_lists(kept: Sequence[UUID] = (), *, home: str = "trips") -> None:
    """Have trips hear a home's lists for more than a day, up to now: the last one names `kept`."""
    now = timezone.now()
    retention_time = timedelta(days=settings.SAGA_RETENTION_DAYS)
    Watermark.objects.filter(home=home).delete()
    before = now - retention_time - timedelta(days=3)
    retention.purge(TRIPS, retention.OpenSagas(home, before, list(kept)))
    Watermark.objects.filter(home=home).update(heard_since=now - 2 * retention.NOTICE)
