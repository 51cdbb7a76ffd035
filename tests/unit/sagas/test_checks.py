"""The checks reject a wrong declaration of a saga, and say how to correct it."""

from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest

from sagas import children as child_sagas
from sagas.checks import children, timers, waits
from sagas.checks.plans import check_plan
from sagas.checks.registration import check_celery, check_sagas
from sagas.definition import handlers
from sagas.definition.events import Event, Notice, Refusal
from sagas.definition.handlers import Delivery
from sagas.definition.names import NameTaken, Registrations
from sagas.definition.plan import Parallel, Plan, Saga, Step
from sagas.definition.timers import Timer, timer
from tests.trips.holidays import HOLIDAY, VISIT
from tests.trips.models import Trip
from tests.trips.saga import REVIEWED_TRIP, TIMED_TRIP, TRIP
from tests.trips.steps import Began

BOOK = Step("trips.book", undo="trips.unbook")
PAY = Step("trips.pay", undo="trips.refund")
CONFIRM = Step("trips.confirm", pivot=True)
TRAVEL = Step("trips.travel")
LOOK_BEFORE = Step("trips.look", undo="trips.look.close")
LOOK_AFTER = Step("trips.look")


def plan(*steps: Step, abort: str = "trips.drop") -> Plan:
    return Plan(saga="tried", steps=steps, abort=abort)


def test_the_sagas_and_settings_of_this_project_are_sound():
    assert check_sagas(None) == []
    assert check_celery(None) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (plan(), "no steps"),
        (plan(BOOK, BOOK, CONFIRM), "occurs 2 times"),
        (
            plan(BOOK, Step("trips.pay", undo="trips.unbook"), CONFIRM),
            "'trips.unbook' occurs 2 times",
        ),
        (plan(BOOK, CONFIRM, Step("trips.travel", pivot=True)), "two pivots"),
        (plan(BOOK, Step("trips.pay"), CONFIRM), "'trips.pay' has no undo"),
        (plan(BOOK, CONFIRM, PAY), "never runs"),
        (
            plan(Step("trips.book", undo="orders.cancel"), CONFIRM),
            "not in the service of 'trips.book'",
        ),
        (
            plan(Step("trips.fly", undo="trips.unbook"), CONFIRM),
            "no step is registered as 'trips.fly'",
        ),
        (plan(Step("trips.travel", undo="trips.unbook"), CONFIRM), "has no refusal event"),
        (
            plan(Step("trips.book", undo="trips.unbook", optional=True), CONFIRM),
            "'trips.book' is optional, but does not come after a pivot",
        ),
        (
            plan(BOOK, Step("trips.confirm", pivot=True, optional=True)),
            "'trips.confirm' is optional, but does not come after a pivot",
        ),
        (plan(BOOK, Step("trips.travel", optional=True)), "does not come after a pivot"),
        (
            plan(CONFIRM, Step("trips.book", undo="trips.unbook", optional=True)),
            "an undo that never runs",
        ),
        (plan(BOOK, CONFIRM, Step("hotels.checkin")), "No installed app 'hotels'"),
        (plan(BOOK, CONFIRM, abort="payments.refund"), "TrackedSaga"),
        (plan(BOOK, Step("payments.capture", pivot=True)), "'payments.capture' has no bar"),
        (
            plan(BOOK, Step("payments.capture", pivot=True, bar="trips.drop")),
            "'trips.drop' is not in the service of",
        ),
        (
            plan(BOOK, Step("trips.confirm", pivot=True, bar="trips.unbook")),
            "has a bar that never runs",
        ),
        (
            plan(BOOK, Step("trips.pay", undo="trips.refund", bar="trips.drop"), CONFIRM),
            "has a bar that never runs",
        ),
    ],
)
def test_a_wrong_plan_is_rejected(wrong, says):
    assert says in " ".join(f"{message.msg} {message.hint}" for message in check_plan(wrong))


