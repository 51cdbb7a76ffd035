"""The audit of sagas that are no orders: sound ones give no violation, and faults are found."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

import sagas
from audit.run import audit
from sagas.ids import uuid7
from sagas.testing import story
from tests.trips import harness
from tests.trips.holidays import HOLIDAY
from tests.trips.models import Cruise, Effect, Inbox, Outbox, TimelineEvent, Trip, Watermark
from tests.trips.saga import CRUISE, REVIEWED_TRIP, TRIP
from tests.trips.steps import Arrived, Began, CalledOff, NotPaid, Rejected, Reviewed, behaviour
from tests.trips.tour import TOUR

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture(autouse=True)
def _no_messages(monkeypatch):
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)
    yield
    harness.forget()


def found(**options: Any) -> list[tuple[str, str, str]]:
    """Return the violations: invariant, subject and detail."""
    return [
        (verdict.invariant.id, *violation)
        for verdict in audit(limit=100, **options).verdicts
        for violation in verdict.shown
    ]


def cruise():
    row = Cruise()
    sagas.start(CRUISE, row, Began(name="Grace"))
    return row.pk


def travelled():
    """Return a trip that has ended by its last step."""
    return story(TRIP, lambda: harness.begin()[0]).run().expect(ended="done").saga


def unpaid():
    """Return a trip that was undone, because its bank refused."""
    [trip] = harness.begin()
    behaviour["trips.pay", trip] = lambda _: NotPaid(code="declined", detail="No money.")
    return story(TRIP, lambda: trip).run().expect(ended="cancelled").saga


def called_off():
    """Return a trip that was cancelled after its first step."""
    begun = story(TRIP, lambda: harness.begin()[0]).run(until="trips.book")
    return begun.cancel(CalledOff()).run().expect(ended="cancelled").saga


def test_every_way_to_end_and_an_open_saga_give_no_violation():
    travelled(), unpaid(), called_off()
    story(CRUISE, cruise).run().expect(ended="done")
    harness.begin()
    assert found() == []

    report = audit()
    assert report.sagas["trips"] == {"ended": 3, "open": 1}
    assert report.sagas["cruises"] == {"ended": 1}
    checked = {verdict.invariant.id: verdict.checked["trips"] for verdict in report.verdicts}
    assert (checked["I8"], checked["I9"], checked["I12"], checked["I21"]) == (4, 4, 4, 4)


def test_a_lost_message_a_lost_event_and_a_lost_row_are_found():
    lost_row, lost_event, invented = travelled(), travelled(), travelled()
    Inbox.objects.filter(saga=lost_row, step="trips.travel").delete()
    Outbox.objects.filter(saga=lost_event, step="trips.pay").delete()
    TimelineEvent.objects.create(
        id=uuid7(),
        saga=invented,
        seq=9,
        type="trip.paid",
        service="trips",
        at=timezone.now(),
        detail={},
    )
    violations = {(invariant, subject) for invariant, subject, _ in found()}
    assert ("I8", str(lost_row)) in violations
    assert ("I9", str(lost_event)) in violations
    assert ("I12", str(invented)) in violations
    assert all(detail.startswith("trip: ") for _, _, detail in found())


def test_a_step_that_is_not_undone_is_found():
    trip = unpaid()
    Inbox.objects.filter(saga=trip, step="trips.unbook").update(state="refused")
    assert ("I14", str(trip)) in {(invariant, subject) for invariant, subject, _ in found()}


def test_the_invariants_of_the_domain_are_checked():
    trip = travelled()
    Effect.objects.filter(trip=trip, step="trips.travel").delete()
    assert found() == [("I21", str(trip), "trip: trips.travel is done, but had no effect")]


def test_messages_of_no_saga_are_found_and_those_of_any_kind_are_not():
    trip, stranger = travelled(), uuid7()
    Inbox.objects.filter(saga=trip, step="trips.travel").update(saga=stranger)
    details = [detail for _, subject, detail in found() if subject == str(stranger)]
    assert details == ["trips_inbox has rows of it, but there is no such saga"]


def test_open_sagas_are_violations_where_all_should_have_ended():
    [trip] = harness.begin()
    assert found() == []
    [(invariant, subject, detail)] = found(expect_ended=True)
    assert (invariant, subject) == ("I13", str(trip))
    assert detail.startswith("this trip is still open after")


def test_sagas_whose_messages_are_purged_are_counted_and_not_checked():
    trip = travelled()
    Inbox.objects.filter(saga=trip).delete()
    assert found() != []
    harness.age([trip], days=400)
    Watermark.objects.create(home="trips", before=timezone.now() - timedelta(days=90))
    assert found() == []
    assert audit().sagas["trips"]["purged"] == 1


def test_the_command_names_each_kind(capsys):
    travelled()
    call_command("audit", json=True)
    report = json.loads(capsys.readouterr().out)
    assert report["sagas"]["trips"] == {"ended": 1, "open": 0, "forgotten": 0}
    assert report["ok"]


def test_skipped_steps_and_answered_waits_give_no_violation():
    toured = story(TOUR, lambda: harness.begin(declaration=TOUR)[0])
    toured.when("trips.guide").raises(RuntimeError("boom")).when("trips.thank").retries().run()
    toured.expect(ended="done", skipped=["trips.guide", "trips.thank"])

    for answer in (Reviewed(score=3), Rejected(code="odd", detail="It looks odd.")):
        reviewed = story(REVIEWED_TRIP, lambda: harness.begin(declaration=REVIEWED_TRIP)[0])
        reviewed.run().signals("trips.review", answer).signals("trips.arrive", Arrived()).run()
        assert reviewed.record.end is not None
    expired = story(REVIEWED_TRIP, lambda: harness.begin(declaration=REVIEWED_TRIP)[0])
    expired.run().expires("trips.review").run().expect(ended="cancelled")

    # A wait and a call of this domain have no effect of their own.
    assert [each for each in found() if each[0] != "I21"] == []


def holiday():
    """Return a holiday whose tour has ended, and the tour."""
    told = story(HOLIDAY, lambda: sagas.start(HOLIDAY, Cruise(), Began(name="Ada"))).run()
    tour = told.child("trips.tour").run().expect(ended="done").saga
    told.run().expect(ended="done")
    return told.saga, tour


def test_a_child_without_its_parent_and_a_parent_that_sleeps_are_found():
    sound, slow, lost = holiday(), holiday(), holiday()
    assert found() == []

    Inbox.objects.filter(saga=slow[0], step="trips.tour").update(state="waiting")
    Trip.objects.filter(id=slow[1]).update(ended_at=timezone.now() - timedelta(hours=1))
    Inbox.objects.filter(saga=lost[0], step="trips.tour").delete()
    told = {
        subject: detail.partition(",")[0] if "waiting" in detail else detail
        for invariant, subject, detail in found()
        if invariant == "I22"
    }
    assert told == {
        str(slow[1]): f"trips.tour of saga {slow[0]} is still waiting",
        str(lost[1]): f"saga {lost[0]} has no row of trips.tour, which started this one",
    }
    assert str(sound[1]) not in told
