"""Drive reviewed trips, which wait for signals."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.db import connection, transaction

from sagas import SignalResult, signal, start
from sagas.definition.plan import Plan
from sagas.execution import runner
from sagas.ids import uuid7
from sagas.storage import outbox, timeline
from tests.trips.harness import HOME, TRIPS, messages_to
from tests.trips.models import Trip
from tests.trips.saga import REVIEWED_TRIP
from tests.trips.steps import Began, Reviewed

__all__ = [
    "PLAN",
    "REVIEW",
    "answer",
    "begin",
    "deliver",
    "record_timeline",
    "to_review",
    "wait_for",
]

PLAN: Plan = REVIEWED_TRIP.plan
REVIEW = "trips.review"

# The columns of times that pass.
TIMES = {
    "trips_trip": ("created_at", "rescue_at", "waits_until"),
    "trips_inbox": ("saga_started_at", "due_at", "send_at", "expires_at", "created_at"),
    "trips_outbox": ("saga_started_at", "due_at", "published_at", "created_at"),
}


def begin(count: int = 1) -> list[UUID]:
    """Start reviewed trips; return their ids in order."""
    ids = sorted(uuid7() for _ in range(count))
    with transaction.atomic():
        for trip in ids:
            start(REVIEWED_TRIP, Trip(id=trip), Began())
    return ids


def deliver(step: str, trips: Sequence[UUID]) -> None:
    """Deliver the messages to a step in one batch."""
    runner.run(step, PLAN, messages_to(step, trips))


def to_review(count: int = 1) -> list[UUID]:
    """Start reviewed trips, and let them come to their review."""
    trips = begin(count)
    deliver("trips.book", trips)
    deliver(REVIEW, trips)
    return trips


def answer(trip: UUID, event: object = None, *, by: str = "olga", why: str = "") -> SignalResult:
    """Answer the review of a trip."""
    row = Trip.objects.get(id=trip)
    return signal(row, REVIEW, event or Reviewed(score=3), by=by, why=why)  # type: ignore[arg-type]  # a test may pass anything


def record_timeline(trips: Sequence[UUID]) -> None:
    """Record all events of trips at their home, as the publisher sends them."""
    rows = [row for trip in trips for row in outbox.of_saga(TRIPS, trip) if not row.begins]
    timeline.record(HOME, [row.entry("trips") for row in rows])


def wait_for(time: timedelta) -> None:
    """Let time pass: all times in the database move into the past."""
    with connection.cursor() as cursor:
        for table, columns in TIMES.items():
            changes = ", ".join(f"{column} = {column} - %(time)s::interval" for column in columns)
            cursor.execute(
                f"UPDATE {table} SET {changes}", {"time": f"{time.total_seconds()} seconds"}
            )
