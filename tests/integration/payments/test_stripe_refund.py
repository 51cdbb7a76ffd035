"""A refund through Stripe is completed if it is pending, fails, was made manually, or its answer
is lost.
"""

from threading import Thread
from typing import Any

import pytest
from django.db import connections

from payments.events import PaymentRefunded
from payments.followup import follow_up_once
from payments.gateways.base import RefundRequest
from payments.gateways.stripe import StripeGateway
from payments.gateways.stripe.account import Account
from payments.models import Payment
from sagas.definition.handlers import Retry, Unknown, Waiting
from tests.integration.payments.harness import Order, order, payment, run
from tests.integration.payments.stripe_harness import moved_money
from tests.processes import until
from tests.sandbox.process import Sandbox

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])


def charged(method: str = "pm_card_visa") -> Order:
    paid = order(method)
    run("payments.charge", paid)
    return paid


def refund(paid: Order) -> Any:
    (outcome,) = run("payments.refund", paid)
    return outcome


def refund_of(paid: Order) -> str:
    account = Account(StripeGateway().until)
    return account.refunds_of(str(payment(paid).charge_id))[0].id


def test_a_captured_payment_is_refunded_once(sandbox: Sandbox) -> None:
    paid = charged()
    for _ in range(2):
        assert refund(paid) == PaymentRefunded(
            payment_id=payment(paid).id, amount=1250, currency="eur"
        )
    assert (payment(paid).status, payment(paid).refunded_amount) == ("refunded", 1250)
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}


@pytest.mark.parametrize(
    "fault", ["500_lost", "500_done", "reset_lost", "reset_done", "409", "429"]
)
@pytest.mark.parametrize("operation", ["create", "list"])
def test_a_refund_with_a_lost_answer_is_made_once(
    sandbox: Sandbox, operation: str, fault: str
) -> None:
    paid = charged()
    sandbox.fault(f"refunds.{operation}", fault)
    assert isinstance(refund(paid), Unknown)
    assert payment(paid).status == "captured"
    assert isinstance(refund(paid), PaymentRefunded)
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}


@pytest.mark.parametrize("method", ["pm_sim_500_charged", "pm_card_visa"])
def test_an_unrecorded_charge_is_found_and_refunded(sandbox: Sandbox, method: str) -> None:
    paid = charged(method)
    Payment.objects.update(status="pending", charge_id=None)
    assert isinstance(refund(paid), PaymentRefunded)
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}


def test_a_pending_refund_delays_the_step(sandbox: Sandbox) -> None:
    paid = charged("pm_card_pendingRefund")
    for _ in range(2):
        assert isinstance(refund(paid), Waiting)
        assert payment(paid).status == "captured"
    sandbox.control(f"settle/{refund_of(paid)}", outcome="succeeded")
    assert isinstance(refund(paid), PaymentRefunded)
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}


def test_a_failed_refund_is_retried_until_a_manual_refund_succeeds(
    sandbox: Sandbox,
) -> None:
    paid = charged("pm_card_pendingRefund")
    refund(paid)
    sandbox.control(f"settle/{refund_of(paid)}", outcome="failed")
    for _ in range(2):
        outcome = refund(paid)
        assert isinstance(outcome, Retry)
        assert "Give the money back by hand." in outcome.reason
    assert moved_money(sandbox, paid) == {"capture": 1250}
    refund_manually(paid)
    sandbox.control(f"settle/{refund_of(paid)}", outcome="succeeded")
    assert isinstance(refund(paid), PaymentRefunded)
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}


def test_a_manual_refund_is_not_repeated(sandbox: Sandbox) -> None:
    paid = charged()
    refund_manually(paid)
    assert isinstance(refund(paid), PaymentRefunded)
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}


def test_a_partial_manual_refund_is_retried_until_the_rest_is_refunded(sandbox: Sandbox) -> None:
    paid = charged()
    refund_manually(paid, 50)
    assert isinstance(refund(paid), Retry)
    assert payment(paid).status == "captured"
    refund_manually(paid, 1200)
    assert isinstance(refund(paid), PaymentRefunded)


def test_a_refund_that_fails_after_the_end_of_the_saga_is_followed_up(
    sandbox: Sandbox,
) -> None:
    paid = charged("pm_card_refundFail")
    assert isinstance(refund(paid), PaymentRefunded)
    sandbox.control(f"settle/{refund_of(paid)}", outcome="failed")
    Payment.objects.update(follow_at="2020-01-01T00:00Z")
    assert follow_up_once() == 1
    failed = payment(paid)
    assert "failed" in failed.follow_error
    assert failed.follow_at is not None
    refund_manually(paid)
    Payment.objects.update(follow_at="2020-01-01T00:00Z")
    assert follow_up_once() == 1
    assert (payment(paid).follow_at, payment(paid).follow_error) == (None, "")


def test_a_webhook_during_a_follow_up_causes_another(
    sandbox: Sandbox,
) -> None:
    paid = charged()
    refund(paid)
    Payment.objects.update(follow_at="2020-01-01T00:00Z")
    sandbox.fault("refunds.list", "slow", seconds=1)
    follow_up = Thread(target=follow_in_a_thread)
    follow_up.start()
    until(lambda: payment(paid).follow_attempts == 1, "the payment is claimed")
    Payment.objects.update(follow_at="2020-01-01T00:00Z")
    follow_up.join()
    assert payment(paid).follow_at is not None
    assert follow_up_once() == 1
    assert payment(paid).follow_at is None


def follow_in_a_thread() -> None:
    follow_up_once()
    connections.close_all()


def refund_manually(paid: Order, amount: int = 1250) -> None:
    """Refund as in Stripe's dashboard: the refund has no order id."""
    request = RefundRequest(
        f"manual {amount} {paid.saga}", paid.saga, str(payment(paid).charge_id), amount, "eur"
    )
    Account(StripeGateway().until).create_refund(request)
