"""A refund returns all captured money, and bars every later charge of the order."""

import pytest

from payments.events import PaymentBarred, PaymentFailed, PaymentRefunded
from payments.models import Payment
from sagas.definition.handlers import Retry
from tests.integration.payments.harness import (
    Order,
    call,
    external,
    ledger,
    order,
    payment,
    prepare,
    run,
)

pytestmark = pytest.mark.django_db(transaction=True, databases=["payments"])


def refunded(order: Order, amount: int) -> PaymentRefunded:
    return PaymentRefunded(payment_id=payment(order).id, amount=amount, currency="eur")


def barred(order: Order) -> PaymentBarred:
    return PaymentBarred(payment_id=payment(order).id)


def test_a_captured_payment_is_refunded_in_full() -> None:
    paid = order()
    run("payments.charge", paid)
    assert run("payments.refund", paid) == [refunded(paid, 1250)]
    assert (payment(paid).status, payment(paid).refunded_amount) == ("refunded", 1250)
    assert ledger(paid) == {"capture": 1250, "refund": 1250}


def test_a_repeated_refund_step_refunds_once() -> None:
    paid = order()
    run("payments.charge", paid)
    call("payments.refund", paid)
    assert run("payments.refund", paid) == run("payments.refund", paid) == [refunded(paid, 1250)]
    assert ledger(paid) == {"capture": 1250, "refund": 1250}


@pytest.mark.parametrize("method", ["pm_sim_timeout_charged", "pm_sim_500_charged", "pm_card_visa"])
def test_an_unrecorded_charge_is_found_and_refunded(method: str) -> None:
    paid = order(method)
    call("payments.charge", paid)
    assert payment(paid).status == "pending"
    assert run("payments.refund", paid) == [refunded(paid, 1250)]
    assert (payment(paid).status, payment(paid).refunded_amount) == ("refunded", 1250)
    assert ledger(paid) == {"capture": 1250, "refund": 1250}


def test_a_frozen_worker_cannot_charge_after_the_refund() -> None:
    cancelled = order()
    frozen = prepare("payments.charge", cancelled)
    assert run("payments.refund", cancelled) == [barred(cancelled)]
    external("payments.charge").call(frozen)
    assert payment(cancelled).status == "void"
    assert not ledger(cancelled)


@pytest.mark.parametrize(
    "method", ["pm_card_visa", "pm_sim_timeout_charged", "pm_sim_timeout_lost"]
)
def test_an_order_refunded_before_its_charge_cannot_be_charged(method: str) -> None:
    cancelled = order(method)
    assert run("payments.refund", cancelled) == [barred(cancelled)]
    (outcome,) = run("payments.charge", cancelled)
    assert isinstance(outcome, PaymentFailed)
    assert payment(cancelled).status == "void"
    assert not ledger(cancelled)


def test_a_lost_charge_request_is_barred() -> None:
    cancelled = order("pm_sim_timeout_lost")
    run("payments.charge", cancelled)
    assert run("payments.refund", cancelled) == [barred(cancelled)]
    run("payments.charge", cancelled)
    assert not ledger(cancelled)


def test_a_declined_payment_stays_declined_without_a_refund() -> None:
    declined = order("pm_card_chargeDeclined")
    run("payments.charge", declined)
    assert run("payments.refund", declined) == [barred(declined)]
    assert payment(declined).status == "declined"


def test_a_declined_refund_is_retried() -> None:
    paid = order()
    run("payments.charge", paid)
    Payment.objects.update(charge_id="ch_of_another_account")
    (outcome,) = run("payments.refund", paid)
    assert isinstance(outcome, Retry)
    assert "charge_not_captured" in outcome.reason
    assert payment(paid).status == "captured"


def test_after_a_refund_of_part_by_hand_the_rest_goes_back() -> None:
    paid = order("pm_sim_partly_refunded")
    run("payments.charge", paid)
    assert ledger(paid) == {"capture": 1250, "refund": 250}
    assert run("payments.refund", paid) == [refunded(paid, 1250)]
    assert ledger(paid) == {"capture": 1250, "refund": 1250}


def test_each_order_of_a_batch_has_its_own_outcome() -> None:
    paid, unsure, never = order(), order("pm_sim_500_charged"), order()
    run("payments.charge", paid, unsure)
    outcomes = run("payments.refund", paid, unsure, never)
    assert outcomes == [refunded(paid, 1250), refunded(unsure, 1250), barred(never)]
    assert set(Payment.objects.values_list("status", flat=True)) == {"refunded", "void"}


def test_a_refund_returns_the_captured_amount_not_the_messages_amount() -> None:
    paid = order()
    run("payments.charge", paid)
    assert run("payments.refund", order(amount=99_999, saga=paid.saga)) == [refunded(paid, 1250)]
    assert ledger(paid) == {"capture": 1250, "refund": 1250}


def test_a_retried_charge_keeps_its_first_amount() -> None:
    paid = order()
    prepare("payments.charge", paid)
    run("payments.charge", order(amount=99_999, saga=paid.saga))
    assert ledger(paid) == {"capture": 1250}
