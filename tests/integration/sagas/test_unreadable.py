"""An unreadable row or message is parked or reported, and delays no other one."""

import msgspec
import pytest
from celery import current_app

from sagas.celery import tasks
from sagas.definition.messages import TimelineEntry, decode_each
from sagas.delivery import relay
from sagas.ids import uuid7
from sagas.operations.table_stats import inbox_stats, outbox_stats
from sagas.storage import outbox, timeline
from tests.broker import empty, take
from tests.trips.harness import (
    HOME,
    PLAN,
    TRIPS,
    begin,
    deliver,
    fail,
    make_due,
    messages_to,
    row,
    state,
)
from tests.trips.models import Inbox, Outbox, TimelineEvent
from tests.trips.steps import calls

pytestmark = pytest.mark.django_db(transaction=True)

DAMAGED = {
    "a plan without steps": {"plan": {"saga": "trip", "steps": [], "abort": "trips.drop"}},
    "a plan of another shape": {"plan": {"damaged": True}},
    "a context that is no object": {"context": [1, 2]},
    "data that is no object": {"data": 7},
    "headers that are no texts": {"headers": {"traceparent": 7}},
    "a target without a service": {"target": ".book"},
}


def trips_sent():
    """Return the sagas of all messages to steps in the queue."""
    return sorted(
        message["saga"]
        for sent in take("trips")
        if sent.task == "sagas.run_step"
        for message in sent.args[2]
    )


def run_step(messages):
    """Run the body of the task for a batch; return its error callback."""
    callback = current_app.signature("sagas.fail_step")
    tasks.run_step.push_request(errbacks=[callback], chain=None)  # type: ignore[call-arg]
    try:
        with pytest.raises(tasks.UnreadableArguments) as raised:
            tasks.run_step.run("trips.book", msgspec.to_builtins(PLAN), messages)
    finally:
        tasks.run_step.pop_request()
    return callback, str(raised.value)


def test_decode_each_returns_the_unreadable_items_with_their_errors():
    decoded, unreadable = decode_each(["1", "x", "3"], int)
    assert decoded == [1, 3]
    ((encoded, reason),) = unreadable
    assert encoded == "x"
    assert "invalid literal" in reason


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_outbox_row_is_parked_and_the_others_are_sent(damage):
    damaged, *others = begin(3)
    Outbox.objects.filter(saga=damaged).update(**damage)

    assert relay.flush(TRIPS) == 2
    assert trips_sent() == [str(trip) for trip in others]
    assert "cannot be read" in Outbox.objects.get(saga=damaged).last_error
    stats = outbox_stats(TRIPS)
    assert (stats.due, stats.leased, stats.parked, stats.oldest_seconds) == (0, 0, 1, 0)
    assert relay.flush(TRIPS) == 0


def test_a_parked_outbox_row_is_sent_after_its_repair():
    (trip,) = begin()
    (plan,) = Outbox.objects.values_list("plan", flat=True)
    Outbox.objects.update(plan={})
    relay.flush(TRIPS)

    outbox.republish(TRIPS, sagas=[trip])
    assert relay.flush(TRIPS) == 0
    Outbox.objects.update(plan=plan)
    outbox.republish(TRIPS, sagas=[trip])
    assert relay.flush(TRIPS) == 1
    assert Outbox.objects.get().last_error == ""


@pytest.mark.parametrize("stored", [None, {}, {"plan": {}, "message": {}}, [1]])
def test_a_due_step_with_a_damaged_message_is_parked_and_the_others_are_sent(stored):
    damaged, *others = begin(3)
    relay.flush(TRIPS)
    fail("trips.book", [damaged, *others])
    Inbox.objects.filter(saga=damaged).update(message=stored)
    make_due()
    empty()

    assert relay.flush(TRIPS) == 2
    assert trips_sent() == [str(trip) for trip in others]
    parked = row(damaged, "trips.book")
    assert (parked.state, parked.send_at) == ("waiting", None)
    assert "cannot be read" in parked.error
    assert "parked" in {found.state for found in inbox_stats(TRIPS)}

    deliver("trips.book", [damaged], attempt=1)  # the sender's copy
    assert state(damaged, "trips.book") == "done"


def test_a_message_that_cannot_be_read_is_reported_and_the_batch_runs_as_one():
    trips = begin(4)
    messages = msgspec.to_builtins(messages_to("trips.book", trips))
    del messages[1]["started_at"]
    _, error = run_step(messages)
    assert str(trips[1]) in error
    assert [len(sagas) for step, sagas in calls if step == "trips.book"] == [3]
    assert [state(trip, "trips.book") for trip in trips] == ["done", None, "done", "done"]


def test_an_unreadable_message_counts_no_failure_of_the_others():
    trips = begin(2)
    messages = msgspec.to_builtins(messages_to("trips.book", trips))
    messages[0]["seq"] = "seven"
    callback, _ = run_step(messages)
    assert callback["kwargs"]["reported"] == []


def test_lost_messages_are_counted_beside_an_unreadable_one_and_none_as_isolated():
    trips = begin(2)
    messages = msgspec.to_builtins(messages_to("trips.book", trips))
    messages[0]["id"] = 7
    with pytest.raises(tasks.UnreadableArguments):
        tasks.fail_step.run("trips.book", msgspec.to_builtins(PLAN), messages)
    assert state(trips[0], "trips.book") is None
    assert (row(trips[1], "trips.book").state, row(trips[1], "trips.book").attempts) == (
        "waiting",
        1,
    )


def test_messages_beside_an_unreadable_context_run_as_one_batch():
    trips = begin(5)
    Outbox.objects.filter(saga=trips[2]).update(context={"name": 7})
    (failure,) = deliver("trips.book", trips)
    assert (failure.message.saga, failure.resend) == (trips[2], False)
    assert [len(sagas) for step, sagas in calls if step == "trips.book"] == [4]


def entry(trip, **changes):
    known = {
        "id": uuid7(),
        "saga": trip,
        "seq": 1,
        "type": "trip.booked",
        "service": "trips",
        "step": "trips.book",
        "attempt": 1,
        "at": "2026-01-01T00:00:00Z",
        "detail": {},
    }
    return {**msgspec.to_builtins(known), **changes}


def test_an_unreadable_timeline_entry_delays_no_other_one():
    first, second = begin(2)
    with pytest.raises(tasks.UnreadableArguments, match=str(first)):
        tasks.record.run("trips", [entry(first, seq="x"), entry(second)])
    assert TimelineEvent.objects.filter(saga=second, type="trip.booked").exists()


def test_an_entry_that_the_database_refuses_delays_only_its_saga():
    first, second, third = begin(3)
    entries = [entry(first), entry(second, type="x" * 200), entry(third)]
    with pytest.raises(Exception, match="too long"):
        timeline.record(HOME, msgspec.convert(entries, list[TimelineEntry], strict=False))
    recorded = TimelineEvent.objects.filter(type="trip.booked")
    assert set(recorded.values_list("saga", flat=True)) == {first, third}


def test_an_unreadable_id_in_a_re_drive_delays_no_other_saga():
    (trip,) = begin()
    relay.flush(TRIPS)
    empty()
    with pytest.raises(tasks.UnreadableArguments):
        tasks.make_rows_due.run("trips", ["no-id", str(trip)])
    assert trips_sent() == [str(trip)]
