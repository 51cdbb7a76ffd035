"""An optional step after the pivot is skipped when its tries end, and the saga goes on."""

from uuid import uuid4

import msgspec
import pytest

from sagas.contrib.prometheus import WorkerMetrics
from sagas.definition.events import NEEDS_ATTENTION, STEP_SKIPPED
from sagas.definition.handlers import Retry, Unknown
from sagas.definition.plan import Plan, Step
from sagas.observability import instrumentation
from sagas.outcomes import Waiting
from sagas.storage import timeline
from sagas.testing import story
from sagas.testing.mailbox import EntryDelivery
from tests.trips.harness import (
    HOME,
    begin,
    deliver,
    events,
    fail,
    make_due,
    row,
    state,
    with_policy,
)
from tests.trips.models import Inbox, Outbox, TimelineEvent, Trip
from tests.trips.steps import behaviour
from tests.trips.tour import TOUR

pytestmark = pytest.mark.django_db(transaction=True)

PLAN = TOUR.plan
GUIDE, THANK = "trips.guide", "trips.thank"


def boom(_):
    raise RuntimeError("password=hunter2")


def reach(step, trip):
    """Run the steps of a tour before `step`."""
    names = [each.name for each in PLAN.actions]
    for name in names[: names.index(step)]:
        assert deliver(name, [trip], plan=PLAN) == []


def tour(step):
    """Return a tour whose next step is `step`."""
    (trip,) = begin(declaration=TOUR)
    reach(step, trip)
    return trip


def only(model, **fields):
    return model.objects.get(**fields)


def test_the_saga_goes_on_behind_a_skipped_step_and_its_timeline_says_why():
    trip = tour(GUIDE)
    with with_policy(GUIDE, tries=2):
        for attempt in (1, 2):
            fail(GUIDE, [trip], attempt=attempt, error="password=hunter2", plan=PLAN)

    skipped = only(Outbox, saga=trip, type=STEP_SKIPPED)
    assert (state(trip, GUIDE), row(trip, GUIDE).error) == ("refused", "password=hunter2")
    assert (skipped.target, skipped.step) == ("trips.travel", GUIDE)
    assert skipped.data == {
        "step": GUIDE,
        "tries": 2,
        "reason": "trips.guide could not be completed.",
    }
    assert NEEDS_ATTENTION not in events(trip)


def test_three_reports_of_the_last_failure_skip_a_step_once():
    trip = tour(GUIDE)
    with with_policy(GUIDE, tries=1):
        for _ in range(3):
            fail(GUIDE, [trip], plan=PLAN)

    assert events(trip).count(STEP_SKIPPED) == 1


def test_a_skipped_last_step_ends_its_saga_without_attention():
    trip = tour(THANK)
    with with_policy(THANK, tries=1):
        fail(THANK, [trip], plan=PLAN)

    skipped = only(Outbox, saga=trip, type=STEP_SKIPPED)
    assert skipped.target is None
    told = story(TOUR, trip).run()
    told.expect(ended="done", skipped=[THANK], waiting=[], needs_attention=False)
    assert only(Trip, id=trip).ended_at is not None
    assert only(TimelineEvent, saga=trip, type=STEP_SKIPPED).detail["tries"] == 1


def test_an_unknown_outcome_skips_an_optional_step_at_the_limit():
    trip = tour(GUIDE)
    behaviour["trips.guide/call", trip] = lambda _: Unknown(reason="no answer")
    with with_policy(GUIDE, tries=2):
        for attempt in (0, 1):
            make_due()
            deliver(GUIDE, [trip], attempt=attempt, plan=PLAN)
            assert state(trip, GUIDE) == ("waiting" if attempt == 0 else "refused")

    assert only(Outbox, saga=trip, type=STEP_SKIPPED).target == "trips.travel"


def test_an_agreed_wait_is_no_failed_try():
    trip = tour(GUIDE)
    behaviour["trips.guide/call", trip] = lambda _: Waiting("The guide thinks.", pause=0)
    with with_policy(GUIDE, tries=1):
        for _ in range(3):
            make_due()
            deliver(GUIDE, [trip], plan=PLAN)

    assert state(trip, GUIDE) == "waiting"


def test_an_answer_that_comes_after_the_skip_is_discarded():
    trip = tour(GUIDE)

    def skip_meanwhile(_):
        with with_policy(GUIDE, tries=1):
            fail(GUIDE, [trip], claim=row(trip, GUIDE).claim, plan=PLAN)

    behaviour["trips.guide/call", trip] = skip_meanwhile
    deliver(GUIDE, [trip], plan=PLAN)

    assert state(trip, GUIDE) == "refused"
    assert (events(trip).count(STEP_SKIPPED), events(trip).count("trip.guided")) == (1, 0)


@pytest.mark.parametrize("other_is_over", [False, True])
@pytest.mark.parametrize("outcome", [Unknown(reason="no answer"), Retry(reason="busy")])
def test_a_run_that_was_overtaken_skips_no_step(outcome, other_is_over):
    trip = tour(GUIDE)

    def overtaken(_):
        taken = {"state": "waiting", "claim": None} if other_is_over else {"claim": uuid4()}
        Inbox.objects.filter(saga=trip, step=GUIDE).update(**taken)
        return outcome

    behaviour["trips.guide/call", trip] = overtaken
    with with_policy(GUIDE, tries=1):
        deliver(GUIDE, [trip], plan=PLAN)

    assert state(trip, GUIDE) == ("waiting" if other_is_over else "started")
    assert STEP_SKIPPED not in events(trip)


