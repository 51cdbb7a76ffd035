"""The contract of an external step finds each fault against which it is meant."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from sagas import Delivery, ExternalStep
from sagas.definition import handlers
from sagas.ids import uuid7
from sagas.outcomes import Outcome, Retry, Unknown
from sagas.testing import Case, ExternalStepContract
from tests.trips.steps import NotPaid, Paid, Refunded, Traveller

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


class Bank:
    """An outside system with keys: it acts once for each, and an undo bars its key."""

    def __init__(self) -> None:
        self.acts: Counter[UUID] = Counter()
        self.answers: dict[object, Outcome] = {}
        self.fates: dict[UUID, Case] = {}

    def pay(self, key: object, saga: UUID) -> Outcome:
        """Pay once for a key. The first request meets its case."""
        fate = self.fates.get(saga, Case.ORDINARY)
        if fate is Case.REFUSED:
            return NotPaid(code="no", detail="No.")
        if fate is Case.UNREACHABLE and self.fates.pop(saga):
            return Unknown("no answer")
        if key not in self.answers:
            self.answers[key] = Paid()
            self.acts[saga] += 1
        if fate is Case.NO_ANSWER and self.fates.pop(saga):
            return Unknown("no answer")
        return self.answers[key]

    def refund(self, key: object, saga: UUID) -> Outcome:
        """Give back the money of a key, and bar the key."""
        if isinstance(self.answers.get(key), Paid):
            self.acts[saga] -= 1
        self.answers[key] = NotPaid(code="barred", detail="Barred.")
        return Refunded(applied=True)


class Pay(ExternalStep[Traveller, Any, Outcome]):
    """Keeps the contract. Derived classes break it."""

    bank: ClassVar[Bank]

    def prepare(self, batch: Sequence[Delivery[Traveller]]) -> list[Any]:
        return [(self.key(delivery), delivery) for delivery in batch]

    def key(self, delivery: Delivery[Traveller]) -> object:
        return delivery.saga

    def call(self, requests: Sequence[Any]) -> list[Outcome]:
        return [self.bank.pay(key, delivery.saga) for key, delivery in requests]

    def record(self, batch: Any, answers: Sequence[Outcome]) -> Sequence[Outcome]:
        return answers


class Refund(Pay):
    def call(self, requests: Sequence[Any]) -> list[Outcome]:
        return [self.bank.refund(key, delivery.saga) for key, delivery in requests]


class NewKeyEachTime(Pay):
    def key(self, delivery: Delivery[Traveller]) -> object:
        return uuid4()


class RaisesRefusals(Pay):
    def call(self, requests: Sequence[Any]) -> list[Outcome]:
        answers = super().call(requests)
        if any(isinstance(answer, NotPaid) for answer in answers):
            raise RuntimeError("402")
        return answers


class TakesLostAnswersForRefusals(Pay):
    def record(self, batch: Any, answers: Sequence[Outcome]) -> Sequence[Outcome]:
        lost = NotPaid(code="timeout", detail="Timeout.")
        return [lost if isinstance(answer, Unknown) else answer for answer in answers]


class TakesLostAnswersForNoEffect(Pay):
    def record(self, batch: Any, answers: Sequence[Outcome]) -> Sequence[Outcome]:
        return [Retry("timeout") if isinstance(answer, Unknown) else answer for answer in answers]


class MixesAnswers(Pay):
    def call(self, requests: Sequence[Any]) -> list[Outcome]:
        return sorted(super().call(requests), key=lambda answer: isinstance(answer, NotPaid))


class LosesAnswers(Pay):
    def call(self, requests: Sequence[Any]) -> list[Outcome]:
        return super().call(requests)[:1]


class RefundsOnlyRecorded(Refund):
    def call(self, requests: Sequence[Any]) -> list[Outcome]:
        recorded = [one for one in requests if one[1].action_done]
        super().call(recorded)
        return [Refunded(applied=True) for _ in requests]


class RefundsAgain(Refund):
    def call(self, requests: Sequence[Any]) -> list[Outcome]:
        for _, delivery in requests:
            self.bank.acts[delivery.saga] -= 1
        return [Refunded(applied=True) for _ in requests]


class Contract(ExternalStepContract):
    """Not collected: each test calls its methods."""

    step, undo = "trips.pay", "trips.refund"

    def __init__(self, bank: Bank) -> None:
        self.bank = bank

    def delivery(self, case: Case) -> Delivery[Any]:
        saga = uuid7()
        self.bank.fates[saga] = case
        return Delivery(saga=saga, context=Traveller(name="Ada"))

    def effects(self, delivery: Delivery[Any]) -> int:
        return self.bank.acts[delivery.saga]


TESTS = sorted(name for name in vars(ExternalStepContract) if name.startswith("test_"))


@contextmanager
def contract(pay: type[Pay] = Pay, refund: type[Pay] = Refund):
    """Register the steps in place of those of a trip, and return their contract."""
    bank = Bank()
    with ExitStack() as stack:
        for name, kind in (("trips.pay", pay), ("trips.refund", refund)):
            definition = handlers.definition(name)
            assert definition
            step = kind()
            step.bank = bank  # type: ignore[misc]  # each test has a bank of its own
            stack.enter_context(handlers.substituted(replace(definition, handler=step)))
        yield Contract(bank)


@pytest.mark.parametrize("name", TESTS)
def test_a_step_that_keeps_the_contract_passes(name):
    with contract() as steps:
        getattr(steps, name)()


@pytest.mark.parametrize(
    ("pay", "refund", "name"),
    [
        (NewKeyEachTime, Refund, "test_a_step_that_runs_again_acts_once"),
        (NewKeyEachTime, Refund, "test_calls_at_once_act_once"),
        (NewKeyEachTime, Refund, "test_a_lost_answer_is_unknown_and_is_found"),
        (RaisesRefusals, Refund, "test_a_refusal_is_an_outcome_and_stays"),
        (RaisesRefusals, Refund, "test_each_request_of_a_batch_has_its_own_answer"),
        (MixesAnswers, Refund, "test_each_request_of_a_batch_has_its_own_answer"),
        (LosesAnswers, Refund, "test_each_request_of_a_batch_has_its_own_answer"),
        (TakesLostAnswersForRefusals, Refund, "test_a_lost_request_is_no_error_and_is_sent_again"),
        (TakesLostAnswersForRefusals, Refund, "test_a_lost_answer_is_unknown_and_is_found"),
        (TakesLostAnswersForNoEffect, Refund, "test_a_lost_answer_is_unknown_and_is_found"),
        (Pay, RefundsOnlyRecorded, "test_an_undo_takes_back_what_no_answer_has_told"),
        (Pay, RefundsOnlyRecorded, "test_an_undo_bars_an_action_that_comes_late"),
        (Pay, RefundsAgain, "test_an_undo_takes_back_what_was_done_once"),
    ],
)
def test_a_step_that_breaks_a_rule_fails_its_test(pay, refund, name):
    with contract(pay, refund) as steps, pytest.raises(AssertionError):
        getattr(steps, name)()


def test_a_case_that_an_outside_system_lacks_has_no_test():
    class Lacking(Contract):
        undo = ""
        lacks: ClassVar = {Case.REFUSED: "It takes all."}

    left_out = {name for name in TESTS if getattr(Lacking, name) is None}
    assert left_out == {
        "test_a_refusal_is_an_outcome_and_stays",
        "test_an_undo_bars_an_action_that_comes_late",
        "test_an_undo_takes_back_what_no_answer_has_told",
        "test_an_undo_takes_back_what_was_done_once",
    }


def test_a_derived_class_has_the_tests_of_the_cases_that_its_base_class_lacks():
    class Lacking(Contract):
        undo = ""
        lacks: ClassVar = {Case.REFUSED: "It takes all."}

    class Whole(Lacking):
        undo = "trips.refund"
        lacks: ClassVar = {}

    assert [name for name in TESTS if not callable(getattr(Whole, name))] == []


@pytest.mark.parametrize("lacks", [{Case.REFUSED: ""}, {Case.ORDINARY: "It never acts."}])
def test_a_case_without_a_reason_and_the_ordinary_case_cannot_be_left_out(lacks):
    with pytest.raises(TypeError, match="reason"):
        type("Lacking", (Contract,), {"lacks": lacks})


def test_a_step_that_is_no_external_step_is_named():
    class Wrong(Contract):
        step = "trips.book"

    with pytest.raises(LookupError, match=r"trips\.book is not registered as an ExternalStep"):
        Wrong(Bank()).test_it_acts_once_and_reports_an_event()