class Seen(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "test.seen"


class Unseen(Refusal, frozen=True, kw_only=True):
    type: ClassVar[str] = "test.unseen"


class Told(Notice, frozen=True, kw_only=True):
    type: ClassVar[str] = "test.told"


UNSEEN = Unseen(code="unseen", detail="Not seen in time.")


@pytest.fixture
def register(monkeypatch):
    """Return the function that registers a wait `trips.look` for one test."""
    monkeypatch.setattr(handlers, "_definitions", dict(handlers._definitions))
    monkeypatch.setattr(handlers, "_registrations", Registrations("The step", __file__))

    def register_wait(**changes: Any) -> None:
        given = {"answer": Seen, "expires": timedelta(days=1), "expired": UNSEEN, **changes}
        handlers.wait("trips.look", **given)

    return register_wait


@pytest.mark.parametrize(
    ("changes", "check", "says"),
    [
        ({"answer": None}, "sagas.E090", "no type of answer, but None"),
        ({"answer": Unseen}, "sagas.E090", "no type of answer"),
        ({"answer": Told}, "sagas.E090", "no type of answer"),
        ({"answer": Event}, "sagas.E090", "no type of answer"),
        ({"refusal": Seen}, "sagas.E091", "no Refusal type"),
        ({"expires": timedelta(0)}, "sagas.E092", "expires after datetime.timedelta(0)"),
        ({"expires": 3}, "sagas.E092", "expires after 3"),
    ],
)
def test_a_wrong_wait_is_rejected(register, changes, check, says):
    register(**changes)
    [finding] = waits.declarations()
    assert (finding.id, says in finding.text) == (check, True)


@pytest.mark.parametrize(
    ("changes", "steps", "check"),
    [
        ({"expired": Seen()}, [LOOK_BEFORE, CONFIRM], "sagas.E093"),
        ({"expired": None}, [LOOK_BEFORE, CONFIRM], "sagas.E093"),
        ({}, [CONFIRM, LOOK_AFTER], "sagas.E093"),
        ({"expired": Told()}, [CONFIRM, LOOK_AFTER], "sagas.E093"),
        ({"expired": Seen(), "refusal": Unseen}, [CONFIRM, LOOK_AFTER], "sagas.E094"),
    ],
)
def test_a_wait_in_the_wrong_place_is_rejected(register, changes, steps, check):
    register(**changes)
    [message] = check_plan(plan(*steps))
    assert message.id == check


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"refusal": Unseen}, [BOOK, LOOK_BEFORE, CONFIRM]),
        ({}, [Step("trips.look", pivot=True), TRAVEL]),
        ({"expired": Seen()}, [CONFIRM, LOOK_AFTER]),
    ],
)
def test_a_wait_in_its_place_is_sound(register, changes, steps):
    register(**changes)
    assert not [*check_plan(plan(*steps)), *waits.declarations()]


def test_a_wait_that_is_not_registered_is_one_error_that_names_the_function():
    [message] = check_plan(plan(BOOK, LOOK_BEFORE, CONFIRM))
    assert message.id == "sagas.E007"
    assert "'trips.look'" in message.msg
    assert "sagas.wait" in (message.hint or "")


def test_a_wait_before_the_pivot_gets_the_undo_that_closes_it():
    steps = REVIEWED_TRIP.plan.actions
    assert {step.name: step.undo for step in steps if "review" in step.name} == {
        "trips.review": "trips.review.close"
    }
    assert steps[3] == Step("trips.arrive")
    assert [*REVIEWED_TRIP.plan.waits()] == ["trips.review"]


def in_an_hour(traveller: Delivery[Began]) -> datetime:
    return traveller.started_at + timedelta(hours=1)


@pytest.fixture
def register_timer(register):
    """Return the function that registers a timer `trips.look` for one test."""

    def register_one(**given: Any) -> None:
        timer("trips.look", **given)

    return register_one


HOUR = timedelta(hours=1)
NO_FUNCTION: Any = "later"


@pytest.mark.parametrize(
    ("given", "check", "says"),
    [
        ({}, "sagas.E095", "after=None and until=None"),
        ({"after": HOUR, "until": in_an_hour}, "sagas.E095", "either after="),
        ({"until": NO_FUNCTION, "accepts": Began}, "sagas.E095", "until='later'"),
        ({"after": timedelta(0)}, "sagas.E096", "waits datetime.timedelta(0)"),
        ({"after": 3}, "sagas.E096", "waits 3"),
        ({"after": timedelta(days=40_000)}, "sagas.E096", "at most 100 years"),
        ({"after": HOUR, "event": UNSEEN}, "sagas.E097", "no Refusal and no Notice"),
        ({"after": HOUR, "event": Told()}, "sagas.E097", "no Refusal and no Notice"),
        ({"after": HOUR, "event": Seen}, "sagas.E097", "ends with <class"),
    ],
)
def test_a_wrong_timer_is_rejected(register_timer, given, check, says):
    register_timer(**given)
    [finding] = timers.declarations()
    assert (finding.id, says in f"{finding.text} {finding.hint}") == (check, True)


@pytest.mark.parametrize("given", [{"after": HOUR}, {"until": in_an_hour, "event": Seen()}])
@pytest.mark.parametrize("steps", [[BOOK, LOOK_BEFORE, CONFIRM], [CONFIRM, LOOK_AFTER]])
def test_a_timer_before_or_after_the_pivot_is_sound(register_timer, given, steps):
    register_timer(**given)
    assert not [*check_plan(plan(*steps)), *timers.declarations()]


def test_a_timer_names_the_fields_that_its_function_reads(register_timer):
    register_timer(until=in_an_hour)
    definition = handlers.definition("trips.look")
    assert definition
    assert definition.accepts is Began


def test_the_function_of_a_timer_needs_an_annotation(register_timer):
    with pytest.raises(TypeError, match=r"'trips\.look' has no annotation"):
        register_timer(until=lambda traveller: traveller.started_at)