def test_a_failure_that_is_reported_after_the_success_skips_nothing():
    trip = tour(GUIDE)
    deliver(GUIDE, [trip], plan=PLAN)
    with with_policy(GUIDE, tries=1):
        fail(GUIDE, [trip], plan=PLAN)

    assert (state(trip, GUIDE), STEP_SKIPPED in events(trip)) == ("done", False)


def test_a_message_that_comes_after_the_skip_does_not_run_the_step():
    trip = tour(THANK)
    with with_policy(THANK, tries=1):
        fail(THANK, [trip], plan=PLAN)
    before = events(trip)
    deliver(THANK, [trip], plan=PLAN)

    assert (state(trip, THANK), events(trip)) == ("refused", before)


def test_a_fault_that_sagas_share_skips_none_of_them():
    trips = [tour(THANK), tour(THANK)]
    with with_policy(THANK, tries=1):
        fail(THANK, trips, plan=PLAN)

    assert {state(trip, THANK) for trip in trips} == {"waiting"}


def test_the_loss_of_a_whole_batch_skips_no_step():
    trip = tour(THANK)
    with with_policy(THANK, tries=1):
        fail(THANK, [trip], isolated=False, plan=PLAN)

    assert state(trip, THANK) == "waiting"


def test_a_step_that_this_process_does_not_know_is_not_skipped(settings):
    trip = tour(THANK)
    steps = (*PLAN.actions[:-1], Step("trips.fly", optional=True))
    plan = msgspec.structs.replace(PLAN, steps=steps)
    Outbox.objects.filter(saga=trip, target=THANK).update(target="trips.fly")
    for attempt in range(1, settings.SAGA_STEP_ATTEMPTS + 2):
        fail("trips.fly", [trip], attempt=attempt, plan=plan)

    assert state(trip, "trips.fly") == "waiting"


def test_a_required_step_after_the_pivot_is_tried_for_ever():
    trip = tour("trips.travel")
    with with_policy("trips.travel", tries=1):
        for attempt in (1, 2):
            fail("trips.travel", [trip], attempt=attempt, plan=PLAN)

    assert (state(trip, "trips.travel"), events(trip).count(NEEDS_ATTENTION)) == ("waiting", 1)


@pytest.mark.parametrize("seed", range(5))
def test_in_any_order_and_with_duplicates_the_other_steps_run_once(seed):
    (trip,) = begin(declaration=TOUR)
    told = story(TOUR, trip).in_any_order(seed).with_duplicates()
    told.when(GUIDE).raises(RuntimeError("boom")).when(THANK).retries().run()

    told.expect(
        ended="done",
        done=["trips.book", "trips.confirm", "trips.travel"],
        skipped=[GUIDE, THANK],
        refused=[],
        needs_attention=False,
    )
    assert Inbox.objects.filter(saga=trip).count() == len(PLAN.actions)
    assert told.events.count(STEP_SKIPPED) == 2
    assert f"Skipped: {GUIDE}, {THANK}." in str(told)


def test_a_step_that_succeeds_after_a_failure_is_not_skipped():
    (trip,) = begin(declaration=TOUR)
    told = story(TOUR, trip).when(GUIDE).unknown(times=1).run()

    told.expect(ended="done", done=[step.name for step in PLAN.actions], skipped=[])


def test_only_an_optional_step_says_so_in_the_plan_that_travels():
    old = msgspec.to_builtins(Step("trips.travel"))
    assert old == {"name": "trips.travel"}
    assert msgspec.to_builtins(Step(THANK, optional=True)) == {"name": THANK, "optional": True}

    before = {"saga": "guided_trip", "steps": [old], "abort": "trips.drop"}
    assert not msgspec.convert(before, Plan).skippable("trips.travel")


def test_the_metrics_count_a_skipped_step_and_the_end_of_its_saga(monkeypatch, tmp_path):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    metrics = WorkerMetrics()
    monkeypatch.setattr(instrumentation, "_metrics", metrics)
    trip = tour(THANK)
    with with_policy(THANK, tries=2):
        fail(THANK, [trip], attempt=1, plan=PLAN)
        fail(THANK, [trip], attempt=2, plan=PLAN)

    outcomes = {
        name: metrics.outcomes.labels(THANK, name)._value.get()
        for name in ("failed", "given_up", "skipped")
    }
    assert outcomes == {"failed": 1, "given_up": 0, "skipped": 1}
    assert metrics.sagas.labels("trips", STEP_SKIPPED)._sum.get() > 0


def test_an_entry_of_a_skip_that_is_recorded_clears_an_alarm():
    trip = tour(THANK)
    Trip.objects.filter(id=trip).update(needs_attention=True)
    with with_policy(THANK, tries=1):
        fail(THANK, [trip], plan=PLAN)
    (skipped,) = [
        each.entry
        for each in story(TOUR, trip)._pending
        if isinstance(each, EntryDelivery) and each.entry.type == STEP_SKIPPED
    ]

    assert timeline.record(HOME, [skipped]) == 1
    assert not only(Trip, id=trip).needs_attention
