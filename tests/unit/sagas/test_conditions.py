"""A saga has the steps whose conditions hold for its starting event. The plan stays plain data."""

from typing import ClassVar

import msgspec
import pytest

from sagas.checks.plans import check_saga
from sagas.definition.conditions import MOST_CONDITIONS
from sagas.definition.events import Event
from sagas.definition.messages import to_json
from sagas.definition.plan import Plan, Saga, Step


class Ordered(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "conditional.ordered"
    amount: int = 1
    gift: bool = False


class Returned(Event, frozen=True, kw_only=True):
    type: ClassVar[str] = "conditional.returned"


def costs_money(ordered: Ordered) -> bool:
    return ordered.amount > 0


def is_gift(ordered: Ordered) -> bool:
    return ordered.gift


BOOK = Step("trips.book", undo="trips.unbook")
PAY = Step("trips.pay", undo="trips.refund", when=costs_money)
CONFIRM = Step("trips.confirm", pivot=True)
TRAVEL = Step("trips.travel", when=is_gift)


@pytest.fixture
def declare(monkeypatch):
    monkeypatch.setattr(Saga, "declared", {})
    monkeypatch.setattr(Saga._registrations, "_origins", {})

    def declare(*steps, name="conditional"):
        return Saga(name, *steps, abort="trips.drop", started_by=Ordered)

    return declare


def names(plan):
    return [step.name for step in plan.steps]


@pytest.mark.parametrize(
    ("event", "left_out"),
    [
        (Ordered(amount=5, gift=True), set()),
        (Ordered(amount=0, gift=True), {"trips.pay"}),
        (Ordered(amount=5), {"trips.travel"}),
        (Ordered(amount=0), {"trips.pay", "trips.travel"}),
    ],
)
def test_the_plan_of_an_event_has_the_steps_whose_condition_holds(declare, event, left_out):
    saga = declare(BOOK, PAY, CONFIRM, TRAVEL)
    plan = saga.plan_for(event)
    assert names(plan) == [name for name in names(saga.plan) if name not in left_out]
    assert plan.last == ("trips.travel" if event.gift else "trips.confirm")


def test_a_saga_without_conditions_starts_with_its_plan_itself(declare):
    saga = declare(BOOK, CONFIRM)
    assert saga.plan_for(Ordered()) is saga.plan


def test_the_way_back_skips_the_undo_of_a_left_out_step(declare):
    plan = declare(BOOK, PAY, CONFIRM).plan_for(Ordered(amount=0))
    assert plan.after_refusal("trips.confirm") == "trips.unbook"
    assert "trips.refund" not in set(plan.names())


def test_a_plan_travels_without_conditions_and_is_read_as_before(declare):
    saga = declare(BOOK, PAY, CONFIRM)
    assert "when" not in to_json(saga.plan)
    assert msgspec.json.decode(to_json(saga.plan), type=Plan) == saga.plan


def test_a_condition_in_a_message_is_refused():
    text = '{"saga": "s", "abort": "a.b", "steps": [{"name": "a.c", "when": "eval"}]}'
    with pytest.raises(msgspec.ValidationError, match="when"):
        msgspec.json.decode(text, type=Plan)


def test_steps_with_one_condition_are_decided_together_and_once(declare):
    asked = []

    def ask(ordered):
        asked.append(ordered)
        return False

    saga = declare(
        Step("trips.book", undo="trips.unbook", when=ask),
        msgspec.structs.replace(PAY, when=ask),
        CONFIRM,
    )
    assert names(saga.plan_for(Ordered())) == ["trips.confirm"]
    assert len(asked) == 1
    assert list(saga.absences()) == [frozenset(), {"trips.book", "trips.pay"}]


def test_a_condition_that_raises_names_the_step_and_the_error(declare):
    saga = declare(BOOK, msgspec.structs.replace(PAY, when=lambda event: event.total > 0), CONFIRM)
    with pytest.raises(
        TypeError, match=r"condition of trips\.pay in saga 'conditional' raised Attr"
    ):
        saga.plan_for(Ordered())


@pytest.mark.parametrize("answer", [None, 1, "yes"])
def test_an_answer_that_is_no_bool_is_an_error(declare, answer):
    saga = declare(BOOK, msgspec.structs.replace(PAY, when=lambda event: answer), CONFIRM)
    with pytest.raises(TypeError, match="must return True or False, but returned"):
        saga.plan_for(Ordered())


def test_another_event_than_the_start_is_refused_before_any_condition_is_asked(declare):
    saga = declare(BOOK, PAY, CONFIRM)
    with pytest.raises(TypeError, match="started by Ordered, not by Returned"):
        saga.plan_for(Returned())


def test_a_saga_that_has_no_step_left_is_refused(declare):
    saga = declare(Step("trips.book", when=is_gift))
    with pytest.raises(TypeError, match="No condition of saga 'conditional' holds"):
        saga.plan_for(Ordered())
    assert [(error.id, "without 'trips.book'" in error.msg) for error in check_saga(saga)] == [
        ("sagas.E001", True)
    ]


def test_a_condition_that_is_no_function_is_an_error(declare):
    saga = declare(BOOK, msgspec.structs.replace(PAY, when=True), CONFIRM)
    [error] = check_saga(saga)
    assert error.id == "sagas.E088"
    assert "condition of 'trips.pay' is True" in error.msg


def test_a_pivot_with_a_condition_is_an_error(declare):
    saga = declare(BOOK, msgspec.structs.replace(CONFIRM, when=is_gift))
    assert [error.id for error in check_saga(saga)] == ["sagas.E080"]


def with_two_pivots(declare, *between, first=costs_money, second=None):
    return declare(
        BOOK,
        Step("trips.pay", pivot=True, when=first),
        *between,
        Step("trips.confirm", pivot=True, when=second),
    )


@pytest.mark.parametrize(("amount", "pivot"), [(5, "trips.pay"), (0, "trips.confirm")])
def test_the_first_pivot_that_is_left_is_the_only_pivot(declare, amount, pivot):
    plan = with_two_pivots(declare).plan_for(Ordered(amount=amount))
    assert [step.name for step in plan.actions if step.pivot] == [pivot]
    assert plan.refusable("trips.confirm") is (pivot == "trips.confirm")
    assert plan.after_cancel() == "trips.unbook"


def test_a_second_pivot_is_the_pivot_of_sagas_without_the_first(declare):
    saga = with_two_pivots(declare)
    assert check_saga(saga) == []
    assert saga.pivots == ("trips.pay", "trips.confirm")
    assert [step.name for step in saga.plan.actions if step.pivot] == ["trips.pay"]


def test_a_second_pivot_may_have_a_bar_which_only_its_own_plan_has(declare):
    """Both pivots are outside the home."""
    saga = declare(
        BOOK,
        Step("bank.charge", pivot=True, bar="bank.bar_charge", when=costs_money),
        Step("mail.confirm", pivot=True, bar="mail.bar_confirm"),
    )
    found = {error.id for error in check_saga(saga)}
    assert not found & {"sagas.E009", "sagas.E012"}

    charged, free = (saga.plan_for(Ordered(amount=amount)) for amount in (5, 0))
    assert (charged.bar, free.bar) == ("bank.bar_charge", "mail.bar_confirm")
    assert "mail.bar_confirm" not in set(charged.names())
    assert {"bank.bar_charge", "mail.bar_confirm"} <= set(saga.plan.names())


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        (costs_money, is_gift, {"sagas.E080"}),
        (None, None, {"sagas.E003"}),
        (None, is_gift, {"sagas.E080", "sagas.E003"}),
    ],
)
def test_each_pivot_but_the_last_has_a_condition(declare, first, second, found):
    errors = check_saga(with_two_pivots(declare, first=first, second=second))
    assert {error.id for error in errors} == found


