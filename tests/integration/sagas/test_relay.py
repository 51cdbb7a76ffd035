"""The relay sends due rows in batches, and loses none while the broker is down."""

import pytest
from django.db import connection, transaction

from sagas.delivery import admission, publisher, relay
from sagas.storage import outbox
from tests.broker import empty, take
from tests.integration.races import started
from tests.trips.harness import TRIPS, begin, deliver, fail, make_due
from tests.trips.models import Outbox, TimelineEvent

pytestmark = pytest.mark.django_db(transaction=True)


def steps_sent(queue="trips"):
    return [
        (sent.args[0], len(sent.args[2])) for sent in take(queue) if sent.task == "sagas.run_step"
    ]


def test_due_rows_go_to_their_step_as_one_chain_with_an_error_callback_on_the_step():
    begin(3)
    assert relay.flush(TRIPS) == 3
    (step,) = take("trips")
    assert (step.task, step.args[0], len(step.args[2])) == ("sagas.run_step", "trips.book", 3)
    assert (step.error_callbacks, step.chained) == (["sagas.fail_step"], ["sagas.flush"])


def test_the_first_event_of_a_saga_is_in_the_timeline_with_the_commit():
    (trip,) = begin()
    assert TimelineEvent.objects.get(saga=trip).type == "trip.began"
    relay.flush(TRIPS)
    assert [sent.task for sent in take("trips")] == ["sagas.run_step"]
    assert TimelineEvent.objects.count() == 1


def test_an_event_at_home_is_in_the_timeline_as_soon_as_its_row_is_sent():
    (trip,) = begin()
    deliver("trips.book", [trip])
    assert set(TimelineEvent.objects.filter(saga=trip).values_list("type", flat=True)) == {
        "trip.began",
        "trip.booked",
    }


def test_an_error_of_the_timeline_delays_no_step():
    trips = begin()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE trips_timelineevent RENAME TO trips_timelineevent_renamed")
    try:
        deliver("trips.book", trips)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE trips_timelineevent_renamed RENAME TO trips_timelineevent")
    assert [sent.task for sent in take("trips")] == ["sagas.run_step", "sagas.record"]
    assert Outbox.objects.get(step="trips.book").published_at is not None


def test_a_published_row_is_not_sent_again():
    begin()
    assert [relay.flush(TRIPS), relay.flush(TRIPS)] == [1, 0]
    assert Outbox.objects.get().published_at is not None


def test_a_backlog_is_sent_in_batches_of_the_configured_size(settings):
    settings.OUTBOX_BATCH_SIZE = 4
    begin(10)
    relay.flush(TRIPS)
    assert sorted(steps_sent()) == [("trips.book", 2), ("trips.book", 4), ("trips.book", 4)]


def test_a_backlog_waits_in_the_outbox_while_the_queues_are_long(settings, monkeypatch):
    settings.OUTBOX_BATCH_SIZE = 2
    monkeypatch.setattr(admission, "CONGESTED", 2)
    begin(12)
    assert relay.flush(TRIPS) == 4
    assert relay.flush(TRIPS) == 0
    empty()
    assert relay.flush(TRIPS) == 4


@pytest.mark.parametrize("newest", [True, False])
def test_a_claim_takes_the_oldest_or_the_newest_rows(newest):
    trips = [begin()[0] for _ in range(4)]
    claimed = {row.saga for row in outbox.claim(TRIPS, limit=2, newest=newest)}
    assert claimed == set(trips[2:] if newest else trips[:2])


def test_rows_for_different_steps_leave_in_different_chains():
    trips = begin(4)
    Outbox.objects.filter(saga__in=trips[:1]).update(target="trips.unbook")
    relay.flush(TRIPS)
    assert sorted(steps_sent()) == [("trips.book", 3), ("trips.unbook", 1)]


