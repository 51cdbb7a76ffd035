"""No process sends a message that workers refuse: it splits batches, and refuses huge events."""

import pytest
import redis
from django.conf import settings

from sagas.definition.sizes import (
    MOST_BYTES_IN_BROKER,
    MOST_BYTES_OF_BATCH,
    MOST_BYTES_OF_ROW,
    MOST_CHARACTERS_OF_ERROR,
    EventTooLarge,
)
from sagas.delivery import relay
from tests.broker import empty, take
from tests.trips.harness import TRIPS, begin, deliver
from tests.trips.models import Outbox, Trip
from tests.trips.steps import behaviour

pytestmark = pytest.mark.django_db(transaction=True)

# An event is written twice: as the facts of the event, and as the context of its saga.
LARGE = "x" * (MOST_BYTES_OF_ROW // 2 - 2_000)


def test_large_messages_are_sent_in_several_batches():
    empty()
    trips = begin(names=[LARGE] * 10)
    relay.flush(TRIPS)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        items = client.lrange("trips", 0, -1)
    assert max(map(len, items)) < MOST_BYTES_IN_BROKER / 2
    sent = [message for message in take("trips") if message.task == "sagas.run_step"]
    assert len(sent) > 1
    assert sorted(one["saga"] for message in sent for one in message.args[2]) == sorted(
        map(str, trips)
    )


def test_small_messages_share_a_batch():
    empty()
    begin(10)
    relay.flush(TRIPS)
    (sent,) = [message for message in take("trips") if message.task == "sagas.run_step"]
    assert len(sent.args[2]) == 10


def test_an_event_that_is_too_large_for_a_message_is_not_written():
    with pytest.raises(EventTooLarge, match=r"Event trip\.began of saga"):
        begin(names=["Ada", "x" * MOST_BYTES_OF_BATCH])
    assert not Trip.objects.exists()
    assert not Outbox.objects.exists()


def test_the_error_of_a_failed_step_is_cut_before_it_is_sent():
    (trip,) = begin()

    def fail(delivery):
        raise RuntimeError("x" * 1_000_000)

    behaviour["trips.book", trip] = fail
    (failure,) = deliver("trips.book", [trip])
    assert len(failure.error) == MOST_CHARACTERS_OF_ERROR
