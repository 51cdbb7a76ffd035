"""After a refund nothing of the customer's money is left with us, and nothing more can be taken."""

import pytest

from payments.events import PaymentFailed, PaymentRefunded
from payments.gateways import get_gateway
from payments.gateways.base import RefundRequest
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


def refunded(of: Order, amount: int) -> PaymentRefunded:
    return PaymentRefunded(payment_id=payment(of).id, amount=amount, currency="eur")


def test_a_captured_payment_is_given_back_in_full() -> None:
    paid = order()
    run("payments.charge", paid)
    assert run("payments.refund", paid) == [refunded(paid, 1250)]
    assert (payment(paid).status, payment(paid).refunded_amount) == ("refunded", 1250)
    assert ledger(paid) == {"capture": 1250, "refund": 1250}


def test_a_refund_done_twice_gives_back_once() -> None:
    paid = order()
    run("payments.charge", paid)
    call("payments.refund", paid)
    assert run("payments.refund", paid) == run("payments.refund", paid) == [refunded(paid, 1250)]
    assert ledger(paid) == {"capture": 1250, "refund": 1250}


@pytest.mark.parametrize("method", ["pm_sim_timeout_charged", "pm_sim_500_charged", "pm_card_visa"])
def test_a_charge_nobody_recorded_is_found_and_given_back(method: str) -> None:
    paid = order(method)
    call("payments.charge", paid)
    assert payment(paid).status == "pending"
    assert run("payments.refund", paid) == [refunded(paid, 1250)]
    assert (payment(paid).status, payment(paid).refunded_amount) == ("refunded", 1250)
    assert ledger(paid) == {"capture": 1250, "refund": 1250}


def test_a_worker_that_froze_before_its_call_cannot_charge_after_the_refund() -> None:
    cancelled = order()
    frozen = prepare("payments.charge", cancelled)
    assert run("payments.refund", cancelled) == [refunded(cancelled, 0)]
    external("payments.charge").call(frozen)
    assert payment(cancelled).status == "void"
    assert not ledger(cancelled)


@pytest.mark.parametrize(
    "method", ["pm_card_visa", "pm_sim_timeout_charged", "pm_sim_timeout_lost"]
)
def test_an_order_refunded_before_it_was_ever_charged_cannot_be_charged(method: str) -> None:
    cancelled = order(method)
    assert run("payments.refund", cancelled) == [refunded(cancelled, 0)]
    (outcome,) = run("payments.charge", cancelled)
    assert isinstance(outcome, PaymentFailed)
    assert payment(cancelled).status == "void"
    assert not ledger(cancelled)


def test_a_charge_lost_on_its_way_is_barred() -> None:
    cancelled = order("pm_sim_timeout_lost")
    run("payments.charge", cancelled)
    assert run("payments.refund", cancelled) == [refunded(cancelled, 0)]
    run("payments.charge", cancelled)
    assert not ledger(cancelled)


def test_a_declined_payment_stays_declined_and_nothing_goes_back() -> None:
    declined = order("pm_card_chargeDeclined")
    run("payments.charge", declined)
    assert run("payments.refund", declined) == [refunded(declined, 0)]
    assert payment(declined).status == "declined"


def test_a_refund_the_gateway_declines_is_tried_again_and_never_taken_for_done() -> None:
    paid = order()
    run("payments.charge", paid)
    charge = payment(paid)
    get_gateway().refund([RefundRequest("by hand", paid.saga, str(charge.charge_id), 50, "eur")])
    (outcome,) = run("payments.refund", paid)
    assert isinstance(outcome, Retry)
    assert "charge_already_refunded" in outcome.reason
    assert payment(paid).status == "captured"


def test_a_batch_shares_no_fate() -> None:
    paid, unsure, never = order(), order("pm_sim_500_charged"), order()
    run("payments.charge", paid, unsure)
    outcomes = run("payments.refund", paid, unsure, never)
    assert outcomes == [refunded(paid, 1250), refunded(unsure, 1250), refunded(never, 0)]
    assert set(Payment.objects.values_list("status", flat=True)) == {"refunded", "void"}


def test_a_refund_whose_message_names_another_amount_gives_back_what_was_captured() -> None:
    paid = order()
    run("payments.charge", paid)
    assert run("payments.refund", order(amount=99_999, saga=paid.saga)) == [refunded(paid, 1250)]
    assert ledger(paid) == {"capture": 1250, "refund": 1250}


def test_a_charge_is_asked_for_again_with_the_amount_it_was_begun_with() -> None:
    paid = order()
    prepare("payments.charge", paid)
    run("payments.charge", order(amount=99_999, saga=paid.saga))
    assert ledger(paid) == {"capture": 1250}
