"""Drive holidays, whose step starts a trip as a child, and the trip itself."""

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from msgspec.structs import replace

from sagas import start
from sagas.definition.child_rules import child_id
from sagas.execution import runner
from sagas.storage import inbox, outbox, timeline
from tests.trips.harness import HOME, TRIPS, messages_to
from tests.trips.holidays import HOLIDAY
from tests.trips.models import Cruise
from tests.trips.saga import TRIP
from tests.trips.steps import Began

__all__ = ["TOUR", "UNDO", "deliver", "end_tour", "record", "resend", "to_tour", "tour_of"]

TOUR, UNDO = "trips.tour", "trips.tour.undo"
TRIP_STEPS = ["trips.book", "trips.pay", "trips.confirm", "trips.travel"]


def deliver(step: str, holidays: Sequence[UUID]) -> None:
    """Deliver the messages to a step of holidays in one batch."""
    runner.run(step, HOLIDAY.plan, messages_to(step, holidays))


def to_tour() -> UUID:
    """Start a holiday, and let it come to its tour; return its id."""
    row = Cruise()
    with transaction.atomic():
        start(HOLIDAY, row, Began(name="Ada"))
    deliver("trips.book", [row.pk])
    deliver(TOUR, [row.pk])
    return row.pk


def tour_of(holiday: UUID) -> UUID:
    """Return the id of the tour that a holiday starts."""
    return child_id(holiday, TOUR)


def record(saga: UUID) -> None:
    """Record all events of a saga at its home, as the publisher sends them."""
    rows = [row for row in outbox.of_saga(TRIPS, saga) if not row.begins]
    timeline.record(HOME, [row.entry("trips") for row in rows])


def end_tour(tour: UUID, *, until: str = "") -> None:
    """Let a tour go to its end, or to a step, without its timeline."""
    for step in TRIP_STEPS:
        runner.run(step, TRIP.plan, messages_to(step, [tour]))
        if step == until:
            return


def resend(saga: UUID) -> int:
    """Deliver the due open steps of a saga, as the relay does; return how many."""
    due = [each for each in inbox.claim_due(TRIPS, limit=100) if each.stored.message.saga == saga]
    for each in due:
        message = replace(each.stored.message, attempt=each.attempts)
        runner.run(each.step, each.stored.plan, [message])
    return len(due)
