"""An undo bars its action, and compensates it only if it was done. No cancel follows the pivot."""

import threading

import pytest
from django.db import connection, transaction

from sagas.lifecycle import CancelResult
from tests.trips.harness import LIMIT, begin, call_off, deliver, effects, events, row, state, walk
from tests.trips.models import Outbox
from tests.trips.steps import NotConfirmed, behaviour

pytestmark = pytest.mark.django_db(transaction=True)

UNDOS = {"trips.unbook", "trips.refund", "trips.drop"}


def redirect(trip, step):
    """Send the trip's first message to another step."""
    Outbox.objects.filter(saga=trip, type="trip.began").update(target=step)


def test_an_undo_before_its_action_leaves_a_tombstone():
    (trip,) = begin()
    redirect(trip, "trips.unbook")
    deliver("trips.unbook", [trip])

    assert state(trip, "trips.book") == "refused"

    redirect(trip, "trips.book")
    deliver("trips.book", [trip])

    assert effects(trip) == ["trips.unbook"]


def test_an_undo_knows_whether_its_action_was_done():
    done, never = begin(2)
    deliver("trips.book", [done])
    for trip in (done, never):
        redirect(trip, "trips.unbook")
    deliver("trips.unbook", [done, never])
    applied = dict(Outbox.objects.filter(type="trip.unbooked").values_list("saga", "data__applied"))

    assert applied == {done: True, never: False}


def test_an_undo_delivered_twice_undoes_once():
    (trip,) = begin()
    deliver("trips.book", [trip])
    redirect(trip, "trips.unbook")
    deliver("trips.unbook", [trip])
    deliver("trips.unbook", [trip])

    assert effects(trip) == ["trips.book", "trips.unbook"]


def test_a_refused_pivot_undoes_all_steps_in_reverse_order():
    (trip,) = begin()
    behaviour["trips.confirm", trip] = lambda _: NotConfirmed(
        code="gone", detail="The trip is cancelled."
    )
    walk([trip])

    assert effects(trip) == [
        "trips.book",
        "trips.pay",
        "trips.refund",
        "trips.unbook",
        "trips.drop",
    ]


def test_a_cancel_before_the_pivot_undoes_all_steps_and_bars_the_pivot():
    (trip,) = begin()
    deliver("trips.book", [trip])

    assert call_off(trip) is CancelResult.OURS

    walk([trip])

    assert "trips.confirm" not in effects(trip)
    assert effects(trip)[-1] == "trips.drop"
    assert {"trip.refunded", "trip.unbooked", "trip.dropped"} <= set(events(trip))


def test_two_cancels_start_one_compensation():
    (trip,) = begin()

    assert [call_off(trip), call_off(trip)] == [CancelResult.OURS, CancelResult.REFUSED]
    assert events(trip).count("trip.called_off") == 1


def test_a_cancel_after_the_pivot_is_too_late():
    (trip,) = begin()
    walk([trip])

    assert call_off(trip) is CancelResult.DONE
    assert "trip.called_off" not in events(trip)


def test_two_compensations_at_once_end_in_one_abort():
    (trip,) = begin()
    behaviour["trips.confirm", trip] = lambda _: NotConfirmed(
        code="gone", detail="The trip is cancelled."
    )
    deliver("trips.book", [trip])
    call_off(trip)
    walk([trip])
    undone = [step for step in effects(trip) if step in UNDOS]

    assert undone == ["trips.refund", "trips.unbook", "trips.drop"]


def test_an_abort_bars_the_pivot():
    (trip,) = begin()
    redirect(trip, "trips.drop")
    deliver("trips.drop", [trip])

    assert state(trip, "trips.confirm") == "refused"


def race(trip, step, *, second):
    """Run `second` in another thread while this thread locks the step's row; return its result.

    This thread commits once `second` waits for the row.
    """
    results = []

    def run():
        try:
            results.append(second())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    with transaction.atomic():
        deliver(step, [trip])
        thread.start()
        wait_until_blocked()
    thread.join(LIMIT)
    return results[0]


def wait_until_blocked():
    """Wait until another session waits for a lock of this session."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (own_pid,) = cursor.fetchone()
        for _ in range(LIMIT * 1000):
            cursor.execute(
                "SELECT 1 FROM pg_locks WHERE NOT granted AND %s = ANY(pg_blocking_pids(pid))",
                [own_pid],
            )
            if cursor.fetchone():
                return
    raise TimeoutError("No other session waits for a lock of this session.")


def test_a_cancel_that_loses_to_the_pivot_waits_for_its_commit():
    (trip,) = begin()
    for step in ("trips.book", "trips.pay"):
        deliver(step, [trip])

    assert race(trip, "trips.confirm", second=lambda: call_off(trip)) is CancelResult.DONE


def test_an_undo_that_waits_for_its_action_undoes_it():
    (trip,) = begin()
    Outbox.objects.filter(saga=trip).update(target="trips.book")
    undo_row = Outbox.objects.get(saga=trip)
    undo_row.pk, undo_row.target = None, "trips.unbook"
    undo_row.id = Outbox._meta.pk.get_default()
    undo_row.save(force_insert=True)

    assert race(trip, "trips.book", second=lambda: deliver("trips.unbook", [trip])) == []
    assert Outbox.objects.get(saga=trip, type="trip.unbooked").data == {"applied": True}
    assert row(trip, "trips.book").state == "done"
