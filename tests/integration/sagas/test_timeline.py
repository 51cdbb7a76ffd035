"""The timeline records each event once, records the progress of a saga, and records its end."""

from datetime import datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from msgspec.structs import replace

from sagas.definition.events import NEEDS_ATTENTION, ON_HOLD
from sagas.definition.messages import TimelineEntry
from sagas.ids import uuid7
from sagas.operations import holds, redrive
from sagas.operations.table_stats import saga_stats
from sagas.storage import timeline
from sagas.storage.outbox import claim
from tests.integration.races import blocked_behind
from tests.trips.harness import HOME, TRIPS, begin, call_off, walk
from tests.trips.models import Outbox, TimelineEvent, Trip
from tests.trips.steps import Asked

pytestmark = pytest.mark.django_db(transaction=True)


def entries(trip) -> list[TimelineEntry]:
    """Return the timeline entries of a trip, none of which is recorded yet."""
    TimelineEvent.objects.all().delete()
    Trip.objects.update(ended_at=None, followed=0)
    Outbox.objects.update(published_at=None, due_at="2020-01-01T00:00:00Z")
    rows = sorted(claim(TRIPS, limit=100), key=lambda row: row.seq)
    return [row.entry("trips") for row in rows if row.saga == trip]


@pytest.fixture
def trip():
    (trip,) = begin()
    return trip


def test_start_records_the_first_event_and_starts_the_stall_clock(trip, settings):
    row = Trip.objects.get(id=trip)
    first = TimelineEvent.objects.get(saga=trip)

    assert (first.type, first.service, first.seq) == ("trip.began", "trips", 0)
    assert row.rescue_at >= row.created_at + timedelta(seconds=settings.SAGA_STALL_SECONDS)
    assert row.followed == 0


def test_events_are_kept_in_the_order_of_the_saga(trip):
    walk([trip])
    timeline.record(HOME, list(reversed(entries(trip))))

    assert list(TimelineEvent.objects.filter(saga=trip).values_list("type", flat=True)) == [
        "trip.began",
        "trip.booked",
        "trip.paid",
        "trip.confirmed",
        "trip.travelled",
    ]


def test_a_repeated_event_is_recorded_and_applied_once(trip):
    walk([trip])
    all_entries = entries(trip)

    assert timeline.record(HOME, all_entries) == 5
    assert timeline.record(HOME, all_entries) == 0
    assert Trip.objects.get(id=trip).followed == 5


def test_the_saga_ends_with_the_event_of_its_last_step_and_not_with_the_pivot(trip):
    walk([trip])
    all_entries = entries(trip)
    timeline.record(HOME, all_entries[:-1])

    assert Trip.objects.get(id=trip).ended_at is None

    timeline.record(HOME, all_entries)

    assert Trip.objects.get(id=trip).ended_at is not None


def test_an_undone_saga_ends_with_its_abort(trip):
    call_off(trip)
    walk([trip])
    timeline.record(HOME, entries(trip))

    assert Trip.objects.get(id=trip).ended_at is not None


@pytest.mark.parametrize(("seconds_left", "is_written"), [(950, False), (850, True)])
def test_progress_is_written_again_only_after_a_pause(trip, settings, seconds_left, is_written):
    settings.SAGA_STALL_SECONDS = 1000
    all_entries = entries(trip)
    before = timezone.now() + timedelta(seconds=seconds_left)
    Trip.objects.update(rescue_at=before)
    timeline.record(HOME, all_entries)

    assert (Trip.objects.get(id=trip).rescue_at > before) is is_written


@pytest.mark.parametrize(
    "columns", [{"redrives": 1}, {"needs_attention": True}, {"on_hold": "trips.pay"}]
)
def test_progress_that_resets_a_column_is_written_at_once(trip, settings, columns):
    all_entries = entries(trip)
    Trip.objects.update(
        rescue_at=timezone.now() + timedelta(seconds=settings.SAGA_STALL_SECONDS), **columns
    )
    timeline.record(HOME, all_entries)
    row = Trip.objects.get(id=trip)

    assert (row.redrives, row.needs_attention, row.on_hold) == (0, False, "")


