"""A part of a payment is given back once for each saga that asks for it, such as a return."""

from collections.abc import Callable
from functools import partial

import pytest
from django.db import transaction
from pytest_django import Settings

from payments.events import PaymentPartlyRefunded, PaymentUndecided
from payments.gateways.base import (
    Declined,
    KeySpent,
    PartRefunded,
    PartSoFar,
    Pending,
    Unanswered,
)
from payments.models import PartialRefund, Payment
from payments.steps.refund_part import part_refunded_by_hand
from sagas.definition.handlers import Retry, Unknown, Waiting
from sagas.ids import uuid7
from sagas.manual import ManualCompletionRefused, ManualConfirmation
from tests.integration.payments import harness
from tests.integration.payments.harness import Order, ledger, order, payment
from tests.integration.payments.part_harness import (
    Part,
    answering,
    call_parts,
    paid,
    part_of,
    record_parts,
    row,
    run_parts,
)
from tests.integration.races import at_once

pytestmark = pytest.mark.django_db(transaction=True, databases=["payments"])


def refunded(order: Order, part: Part, amount: int, covered: int = 0) -> PaymentPartlyRefunded:
    """Return the event of a part that is given back."""
    return PaymentPartlyRefunded(
        payment_id=payment(order).id,
        refund_id=row(part).refund_id,
        amount=amount,
        currency="eur",
        covered=covered,
    )


def test_several_parts_are_given_back_and_the_payment_stays_captured() -> None:
    bought = paid()
    first, second = part_of(bought, 300), part_of(bought, 450)
    assert run_parts(first) == [refunded(bought, first, 300)]
    assert (payment(bought).status, payment(bought).refunded_amount) == ("captured", 300)
    assert run_parts(second) == [refunded(bought, second, 450)]
    assert (payment(bought).status, payment(bought).refunded_amount) == ("captured", 750)
    assert [(row(each).status, row(each).refunded_amount) for each in (first, second)] == [
        ("succeeded", 300),
        ("succeeded", 450),
    ]
    assert row(first).refund_id == f"re_refund-part-{first.saga}"
    assert payment(bought).balance_due_at is None
    assert ledger(bought) == {"capture": 1250, "refund": 750}


def test_the_last_part_makes_the_payment_refunded() -> None:
    bought = paid()
    run_parts(part_of(bought, 1000), part_of(bought, 250))
    assert (payment(bought).status, payment(bought).refunded_amount) == ("refunded", 1250)
    assert ledger(bought) == {"capture": 1250, "refund": 1250}


@pytest.mark.parametrize("method", ["pm_card_visa", "pm_sim_refund_timeout_once"])
def test_a_repeated_part_is_given_back_once(method: str) -> None:
    bought = paid(method)
    part = part_of(bought, 300)
    call_parts(part)  # a worker dies before it records the answer
    assert (row(part).status, payment(bought).refunded_amount) == ("pending", 0)
    assert run_parts(part) == [refunded(bought, part, 300)]
    assert payment(bought).refunded_amount == 300
    assert ledger(bought) == {"capture": 1250, "refund": 300}


def test_two_parts_at_once_give_back_at_most_the_last_cents() -> None:
    bought = paid()
    parts = [part_of(bought, 700), part_of(bought, 700)]
    outcomes = [outcome for (outcome,) in at_once([partial(run_parts, part) for part in parts])]
    assert sorted((each.amount, each.covered) for each in outcomes) == [(550, 150), (700, 0)]
    assert sorted(row(part).amount for part in parts) == [550, 700]
    assert (payment(bought).status, payment(bought).refunded_amount) == ("refunded", 1250)
    assert ledger(bought) == {"capture": 1250, "refund": 1250}


def test_an_answer_that_comes_late_does_not_lower_the_total_and_has_the_balance_read() -> None:
    bought = paid()
    late, part = part_of(bought, 300), part_of(bought, 450)
    answers = call_parts(late)
    run_parts(part)
    record_parts([late], answers)
    assert payment(bought).refunded_amount == 750
    assert payment(bought).balance_due_at is not None


def test_a_part_that_the_customer_has_from_a_person_is_covered() -> None:
    bought = paid("pm_sim_partly_refunded")
    part = part_of(bought, 1250)
    assert run_parts(part) == [refunded(bought, part, 1000, covered=250)]
    assert (row(part).refunded_amount, row(part).covered_amount) == (1000, 250)
    assert ledger(bought) == {"capture": 1250, "refund": 1250}


def test_a_refund_of_the_whole_gives_back_the_rest() -> None:
    bought = paid()
    run_parts(part_of(bought, 300))
    (outcome,) = harness.run("payments.refund", bought)
    assert outcome.amount == 1250  # type: ignore[union-attr]
    assert ledger(bought) == {"capture": 1250, "refund": 1250}


