"""One child for each step, whose end is noted in the transaction that records it."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from sagas import CancelResult, cancel, queries
from sagas.management.saga_tables import detail_lines
from sagas.operations.saga_details import details
from sagas.storage import children
from tests.integration.races import at_once, blocked_behind
from tests.integration.sagas.children import (
    TOUR,
    UNDO,
    deliver,
    end_tour,
    record,
    resend,
    to_tour,
    tour_of,
)
from tests.trips.harness import TRIPS, events, row, state
from tests.trips.models import Cruise, Effect, Inbox, Outbox, Trip
from tests.trips.steps import CalledOff

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(autouse=True)
def unrecorded(monkeypatch):
    """Let a test record the timeline itself."""
    monkeypatch.setattr("sagas.delivery.publisher._record", lambda service, home, entries: [])


def cancel_holiday(holiday):
    with transaction.atomic():
        assert cancel(Cruise.objects.get(id=holiday), CalledOff()) is CancelResult.OURS


def test_a_step_waits_for_its_child_as_agreed():
    holiday = to_tour()
    tour = Trip.objects.get()
    assert (tour.id, tour.parent_saga, tour.parent_step) == (tour_of(holiday), holiday, TOUR)
    waiting = row(holiday, TOUR)
    assert (waiting.state, waiting.attempts) == ("waiting", 0)
    record(holiday)
    tracked = Cruise.objects.get(id=holiday)
    assert tracked.waits_until
    assert tracked.waits_until > timezone.now() + timedelta(minutes=50)
    assert tracked.rescue_at > tracked.waits_until


def test_the_end_of_the_child_has_the_step_sent_at_once():
    holiday = to_tour()
    assert resend(holiday) == 0
    end_tour(tour_of(holiday))
    assert resend(holiday) == 0
    record(tour_of(holiday))
    assert resend(holiday) == 1
    assert state(holiday, TOUR) == "done"
    assert resend(holiday) == 0


def test_the_end_and_its_note_are_one_transaction(monkeypatch):
    holiday = to_tour()
    tour = tour_of(holiday)
    end_tour(tour)

    def fail(cls, entries):
        raise RuntimeError("boom")

    with monkeypatch.context() as patched:
        patched.setattr(Trip, "apply_events", classmethod(fail))
        with pytest.raises(RuntimeError):
            record(tour)
    assert Trip.objects.get(id=tour).ended_at is None
    assert row(holiday, TOUR).signal is None
    record(tour)
    record(tour)
    assert Trip.objects.get(id=tour).ended_at
    assert row(holiday, TOUR).signal["data"] == {"child": str(tour), "failure": None}


def test_repeated_messages_and_retries_start_one_child():
    holiday = to_tour()
    for _ in range(3):
        deliver(TOUR, [holiday])
        assert queries.wake_up("trips", [holiday]) == 1
        assert resend(holiday) == 1
    assert Trip.objects.count() == Outbox.objects.filter(saga=tour_of(holiday)).count() == 1


def test_copies_of_the_message_at_once_start_one_child():
    holiday = to_tour()
    Trip.objects.all().delete()
    Inbox.objects.filter(step=TOUR).delete()
    Outbox.objects.filter(saga=tour_of(holiday)).delete()
    at_once([lambda: deliver(TOUR, [holiday])] * 4)
    assert Trip.objects.count() == 1


def test_the_end_behind_a_run_of_the_step_makes_it_due_again():
    holiday = to_tour()
    tour = tour_of(holiday)
    end_tour(tour)
    queries.wake_up("trips", [holiday])
    with transaction.atomic():
        assert resend(holiday) == 1
        late = blocked_behind("default", lambda: record(tour))
    late.result(timeout=10)
    assert resend(holiday) == 1
    assert state(holiday, TOUR) == "done"


def test_the_undo_that_meets_the_end_of_the_child_sleeps_not():
    holiday = to_tour()
    tour = tour_of(holiday)
    end_tour(tour)
    cancel_holiday(holiday)
    with transaction.atomic():
        deliver(UNDO, [holiday])
        late = blocked_behind("default", lambda: record(tour))
    late.result(timeout=10)
    assert (state(holiday, TOUR), state(holiday, UNDO)) == ("refused", "waiting")
    assert resend(holiday) == 1
    assert state(holiday, UNDO) == "done"
    assert Effect.objects.filter(trip=holiday, step=UNDO).count() == 1


def test_a_cancel_of_the_parent_and_the_pivot_of_the_child_have_one_winner():
    holiday = to_tour()
    tour = tour_of(holiday)
    end_tour(tour, until="trips.pay")
    cancel_holiday(holiday)
    with transaction.atomic():
        deliver(UNDO, [holiday])
        late = blocked_behind("default", lambda: end_tour(tour, until="trips.confirm"))
        assert not late.done()
    late.exception(timeout=10)
    assert state(tour, "trips.confirm") == "refused"
    assert "saga.parent_undone" in events(tour)
    assert state(holiday, UNDO) == "waiting"


def test_an_undo_does_not_wait_for_a_child_whose_row_is_locked(monkeypatch):
    holiday = to_tour()
    cancel_holiday(holiday)
    monkeypatch.setattr("sagas.children.decides_here", lambda row: False)
    with transaction.atomic():
        Trip.objects.select_for_update().get(id=tour_of(holiday))
        at_once([lambda: deliver(UNDO, [holiday])])
    waiting = row(holiday, UNDO)
    assert waiting.state == "waiting"
    assert waiting.send_at - timezone.now() < timedelta(seconds=5)
    assert "saga.parent_undone" not in events(tour_of(holiday))


def test_an_end_that_an_earlier_release_recorded_is_found_at_the_next_look():
    holiday = to_tour()
    end_tour(tour_of(holiday))
    record(tour_of(holiday))
    Inbox.objects.filter(saga=holiday, step=TOUR).update(signal=None)
    queries.wake_up("trips", [holiday])
    assert resend(holiday) == 1
    assert state(holiday, TOUR) == "done"


def test_a_step_of_a_held_row_learns_the_end_at_its_release():
    holiday = to_tour()
    Inbox.objects.filter(saga=holiday, step=TOUR).update(state="held")
    end_tour(tour_of(holiday))
    record(tour_of(holiday))
    held = row(holiday, TOUR)
    assert held.state == "held"
    end = children.find_end(TRIPS, TOUR, holiday)
    assert end is not None
    assert end.failure is None


def lines(saga):
    return [*detail_lines(details(saga))]


def test_an_operator_sees_the_child_at_the_parent_and_the_parent_at_the_child():
    holiday = to_tour()
    tour = tour_of(holiday)
    Outbox.objects.update(published_at=timezone.now())
    Trip.objects.update(needs_attention=True)
    found = lines(Cruise.objects.get(id=holiday))
    assert f"Child      {tour} of trips.tour: trip, needs attention" in found
    assert (
        f"Waits for  the end of saga {tour}, the child of trips.tour, which needs attention"
        in found
    )
    assert f"Parent     {holiday}, started by trips.tour" in lines(Trip.objects.get(id=tour))