def waits(entry: TimelineEntry, until: datetime) -> TimelineEntry:
    """Return a new event like another one, which tells of an agreed wait."""
    detail = {"waits_until": until.isoformat()}
    return replace(entry, id=uuid7(), type="trip.asked", detail=detail, ends=False)


def test_a_saga_that_waits_as_agreed_stalls_only_after_the_wait(trip, settings):
    (first, *_) = entries(trip)
    until = timezone.now() + timedelta(days=3)
    timeline.record(HOME, [first, waits(first, until)])
    row = Trip.objects.get(id=trip)

    assert row.waits_until == until
    assert row.rescue_at >= until + timedelta(seconds=settings.SAGA_STALL_SECONDS - 1)
    assert redrive.run_once(HOME) == 0
    assert saga_stats(HOME).oldest_seconds == 0


def test_an_agreed_wait_that_is_over_delays_nothing(trip, settings):
    (first, *_) = entries(trip)
    timeline.record(HOME, [waits(first, timezone.now() - timedelta(days=3))])

    assert Trip.objects.get(id=trip).rescue_at > timezone.now()
    Trip.objects.update(rescue_at="2020-01-01T00:00:00Z")
    assert redrive.run_once(HOME) == 1
    assert saga_stats(HOME).oldest_seconds > 0


def test_the_next_event_ends_an_agreed_wait(trip, settings):
    (first, *_) = entries(trip)
    timeline.record(HOME, [waits(first, timezone.now() + timedelta(days=3))])
    timeline.record(HOME, [first])
    row = Trip.objects.get(id=trip)

    assert row.waits_until is None
    assert row.rescue_at < timezone.now() + timedelta(seconds=2 * settings.SAGA_STALL_SECONDS)


def reported_before(entry: TimelineEntry) -> list[TimelineEntry]:
    """Return two events of the same saga: a late one, and a call for attention."""
    assert entry.at
    before = replace(entry, id=uuid7(), at=entry.at - timedelta(seconds=5), ends=False)
    return [before, replace(before, id=uuid7(), type=NEEDS_ATTENTION)]


def test_an_event_that_comes_late_ends_no_wait_at_a_hold(trip):
    (first, *_) = entries(trip)
    late, late_trouble = reported_before(first)
    on_hold = replace(first, id=uuid7(), type=ON_HOLD, step="trips.pay", ends=False)
    timeline.record(HOME, [on_hold])
    Trip.objects.update(redrives=3)
    timeline.record(HOME, [late])
    row = Trip.objects.get(id=trip)
    assert (row.on_hold, row.redrives) == ("trips.pay", 0)

    holds.hold(TRIPS, step="trips.pay", by="olga", why="The bank is down.")
    Trip.objects.update(rescue_at="2020-01-01T00:00:00Z")
    assert redrive.run_once(HOME) == 0

    timeline.record(HOME, [late_trouble])
    row = Trip.objects.get(id=trip)
    assert (row.on_hold, row.needs_attention) == ("trips.pay", True)


def test_an_event_that_comes_late_ends_no_agreed_wait_and_hides_no_need_for_attention(trip):
    (first, *_) = entries(trip)
    late, _ = reported_before(first)
    until = timezone.now() + timedelta(days=3)
    timeline.record(HOME, [waits(first, until)])
    timeline.record(HOME, [late])
    row = Trip.objects.get(id=trip)
    assert row.waits_until == until
    assert row.rescue_at > until

    timeline.record(HOME, [replace(first, id=uuid7(), type=NEEDS_ATTENTION, ends=False)])
    timeline.record(HOME, [replace(late, id=uuid7())])
    assert Trip.objects.get(id=trip).needs_attention


