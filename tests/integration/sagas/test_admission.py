"""While a queue is long, messages wait as rows. No message in a queue is sent again."""

import threading
from datetime import timedelta

import pytest
from django.conf import settings as project
from django.utils import timezone

from sagas.delivery import admission, publisher, queues, relay
from sagas.execution import in_flight, runner
from sagas.storage import inbox, outbox
from tests.broker import empty
from tests.integration.races import started
from tests.trips.harness import (
    HOME,
    LIMIT,
    PLAN,
    TRIPS,
    begin,
    fail,
    make_due,
    messages_to,
    state,
    with_policy,
)
from tests.trips.models import Inbox, Outbox

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def small_batches(settings):
    settings.OUTBOX_BATCH_SIZE = 2


@pytest.fixture
def waiting():
    """Return eight trips whose first step has failed, and is due to be sent again."""
    trips = begin(8)
    relay.flush(TRIPS)
    fail("trips.book", trips)
    make_due()
    empty()
    return trips


def lease_is_over():
    """Let the leases of the relay run out, as after SAGA_LEASE_SECONDS."""
    Inbox.objects.update(send_at=timezone.now() - timedelta(seconds=1))


def messages_in_queue():
    return admission.length("trips")


def test_due_steps_wait_in_their_rows_while_the_queue_is_long(waiting, monkeypatch):
    monkeypatch.setattr(admission, "CONGESTED", 2)
    assert relay.flush(TRIPS) == 4
    assert messages_in_queue() == 2
    for _ in range(3):
        assert relay.flush(TRIPS) == 0
    empty()
    assert relay.flush(TRIPS) == 4


def test_steps_whose_messages_lie_in_the_queue_are_not_sent_again(waiting):
    assert relay.flush(TRIPS) == 8
    for _ in range(3):
        lease_is_over()
        assert relay.flush(TRIPS) == 0
    assert messages_in_queue() == 4


def test_a_step_that_was_not_sent_yet_is_sent_beside_those_in_the_queue(waiting):
    relay.flush(TRIPS)
    (late,) = begin()
    relay.flush(TRIPS)
    fail("trips.book", [late])
    make_due()
    assert relay.flush(TRIPS) == 1


def test_lost_messages_are_sent_again_once_the_queue_has_drained(waiting):
    relay.flush(TRIPS)
    lease_is_over()
    empty()
    assert relay.flush(TRIPS) == 2 * (admission.DRAINED + 1)
    empty()
    assert relay.flush(TRIPS) == 8 - 2 * (admission.DRAINED + 1)


def test_a_message_counts_as_lost_after_some_leases_even_if_the_queue_stays_long(waiting):
    relay.flush(TRIPS)
    lease_is_over()
    leases = inbox.LEASES_UNTIL_LOST * project.SAGA_LEASE_SECONDS
    long_ago = timezone.now() - timedelta(seconds=leases + 1)
    Inbox.objects.filter(saga=waiting[0]).update(sent_at=long_ago, updated_at=long_ago)
    Inbox.objects.filter(saga=waiting[0]).update(updated_at=long_ago - timedelta(seconds=1))
    assert relay.flush(TRIPS) == 1


def test_a_step_that_a_worker_has_taken_since_is_not_in_the_queue(waiting):
    relay.flush(TRIPS)
    lease_is_over()
    Inbox.objects.filter(saga=waiting[0]).update(updated_at=timezone.now())
    assert relay.flush(TRIPS) == 1


def test_a_step_that_the_relay_could_not_send_is_not_in_the_queue(waiting, monkeypatch):
    def refuse(batch):
        raise ConnectionError("The broker refuses the message.")

    with monkeypatch.context() as broken:
        broken.setattr(publisher, "_send", refuse)
        with pytest.raises(ConnectionError):
            relay.flush(TRIPS)
    begin(8)
    assert relay.flush(TRIPS) == 8 + 8


def test_the_rows_of_a_step_wait_in_the_outbox_while_their_queue_is_long(monkeypatch):
    trips = begin(4)
    monkeypatch.setattr(admission, "CONGESTED", 2)
    relay.flush(TRIPS)
    assert not runner.run("trips.book", PLAN, messages_to("trips.book", trips))
    assert [state(trip, "trips.book") for trip in trips] == ["done"] * 4
    rows = Outbox.objects.filter(type="trip.booked")
    assert set(rows.values_list("published_at", "attempts", "last_error")) == {(None, 0, "")}
    assert messages_in_queue() == 2

    empty()
    assert relay.flush(TRIPS) == 4