def test_a_part_waits_for_its_bank_until_the_deadline() -> None:
    bought = paid("pm_sim_refund_bounces_once")
    part = part_of(bought, 300)
    (waiting,) = run_parts(part)
    assert isinstance(waiting, Waiting)
    assert isinstance(waiting.notice, PaymentUndecided)
    assert waiting.notice.waits_until == row(part).expected_at
    assert run_parts(part) == [refunded(bought, part, 300)]
    assert row(part).expected_at is None

    overdue = part_of(bought, 100)
    with answering(Pending("undecided"), Pending("undecided")):
        run_parts(overdue)
        PartialRefund.objects.filter(id=overdue.saga).update(expected_at="2020-01-01T00:00Z")
        (outcome,) = run_parts(overdue)
    assert isinstance(outcome, Unknown)
    assert "Look it up at the gateway" in outcome.reason


def test_an_answer_that_is_not_final_is_asked_for_again() -> None:
    bought = paid()
    part = part_of(bought, 300)
    with answering(
        Unanswered("timeout", 7.0), Declined("refund_failed", "Closed account."), KeySpent("500", 1)
    ):
        assert run_parts(part) == [Unknown("timeout", 7.0)]
        (declined,) = run_parts(part)
        assert isinstance(declined, Retry)
        assert "3.00 EUR" in declined.reason
        assert "Closed account." in declined.reason
        assert run_parts(part) == [Unknown("500")]
    assert row(part).status == "pending"
    with answering(PartRefunded("re_1", 300, 300)) as asked:
        run_parts(part)
    assert [each.key_number for each in asked] == [2]


def test_a_late_answer_about_an_old_key_leaves_no_key_out() -> None:
    bought = paid()
    part = part_of(bought, 300)
    with answering(KeySpent("500", 1), KeySpent("500", 1), Unanswered("timeout")) as asked:
        late = call_parts(part)
        run_parts(part)
        run_parts(part)  # its request is still under way
        record_parts([part], late)
    assert [each.key_number for each in asked] == [1, 1, 2]
    assert row(part).key_number == 2


def _of_unknown_order() -> Part:
    return part_of(uuid7(), 300)


def _of_open_payment() -> Part:
    waiting = order("pm_sim_timeout_lost")
    harness.run("payments.charge", waiting)
    return part_of(waiting, 300)


def _of_other_currency() -> Part:
    return part_of(paid(), 300, "usd")


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (_of_unknown_order, "manage.py recover"),
        (_of_open_payment, "is pending"),
        (_of_other_currency, "is in EUR"),
    ],
)
def test_a_part_without_a_captured_charge_stays_open(part: Callable[[], Part], words: str) -> None:
    asked = part()
    with answering() as requests:
        (outcome,) = run_parts(asked)
    assert isinstance(outcome, Unknown)
    assert words in outcome.reason
    assert (requests, PartialRefund.objects.count()) == ([], 0)


def test_each_part_of_a_batch_has_its_own_outcome() -> None:
    bought = paid()
    part, unknown = part_of(bought, 300), part_of(uuid7(), 300)
    first, second = run_parts(unknown, part)
    assert isinstance(first, Unknown)
    assert second == refunded(bought, part, 300)


def test_a_person_marks_a_part_as_refunded() -> None:
    bought = paid()
    part = part_of(bought, 300)
    confirmation = ManualConfirmation(by="ada", evidence="paid", reference="re_by_hand")
    event = complete_by_hand(part, confirmation)
    assert (event.amount, event.refund_id) == (300, "re_by_hand")
    assert (row(part).status, row(part).reference, row(part).missing) == (
        "succeeded",
        "re_by_hand",
        0,
    )
    assert payment(bought).balance_due_at is not None
    with pytest.raises(ManualCompletionRefused, match=r"manage\.py recover"):
        complete_by_hand(part_of(uuid7(), 300), confirmation)


def test_a_person_adds_the_rest_to_a_part_of_which_some_is_back() -> None:
    bought = paid()
    part = part_of(bought, 300)
    with answering(Pending("undecided", part=PartSoFar(given_back=100, covered=0))):
        run_parts(part)
    assert (row(part).status, row(part).refunded_amount) == ("pending", 100)
    assert payment(bought).balance_due_at is not None
    complete_by_hand(part, ManualConfirmation(by="ada", evidence="paid", reference="re_by_hand"))
    assert (row(part).refunded_amount, row(part).covered_amount) == (100, 200)


def complete_by_hand(part: Part, confirmation: ManualConfirmation) -> PaymentPartlyRefunded:
    """Commit a completion by hand, as the engine does."""
    with transaction.atomic(using="payments"):
        return part_refunded_by_hand(part, confirmation)


def test_a_part_goes_to_the_gateway_of_its_payment(settings: Settings) -> None:
    bought = paid()
    settings.PAYMENT_GATEWAY = "stripe"
    part = part_of(bought, 300)
    assert run_parts(part) == [refunded(bought, part, 300)]
    Payment.objects.update(gateway="acme.Gone")
    (outcome,) = run_parts(part_of(bought, 100))
    assert isinstance(outcome, Unknown)
    assert "acme.Gone" in outcome.reason