def test_two_relays_never_claim_the_same_row():
    begin(6)
    with transaction.atomic():
        first = outbox.claim(TRIPS, limit=4)
        second = started(lambda: outbox.claim(TRIPS, limit=4)).result(20)
    assert (len(first), len(second)) == (4, 2)
    assert not {row.id for row in first} & {row.id for row in second}


def test_rows_of_a_dead_relay_are_sent_by_another_relay_after_their_lease():
    begin()
    outbox.claim(TRIPS, limit=10)
    assert relay.flush(TRIPS) == 0
    Outbox.objects.update(due_at="2020-01-01T00:00:00Z")
    assert relay.flush(TRIPS) == 1


def test_a_mark_after_the_lease_was_taken_over_changes_nothing():
    begin()
    slow = outbox.claim(TRIPS, limit=10)
    Outbox.objects.update(due_at="2020-01-01T00:00:00Z")
    outbox.claim(TRIPS, limit=10)
    outbox.mark_published(TRIPS, slow)
    assert Outbox.objects.get().published_at is None


def test_a_row_that_is_published_again_is_due_again():
    begin()
    relay.flush(TRIPS)
    assert outbox.republish(TRIPS, ids=[Outbox.objects.get().id]) == 1
    assert relay.flush(TRIPS) == 1


def test_while_the_broker_is_down_rows_are_released_at_once_and_no_attempt_counts(dead_broker):
    begin(2)
    with dead_broker(), pytest.raises(Exception, match=r"(?i)connect|refused|closed"):
        relay.flush(TRIPS)
    assert set(Outbox.objects.values_list("attempts", "published_at")) == {(0, None)}
    assert set(Outbox.objects.values_list("last_error", flat=True)) != {""}
    assert relay.flush(TRIPS) == 2


def test_a_broker_that_hangs_delays_a_flush_only_until_the_timeout(hung_broker):
    begin(2)
    with hung_broker(), pytest.raises(Exception, match=r"(?i)time"):
        relay.flush(TRIPS)
    assert set(Outbox.objects.values_list("attempts", "published_at")) == {(0, None)}
    assert relay.flush(TRIPS) == 2


def test_while_the_broker_is_down_a_waiting_step_is_released_at_once(dead_broker):
    (trip,) = begin()
    relay.flush(TRIPS)
    fail("trips.book", [trip])
    make_due()
    with dead_broker(), pytest.raises(Exception, match=r"(?i)connect|refused|closed"):
        relay.flush(TRIPS)
    assert relay.flush(TRIPS) == 1


def test_a_step_is_done_even_if_the_broker_is_down_at_its_end(dead_broker):
    trips = begin(2)
    with dead_broker():
        assert deliver("trips.book", trips) == []
    assert Outbox.objects.filter(type="trip.booked", published_at=None).count() == 2
    assert relay.flush(TRIPS) == 4


def test_a_step_sends_its_own_events_and_leaves_nothing_to_flush():
    trips = begin(2)
    relay.flush(TRIPS)
    deliver("trips.book", trips)
    assert relay.flush(TRIPS) == 0
    assert ("trips.pay", 2) in steps_sent()


def test_a_waiting_step_is_sent_again_when_it_is_due_with_its_number_of_attempts():
    (trip,) = begin()
    relay.flush(TRIPS)
    fail("trips.book", [trip])
    assert relay.flush(TRIPS) == 0
    make_due()
    empty()
    assert relay.flush(TRIPS) == 1
    (sent,) = take("trips")
    assert (sent.args[0], sent.args[2][0]["attempt"]) == ("trips.book", 1)


@pytest.mark.parametrize(("attempts", "size"), [(0, 100), (1, 25), (2, 6), (3, 1), (9, 1)])
def test_the_batch_size_is_divided_by_four_with_each_failed_attempt(attempts, size):
    assert publisher.batch_size("trips.book", attempts) == size


def test_a_transaction_that_rolls_back_sends_nothing():
    with transaction.atomic():
        begin()
        transaction.set_rollback(True)
    assert relay.flush(TRIPS) == 0