def test_two_timers_of_one_name_are_an_error(monkeypatch):
    monkeypatch.setattr(handlers, "_definitions", dict(handlers._definitions))
    monkeypatch.setattr(handlers._registrations, "_origins", {})
    timer("trips.look", after=HOUR)
    with pytest.raises(NameTaken):
        timer("trips.look", after=HOUR)


@pytest.mark.parametrize(("hours", "checks"), [(2, []), (1, ["sagas.E098"])])
def test_the_timers_before_the_pivot_are_shorter_than_the_deadline(
    register_timer, monkeypatch, hours, checks
):
    monkeypatch.setattr(Saga, "declared", {})
    monkeypatch.setattr(Saga, "_registrations", Registrations("The saga", __file__))
    register_timer(after=HOUR)
    saga = Saga(
        "slow", BOOK, Timer("trips.look"), CONFIRM, abort="trips.drop", deadline=hours * HOUR
    )
    assert [finding.id for finding in timers.too_long(saga)] == checks


def test_timers_of_one_group_count_once_for_the_deadline(register_timer, monkeypatch):
    monkeypatch.setattr(Saga, "declared", {})
    monkeypatch.setattr(Saga, "_registrations", Registrations("The saga", __file__))
    register_timer(after=HOUR)
    timer("inventory.look", after=HOUR)
    group = Parallel(Timer("trips.look"), Timer("inventory.look"))
    saga = Saga("both", BOOK, group, CONFIRM, abort="trips.drop", deadline=1.5 * HOUR)
    assert [*timers.too_long(saga)] == []


def test_a_timer_before_the_pivot_gets_the_undo_that_closes_it():
    assert TIMED_TRIP.plan.actions[1] == Step("trips.rest", undo="trips.rest.close")
    assert TIMED_TRIP.plan.actions[3] == Step("trips.remind")


def begin_trip(traveller: Delivery[Began]) -> tuple[Trip, Began]:
    return Trip(), Began()


def undo_trip(traveller: Delivery[Began]) -> Seen:
    return Seen()


class Missed(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "test.missed"
    code: str
    detail: str


@pytest.fixture
def register_child(register):
    """Return the function that registers a child of `trips.look` for one test."""

    def register_one(name: str = "trips.look", **changes: Any) -> None:
        given = {
            "saga": TRIP,
            "begin": begin_trip,
            "done": Seen(),
            "failed": Unseen,
            "undo": undo_trip,
            **changes,
        }
        child_sagas.child(name, **given)

    return register_one


CHILD_BEFORE = Step("trips.look", undo="trips.look.undo")


def declared_as(name: str) -> list[str]:
    """Return the ids of the faults that name a step."""
    return [each.id for each in children.declarations() if repr(name) in each.text]


@pytest.mark.parametrize(
    ("changes", "checks"),
    [
        ({}, []),
        ({"done": lambda trip: Seen()}, []),
        ({"done": UNSEEN}, ["sagas.E100"]),
        ({"done": None}, ["sagas.E100"]),
        ({"failed": Seen}, ["sagas.E100"]),
        ({"failed": None}, ["sagas.E100"]),
        ({"failed": Missed}, []),
    ],
)
def test_a_child_has_an_event_for_each_end(register_child, changes, checks):
    register_child(**changes)
    assert declared_as("trips.look") == checks


def test_a_child_belongs_to_the_home_of_its_saga(register_child):
    register_child("inventory.look")
    assert declared_as("inventory.look") == ["sagas.E099"]


@pytest.mark.parametrize(
    ("changes", "steps", "checks"),
    [
        ({}, [BOOK, CHILD_BEFORE, CONFIRM], []),
        ({"failed": Missed}, [CONFIRM, LOOK_AFTER], []),
        ({"failed": Missed}, [BOOK, CHILD_BEFORE, CONFIRM], ["sagas.E008", "sagas.E101"]),
        ({}, [CONFIRM, LOOK_AFTER], ["sagas.E101"]),
        ({"undo": None}, [BOOK, CHILD_BEFORE, CONFIRM], ["sagas.E103"]),
        ({"undo": None, "failed": Missed}, [CONFIRM, LOOK_AFTER], []),
    ],
)
def test_a_child_fits_its_place_in_the_plan(register_child, changes, steps, checks):
    register_child(**changes)
    assert sorted(message.id or "" for message in check_plan(plan(*steps))) == checks


def test_a_saga_that_starts_itself_is_rejected(register_child, monkeypatch):
    monkeypatch.setattr(Saga, "declared", dict(Saga.declared))
    monkeypatch.setattr(Saga, "_registrations", Registrations("The saga", __file__))
    saga = Saga("circle", BOOK, child_sagas.Child("trips.look"), CONFIRM, abort="trips.drop")
    register_child(saga=saga)
    assert [finding.id for finding in children.cycles(saga)] == ["sagas.E102"]
    assert not [*children.cycles(HOLIDAY), *children.cycles(TRIP)]


def test_a_child_before_the_pivot_gets_an_undo():
    assert HOLIDAY.plan.actions[1] == Step("trips.tour", undo="trips.tour.undo")
    assert VISIT.plan.actions[1] == Step("trips.way_back")
