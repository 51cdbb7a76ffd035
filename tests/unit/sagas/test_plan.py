"""The plan alone decides where a message goes next, forward and back."""

import msgspec
import pytest

from sagas.definition.plan import Direction, Plan, Step

PLAN = Plan(
    saga="trip",
    steps=(
        Step("cars.rent", undo="cars.return"),
        Step("checks.passport"),
        Step("hotels.book", undo="hotels.cancel"),
        Step("trips.confirm", pivot=True),
        Step("hotels.checkin"),
    ),
    abort="trips.drop",
)

BARRED_ELSEWHERE = Plan(
    saga="trip",
    steps=(
        Step("hotels.book", undo="hotels.cancel"),
        Step("cars.pay", pivot=True, bar="cars.keep"),
        Step("trips.confirm"),
    ),
    abort="trips.drop",
)


def test_each_action_leads_to_the_next_and_the_last_to_none():
    walk = [PLAN.first]
    while following := PLAN.after(walk[-1]):
        walk.append(following)

    assert walk == [
        "cars.rent",
        "checks.passport",
        "hotels.book",
        "trips.confirm",
        "hotels.checkin",
    ]


def test_each_undo_leads_to_the_one_before_and_the_first_to_the_abort():
    assert PLAN.after("hotels.cancel") == "cars.return"
    assert PLAN.after("cars.return") == "trips.drop"
    assert PLAN.after("trips.drop") is None


@pytest.mark.parametrize(
    ("step", "back"),
    [
        ("cars.rent", "trips.drop"),
        ("checks.passport", "cars.return"),
        ("hotels.book", "cars.return"),
        ("trips.confirm", "hotels.cancel"),
    ],
)
def test_a_refusal_goes_back_over_the_undos_of_earlier_steps_only(step, back):
    assert PLAN.after_refusal(step) == back


@pytest.mark.parametrize(
    ("step", "back"),
    [
        ("cars.rent", "cars.return"),
        ("checks.passport", "cars.return"),
        ("hotels.book", "hotels.cancel"),
        ("trips.confirm", "hotels.cancel"),
    ],
)
def test_giving_up_starts_with_the_undo_of_the_step(step, back):
    assert PLAN.after_giving_up(step) == back


def test_a_cancel_goes_back_over_all_undos_before_the_pivot():
    assert PLAN.after_cancel() == "hotels.cancel"


def test_only_actions_up_to_the_pivot_may_refuse():
    assert [name for name in PLAN.names() if PLAN.refusable(name)] == [
        "cars.rent",
        "checks.passport",
        "hotels.book",
        "trips.confirm",
    ]


def test_an_undo_can_neither_refuse_nor_be_given_up():
    with pytest.raises(ValueError, match="cannot refuse"):
        PLAN.after_refusal("cars.return")
    with pytest.raises(ValueError, match="cannot be given up"):
        PLAN.after_giving_up("trips.drop")


def test_each_undo_knows_its_action_and_the_abort_bars_the_pivot():
    assert PLAN.action_of("cars.return") == "cars.rent"
    assert PLAN.action_of("trips.drop") == "trips.confirm"
    assert PLAN.action_of("cars.rent") is None


def test_direction_follows_from_the_name():
    assert PLAN.direction("hotels.book") is Direction.FORWARD
    assert PLAN.direction("hotels.cancel") is Direction.BACK
    assert PLAN.direction("trips.drop") is Direction.BACK


def test_a_plan_is_the_same_after_json():
    for plan in (PLAN, BARRED_ELSEWHERE):
        assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
    assert PLAN.home == "trips"


def test_what_is_computed_from_a_plan_neither_travels_nor_tells_two_plans_apart():
    fresh = msgspec.json.decode(msgspec.json.encode(PLAN), type=Plan)
    before = msgspec.json.encode(fresh)
    assert fresh.stages is fresh.stages
    assert fresh.actions is fresh.actions
    assert fresh.pivot == Step("trips.confirm", pivot=True)
    assert msgspec.json.encode(fresh) == before
    assert msgspec.to_builtins(fresh).keys() == {"saga", "steps", "abort"}
    untouched = msgspec.json.decode(before, type=Plan)
    assert (untouched, hash(untouched)) == (fresh, hash(fresh))


