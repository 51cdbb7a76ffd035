"""The questions that a host may ask about its sagas, and the notices that it publishes."""

import pytest

from sagas import queries
from sagas.definition.handlers import Waiting
from sagas.ids import uuid7
from sagas.lifecycle import publish_notice
from sagas.operations import holds
from sagas.storage.registry import UnknownService
from tests.integration.sagas.in_flight import booked
from tests.trips import harness
from tests.trips.harness import TRIPS, begin, deliver, row, state
from tests.trips.models import Inbox, Outbox
from tests.trips.steps import Asked, behaviour, destinations

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture(autouse=True)
def flushes(monkeypatch):
    """Return the services whose outbox is to be flushed."""
    asked: list[str] = []
    monkeypatch.setattr("sagas.lifecycle.request_flush", asked.append)
    monkeypatch.setattr("sagas.queries.request_flush", asked.append)
    yield asked
    harness.forget()


def waiting_trip():
    [trip] = begin()
    deliver("trips.book", [trip])
    behaviour["trips.pay/call", trip] = lambda _: Waiting("The bank thinks.", pause=900)
    deliver("trips.pay", [trip])
    return trip


def test_the_open_steps_of_a_saga_are_those_that_are_not_over():
    trip, other = waiting_trip(), begin()[0]
    [step] = queries.open_steps(trip, other)
    assert step[:4] == (trip, "trips", "trips.pay", "waiting")
    assert step.due_at == row(trip, "trips.pay").send_at
    assert queries.open_steps() == queries.open_steps(uuid7()) == []


def test_a_step_that_an_outside_system_waits_for_is_woken_up(
    flushes, django_capture_on_commit_callbacks
):
    trip, other = waiting_trip(), waiting_trip()
    flushes.clear()
    later = row(other, "trips.pay").send_at
    with django_capture_on_commit_callbacks(using="default", execute=True):
        assert queries.wake_up("trips", [trip, uuid7()]) == 1
        assert flushes == []
    assert flushes == ["trips"]
    [step] = queries.open_steps(trip)
    assert step.due_at < later
    assert row(other, "trips.pay").send_at == later


def test_nothing_is_sent_for_a_saga_that_does_not_wait(flushes, django_capture_on_commit_callbacks):
    [trip] = begin()
    flushes.clear()
    with django_capture_on_commit_callbacks(using="default", execute=True):
        assert queries.wake_up("trips", [trip]) == 0
    assert flushes == []


def test_the_failing_steps_of_a_service_are_counted_with_their_worst_error():
    trips = begin(3)
    for trip, attempt, error in zip(trips, (1, 3, 2), ("early", "worst", "late"), strict=True):

        def boom(_, error=error):
            raise RuntimeError(error)

        behaviour["trips.book", trip] = boom
        deliver("trips.book", [trip])
        harness.fail("trips.book", [trip], attempt=attempt, error=error)
    [failing] = queries.failing_steps("trips")
    assert failing == ("trips.book", 3, 3, "worst")
    with pytest.raises(UnknownService):
        queries.failing_steps("boats")


def test_the_sagas_that_wait_behind_a_hold_are_counted(monkeypatch):
    trips = begin(3)
    holds.hold(TRIPS, step="trips.book", by="ada", why="stop")
    deliver("trips.book", trips)
    assert {state(trip, "trips.book") for trip in trips} == {Inbox.State.HELD}
    assert queries.held_behind("trips.book") == 3
    assert queries.held_behind("trips.pay") == 0
    monkeypatch.setattr(queries, "COUNT_LIMIT", 2)
    assert queries.held_behind("trips.book") == 2


def test_the_sagas_that_wait_behind_a_hold_of_an_outside_system_are_counted_by_it():
    trips = booked(6)
    for name, members in {"acme": trips[:2], "best": trips[2:5], "calm": trips[5:]}.items():
        destinations.update(dict.fromkeys(members, name))
        holds.hold(TRIPS, step="trips.pay", destination=name, by="ada", why="stop")
    deliver("trips.pay", trips)
    assert list(queries.held_by_destination("trips.pay").items()) == [
        ("best", (3, True)),
        ("acme", (2, True)),
        ("calm", (1, True)),
    ]
    assert queries.held_behind("trips.pay") == 6
    holds.release(TRIPS, step="trips.pay", destination="best")
    assert queries.held_by_destination("trips.pay") == {"acme": (2, True), "calm": (1, True)}
    assert queries.held_by_destination("trips.book") == {}


def test_a_number_of_sagas_that_may_be_too_small_says_so(monkeypatch):
    trips = booked(7)
    for name, members in {"acme": trips[:4], "best": trips[4:6], "calm": trips[6:]}.items():
        destinations.update(dict.fromkeys(members, name))
        holds.hold(TRIPS, step="trips.pay", destination=name, by="ada", why="stop")
    deliver("trips.pay", trips)
    holds.release(TRIPS, step="trips.pay", destination="acme")
    monkeypatch.setattr(queries, "COUNT_LIMIT", 2)
    found = queries.held_by_destination("trips.pay")
    assert found == {"best": (1, False), "calm": (1, True)}
    assert [str(number) for number in found.values()] == ["at least 1", "1"]


def test_a_notice_is_published_with_the_plan_and_context_of_its_saga():
    [trip] = begin(names=["Grace"])
    assert publish_notice("trips", trip, Asked()) is True
    notice = Outbox.objects.get(saga=trip, type="trip.asked")
    assert (notice.target, notice.context) == (None, {"name": "Grace"})
    assert notice.plan["saga"] == "trip"
    assert publish_notice("trips", uuid7(), Asked()) is False