@pytest.mark.parametrize("report", [ON_HOLD, "saga.waits_for_signal"])
def test_a_report_of_a_step_that_has_gone_on_since_counts_no_more(trip, report):
    (first, *_) = entries(trip)
    late = replace(first, id=uuid7(), step="trips.book", type=report, ends=False)
    if report != ON_HOLD:
        late = waits(late, timezone.now() + timedelta(days=3))
    assert first.at is not None
    later = first.at + timedelta(seconds=1)
    timeline.record(HOME, [replace(late, id=uuid7(), type="trip.booked", at=later, detail={})])
    timeline.record(HOME, [late])
    row = Trip.objects.get(id=trip)

    assert (row.on_hold, row.waits_until) == ("", None)


def test_a_notice_that_only_informs_ends_no_agreed_wait(trip):
    (first, *_) = entries(trip)
    until = timezone.now() + timedelta(days=3)
    timeline.record(HOME, [waits(first, until)])
    timeline.record(HOME, [replace(first, id=uuid7(), type=Asked.type, ends=False)])
    row = Trip.objects.get(id=trip)

    assert row.waits_until == until
    assert row.rescue_at > until
    assert row.followed == 2  # the domain is told of each event


def test_a_notice_that_only_informs_is_no_progress(trip):
    (first, *_) = entries(trip)
    Trip.objects.update(redrives=3, needs_attention=True, rescue_at="2020-01-01T00:00:00Z")
    timeline.record(HOME, [replace(first, id=uuid7(), type=Asked.type, ends=False)])
    row = Trip.objects.get(id=trip)

    assert (row.redrives, row.needs_attention, row.rescue_at.year) == (3, True, 2020)


def test_a_new_event_is_progress(trip):
    Trip.objects.update(redrives=3, needs_attention=True, rescue_at="2020-01-01T00:00:00Z")
    timeline.record(HOME, entries(trip))
    row = Trip.objects.get(id=trip)

    assert (row.redrives, row.needs_attention) == (0, False)
    assert row.rescue_at.year > 2020


def test_a_repeated_event_is_no_progress(trip):
    all_entries = entries(trip)
    timeline.record(HOME, all_entries)
    Trip.objects.update(redrives=3, needs_attention=True)
    timeline.record(HOME, all_entries)

    assert Trip.objects.get(id=trip).needs_attention


def test_needs_attention_is_not_the_end_and_the_next_event_clears_it(trip):
    walk([trip])
    all_entries = entries(trip)
    Outbox.objects.filter(saga=trip, type="trip.booked").update(type=NEEDS_ATTENTION, target=None)
    call = next(entry for entry in entries(trip) if entry.type == NEEDS_ATTENTION)
    timeline.record(HOME, [call])
    row = Trip.objects.get(id=trip)

    assert (row.needs_attention, row.ended_at) == (True, None)

    timeline.record(HOME, all_entries)
    row = Trip.objects.get(id=trip)

    assert not row.needs_attention


def test_events_of_a_deleted_saga_are_recorded(trip):
    all_entries = entries(trip)
    Trip.objects.all().delete()

    assert timeline.record(HOME, all_entries) == 1


def test_transactions_of_one_saga_record_one_after_the_other(trip):
    walk([trip])
    first, second, *_ = entries(trip)
    with transaction.atomic():
        timeline.record(HOME, [second])
        behind = blocked_behind("default", lambda: timeline.record(HOME, [first]))

    assert behind.result(timeout=20) == 1
    assert list(TimelineEvent.objects.order_by("recorded_at").values_list("id", flat=True)) == [
        second.id,
        first.id,
    ]


def test_events_stay_in_order_if_the_clock_is_set_back(trip):
    walk([trip])
    first, second, *_ = entries(trip)
    timeline.record(HOME, [first])
    TimelineEvent.objects.update(recorded_at=timezone.now() + timedelta(hours=1))
    timeline.record(HOME, [second])

    assert list(TimelineEvent.objects.order_by("recorded_at").values_list("id", flat=True)) == [
        first.id,
        second.id,
    ]