def test_a_pivot_that_was_barred_elsewhere_leads_back_over_all_undos_before_it():
    assert BARRED_ELSEWHERE.after("cars.keep") == BARRED_ELSEWHERE.after_cancel() == "hotels.cancel"
    assert BARRED_ELSEWHERE.action_of("cars.keep") == "cars.pay"
    assert BARRED_ELSEWHERE.direction("cars.keep") is Direction.BACK
    assert not BARRED_ELSEWHERE.refusable("cars.keep")
    assert "cars.keep" in BARRED_ELSEWHERE.names()
    assert (BARRED_ELSEWHERE.bar, PLAN.bar) == ("cars.keep", None)


def test_the_plan_knows_which_of_two_actions_comes_first():
    assert PLAN.comes_before("cars.rent", "hotels.book")
    assert not PLAN.comes_before("hotels.book", "cars.rent")
    assert not PLAN.comes_before("cars.rent", "cars.pay")


# Two branches before the pivot, and a step before and behind them.
PARALLEL = Plan(
    saga="trip",
    steps=(
        Step("trips.begin", undo="trips.end"),
        (
            Step("cars.rent", undo="cars.return"),
            Step("hotels.book", undo="hotels.cancel"),
        ),
        Step("trips.confirm", pivot=True),
    ),
    abort="trips.drop",
)


def test_each_branch_leads_to_the_step_behind_the_group_which_joins_them():
    branches = ("cars.rent", "hotels.book")
    assert PARALLEL.after("trips.begin") == "cars.rent"
    assert PARALLEL.recipients("cars.rent") == PARALLEL.recipients("hotels.book") == branches
    assert {PARALLEL.after(branch) for branch in branches} == {"trips.confirm"}
    assert PARALLEL.joined_by("trips.confirm") == branches
    assert PARALLEL.recipients("trips.confirm") == ("trips.confirm",)
    assert PARALLEL.joined_by("cars.rent") == PARALLEL.joined_by("cars.return") == ()


@pytest.mark.parametrize("branch", ["cars.rent", "hotels.book"])
def test_every_branch_that_refuses_or_is_given_up_begins_at_the_last_undo_of_its_group(branch):
    assert PARALLEL.after_refusal(branch) == PARALLEL.after_giving_up(branch) == "hotels.cancel"
    assert PARALLEL.after("hotels.cancel") == "cars.return"
    assert PARALLEL.after("cars.return") == "trips.end"
    assert PARALLEL.after_refusal("trips.confirm") == PARALLEL.after_cancel() == "hotels.cancel"


def test_branches_come_in_no_order():
    assert not PARALLEL.comes_before("cars.rent", "hotels.book")
    assert PARALLEL.comes_before("trips.begin", "hotels.book")
    assert PARALLEL.comes_before("cars.rent", "trips.confirm")


def test_a_group_of_one_branch_is_an_ordinary_step_with_its_bytes():
    sequence = Plan(saga="trip", steps=(PARALLEL.steps[0], PARALLEL.steps[2]), abort="trips.drop")
    both = {"cars.rent", "hotels.book"}
    one = PARALLEL.without({"cars.rent"})
    assert one.steps[1] == Step("hotels.book", undo="hotels.cancel")
    assert msgspec.json.encode(PARALLEL.without(both)) == msgspec.json.encode(sequence)


class EarlierStep(msgspec.Struct):
    """A step as a release without groups reads it."""

    name: str


class EarlierPlan(msgspec.Struct):
    steps: tuple[EarlierStep, ...]


def test_a_release_without_groups_reads_every_other_plan_and_refuses_a_group():
    assert len(msgspec.json.decode(msgspec.json.encode(PLAN), type=EarlierPlan).steps) == 5
    encoded = msgspec.json.encode(PARALLEL)
    assert msgspec.json.decode(encoded, type=Plan) == PARALLEL
    with pytest.raises(msgspec.ValidationError, match="Expected `object`, got `array`"):
        msgspec.json.decode(encoded, type=EarlierPlan)