def test_a_step_between_two_pivots_needs_an_undo_in_one_plan_only(declare):
    saga = with_two_pivots(declare, Step("trips.travel"))
    assert "sagas.E004" in {error.id for error in check_saga(saga)}


def test_every_combination_of_conditions_is_checked(declare):
    """Without its last step, the saga ends with a step that may be without an undo."""
    saga = declare(BOOK, Step("trips.pay", when=costs_money), TRAVEL)
    assert [error.id for error in check_saga(saga)] == ["sagas.E004", "sagas.E008"]
    assert check_saga(declare(BOOK, PAY, CONFIRM, TRAVEL, name="sound")) == []


def test_more_conditions_than_can_be_checked_are_an_error(declare):
    steps = [
        Step(f"trips.extra{number}", undo=f"trips.unextra{number}", when=lambda _: True)
        for number in range(MOST_CONDITIONS + 1)
    ]
    saga = declare(*steps, CONFIRM)
    found = [error for error in check_saga(saga) if error.id == "sagas.E081"]
    assert [f"{MOST_CONDITIONS + 1} conditions" in error.msg for error in found] == [True]
    assert list(saga.absences()) == [frozenset()]


def test_the_declaration_marks_its_conditional_steps(declare):
    saga = declare(BOOK, PAY, CONFIRM)
    assert repr(saga) == "<Saga conditional: trips.book → trips.pay? → trips.confirm>"