@pytest.fixture
def crowded(settings, monkeypatch):
    """Let a small batch find the queue of trips crowded, with room for half a batch and no more."""
    settings.OUTBOX_BATCH_SIZE = 4
    monkeypatch.setattr(in_flight, "takes_calls", lambda: True)
    monkeypatch.setattr(admission, "CONGESTED", 8)
    monkeypatch.setattr(admission, "CROWDED", 2)
    monkeypatch.setattr(admission, "KEPT", 0.0)
    for _ in range(3):
        begin()
        relay.flush(TRIPS)
    assert messages_in_queue() == 3


def book(count):
    """Run the first step for some trips together. It needs no flush behind it."""
    trips = begin(count)
    Outbox.objects.filter(saga__in=trips).update(published_at=timezone.now())
    assert runner.run("trips.book", PLAN, messages_to("trips.book", trips))


def booked_but_unsent():
    return Outbox.objects.filter(type="trip.booked", published_at=None).count()


def test_small_batches_of_steps_gather_in_the_outbox_while_their_queue_is_crowded(crowded):
    for _ in range(4):
        book(1)
    assert (booked_but_unsent(), messages_in_queue()) == (4, 3)
    assert relay.flush(TRIPS) == 4
    assert (booked_but_unsent(), messages_in_queue()) == (0, 4)


def test_half_a_batch_is_sent_to_a_queue_that_is_less_than_half_full(crowded):
    book(2)
    assert (booked_but_unsent(), messages_in_queue()) == (0, 4)
    book(2)
    assert (booked_but_unsent(), messages_in_queue()) == (2, 4)
    book(4)
    assert (booked_but_unsent(), messages_in_queue()) == (2, 5)


def test_a_batch_that_is_full_for_the_next_step_is_sent(crowded):
    with with_policy("trips.pay", most_in_batch=1):
        book(1)
    assert (booked_but_unsent(), messages_in_queue()) == (0, 4)


def test_outside_a_worker_a_small_batch_is_sent_to_each_queue_that_is_not_full(
    crowded, monkeypatch
):
    monkeypatch.setattr(in_flight, "takes_calls", lambda: False)
    book(1)
    assert (booked_but_unsent(), messages_in_queue()) == (0, 4)


def test_a_small_batch_is_sent_to_a_queue_that_is_not_crowded(crowded):
    empty()
    book(1)
    assert (booked_but_unsent(), messages_in_queue()) == (0, 1)


def test_messages_that_workers_have_taken_since_do_not_crowd_a_queue(settings, monkeypatch):
    """Workers that keep up take each message at once, however many a process sends."""
    settings.OUTBOX_BATCH_SIZE = 100
    monkeypatch.setattr(in_flight, "takes_calls", lambda: True)
    monkeypatch.setattr(admission, "KEPT", LIMIT)
    assert messages_in_queue() == 0
    for _ in range(2 * admission.CROWDED):
        book(1)
        empty()
    assert booked_but_unsent() == 0


def test_messages_that_workers_have_taken_since_do_not_fill_a_queue(monkeypatch):
    monkeypatch.setattr(admission, "CONGESTED", 2)
    monkeypatch.setattr(admission, "KEPT", LIMIT)
    assert messages_in_queue() == 0
    for _ in range(4):
        book(1)
        empty()
    assert booked_but_unsent() == 0


def test_a_full_queue_delays_no_row_for_another_queue():
    first, second = begin(2)
    Outbox.objects.filter(saga=second).update(target="hotels.book")
    (row,) = outbox.claim(TRIPS, limit=10, full_queues={"trips"})
    assert row.saga == second
    (row,) = outbox.claim(TRIPS, limit=10, full_queues={"hotels"})
    assert row.saga == first


def test_a_flush_without_a_backlog_does_not_ask_the_broker(monkeypatch):
    begin()
    relay.flush(TRIPS)
    monkeypatch.setattr(queues, "lengths", lambda names: pytest.fail("It asks."))
    assert relay.flush(TRIPS) == 0


def test_a_queue_that_another_thread_notes_meanwhile_does_not_break_the_question():
    """The flush thread asks while the threads of steps note the queues that they send to."""
    known = {f"queue-{number}": (0, 0.0) for number in range(1_000)}
    admission._lengths.update(known)
    is_over = threading.Event()

    def note():
        while not is_over.is_set():
            admission._lengths.update(dict.fromkeys(map(str, range(1_000)), (0, 0.0)))
            for name in map(str, range(1_000)):
                del admission._lengths[name]

    noting = started(note)
    try:
        for _ in range(2_000):
            assert admission.still_full() == set()
    finally:
        is_over.set()
    assert noting.result(LIMIT) is None


def test_the_queues_of_a_row_are_those_of_its_target_and_of_its_timeline():
    begin()
    (row,) = outbox.claim(TRIPS, limit=1)
    assert admission.queues_of("trips", row) == {"trips"}
    assert admission.queues_of("payments", row) == {"trips", HOME.name}
