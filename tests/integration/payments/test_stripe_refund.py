"""A refund through Stripe is completed if it is pending, fails, was made manually, or its answer
is lost.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Thread
from typing import Any

import pytest
import stripe
from django.db import connections

from payments.events import PaymentRefunded
from payments.followup import follow_up_once
from payments.gateways import get_gateway
from payments.gateways.base import Pending, RefundAnswer, Refunded, RefundRequest, Unanswered
from payments.gateways.stripe import StripeGateway, refunds
from payments.gateways.stripe.account import Account
from payments.models import Payment
from sagas.definition.handlers import Retry, Unknown, Waiting
from tests.integration.payments.harness import Order, order, payment, run
from tests.integration.payments.stripe_harness import forget_keys, moved_money, time_of
from tests.integration.races import at_once
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
    """Return the newest refund of an order's charge."""
    return str(all_refunds_of(paid)[0].id)


def all_refunds_of(paid: Order) -> list[stripe.Refund]:
    return Account(StripeGateway().until).refunds_of(str(payment(paid).charge_id))


def refund_request_of(paid: Order) -> RefundRequest:
    charge = payment(paid)
    return RefundRequest(
        charge.refund_key, paid.saga, str(charge.charge_id), charge.amount, charge.currency
    )


def failed_refund(sandbox: Sandbox, paid: Order) -> str:
    """Try to refund, let that refund fail, and return its id."""
    refund(paid)
    made = refund_of(paid)
    sandbox.control(f"settle/{made}", outcome="failed")
    return made


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


def test_a_failed_refund_is_followed_by_another_one(sandbox: Sandbox) -> None:
    paid = charged("pm_card_pendingRefund")
    first = failed_refund(sandbox, paid)
    assert isinstance(refund(paid), Waiting)
    second = refund_of(paid)
    assert second != first
    sandbox.control(f"settle/{second}", outcome="succeeded")
    assert isinstance(refund(paid), PaymentRefunded)
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}


def test_a_refund_that_fails_again_pauses_until_its_time_or_a_manual_refund(
    sandbox: Sandbox,
) -> None:
    paid = charged("pm_card_pendingRefund")
    failed_refund(sandbox, paid)
    second = failed_refund(sandbox, paid)
    for _ in range(2):
        outcome = refund(paid)
        assert isinstance(outcome, Retry)
        assert second in outcome.reason
        assert "Or refund it in Stripe's dashboard." in outcome.reason
    assert refund_of(paid) == second
    refund_manually(paid)
    sandbox.control(f"settle/{refund_of(paid)}", outcome="succeeded")
    assert isinstance(refund(paid), PaymentRefunded)
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}


def test_a_refund_that_fails_again_is_made_again_after_the_pause(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refunds, "FIRST_PAUSE", timedelta(0))
    paid = charged("pm_card_pendingRefund")
    made = {failed_refund(sandbox, paid) for _ in range(8)}
    assert len(made) == 8
    refund(paid)
    sandbox.control(f"settle/{refund_of(paid)}", outcome="succeeded")
    assert isinstance(refund(paid), PaymentRefunded)
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}


def test_two_workers_make_one_refund_after_a_failed_one(sandbox: Sandbox) -> None:
    paid = charged("pm_card_pendingRefund")
    failed_refund(sandbox, paid)
    wanted = refund_request_of(paid)
    at_once([partial(get_gateway().refund, [wanted]) for _ in range(4)])
    assert Counter(each.status for each in all_refunds_of(paid)) == {"failed": 1, "pending": 1}


def test_a_refund_behind_a_replayed_error_is_found(sandbox: Sandbox) -> None:
    paid = charged()
    sandbox.fault("refunds.create", "500_done")
    assert isinstance(refund(paid), Unknown)
    assert isinstance(refund(paid), PaymentRefunded)
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}
    assert len(all_refunds_of(paid)) == 1


@pytest.mark.parametrize("fault", ["500_saved", "400_saved", "balance_insufficient"])
def test_a_key_that_replays_an_error_is_followed_by_another_key(
    sandbox: Sandbox, fault: str
) -> None:
    paid = charged()
    sandbox.fault("refunds.create", fault)
    assert isinstance(refund(paid), Unknown)
    assert payment(paid).status == "captured"
    assert isinstance(refund(paid), PaymentRefunded)
    assert len(all_refunds_of(paid)) == 1
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}


def test_a_low_balance_is_told_to_operators_and_no_decline(sandbox: Sandbox) -> None:
    paid = charged()
    sandbox.fault("refunds.create", "balance_insufficient", times=None)
    request = refund_request_of(paid)
    for _ in range(2):
        (answer,) = get_gateway().refund([request])
        assert isinstance(answer, Unanswered)
        assert "does not cover the refund of 12.50 EUR. Add funds" in answer.reason
    (answer,) = get_gateway().refund([request])
    assert isinstance(answer, Unanswered)


def test_a_whole_refund_by_hand_during_ours_is_found(sandbox: Sandbox) -> None:
    paid = charged()
    answer = refund_during(sandbox, paid, by_hand=None)
    assert answer == Refunded(refund_of(paid), amount=1250)
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}


def test_a_partial_refund_by_hand_during_ours_is_completed(sandbox: Sandbox) -> None:
    paid = charged()
    answer = refund_during(sandbox, paid, by_hand=250)
    assert isinstance(answer, Unanswered)
    assert "has less left. The charge is read again." in answer.reason
    (answer,) = get_gateway().refund([refund_request_of(paid)])
    assert answer == Refunded(refund_of(paid), amount=1250)
    assert [each.amount for each in all_refunds_of(paid)] == [1000, 250]


def refund_during(sandbox: Sandbox, paid: Order, *, by_hand: int | None) -> RefundAnswer:
    """Refund by hand after our refund has read the charge; return the answer to our refund."""
    request = refund_request_of(paid)
    sandbox.fault("refunds.create", "slow", seconds=2)
    with ThreadPoolExecutor() as threads:
        ours = threads.submit(get_gateway().refund, [request])
        until(lambda: sandbox.http.get("/sandbox/faults").json()["data"][0]["struck"], "ours began")
        amount = {"amount": by_hand} if by_hand else {}
        sandbox.control("dashboard/refunds", charge=request.charge_id, **amount)
        (answer,) = ours.result(timeout=30)
    return answer


@pytest.mark.parametrize(
    ("source", "names_ours"), [(None, True), (None, False), ("txn_other", True)]
)
def test_an_adjustment_may_name_its_refund_in_the_description(
    sandbox: Sandbox, source: str | None, *, names_ours: bool
) -> None:
    paid = charged()
    refund_manually(paid)
    named = refund_of(paid) if names_ours else "re_of_somebody_else"
    values = {"source": source, "description": f"REFUND FAILURE ({named})"}
    transaction = stripe.BalanceTransaction.construct_from(values, "sk_test")
    found = Account(StripeGateway().until).refund_of(transaction)
    expected = refund_of(paid) if names_ours and source is None else None
    assert (found and found.id) == expected


def test_a_manual_refund_is_not_repeated(sandbox: Sandbox) -> None:
    paid = charged()
    refund_manually(paid)
    assert isinstance(refund(paid), PaymentRefunded)
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}


def test_the_rest_is_refunded_after_a_partial_manual_refund(sandbox: Sandbox) -> None:
    paid = charged()
    refund_manually(paid, 250)
    for _ in range(2):
        assert get_gateway().refund([refund_request_of(paid)]) == [
            Refunded(refund_of(paid), amount=1250)
        ]
    assert [each.amount for each in all_refunds_of(paid)] == [1000, 250]
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}


def test_the_rest_is_refunded_although_the_key_belongs_to_the_whole_amount(
    sandbox: Sandbox,
) -> None:
    paid = charged()
    sandbox.fault("refunds.create", "500_lost")
    assert isinstance(refund(paid), Unknown)
    refund_manually(paid, 250)
    assert isinstance(refund(paid), PaymentRefunded)
    assert [each.amount for each in all_refunds_of(paid)] == [1000, 250]


def test_a_pending_manual_refund_counts(sandbox: Sandbox) -> None:
    paid = charged("pm_card_pendingRefund")
    refund_manually(paid, 250)
    for _ in range(2):
        (answer,) = get_gateway().refund([refund_request_of(paid)])
        assert isinstance(answer, Pending)
        assert answer.expected_at is not None
        assert timedelta(days=13) < answer.expected_at - time_of(sandbox) <= timedelta(days=14)
    assert [each.amount for each in all_refunds_of(paid)] == [1000, 250]


def test_a_refund_that_fails_after_the_end_of_the_saga_is_made_again(
    sandbox: Sandbox,
) -> None:
    paid = charged("pm_card_refundFail")
    assert isinstance(refund(paid), PaymentRefunded)
    failed = refund_of(paid)
    sandbox.control(f"settle/{failed}", outcome="failed")
    Payment.objects.update(follow_at="2020-01-01T00:00Z")
    assert follow_up_once() == 1
    assert refund_of(paid) != failed
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}
    assert payment(paid).follow_error == ""


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
    Account(StripeGateway().until).create_refund(request, request.key, amount)


def test_a_refund_after_many_saved_errors_is_made_when_they_are_forgotten(
    sandbox: Sandbox,
) -> None:
    paid = charged()
    sandbox.fault("refunds.create", "balance_insufficient", times=None)
    request = refund_request_of(paid)
    for _ in range(4):
        get_gateway().refund([request])
    sandbox.http.delete("/sandbox/faults").raise_for_status()
    forget_keys(sandbox)
    (answer,) = get_gateway().refund([request])
    assert isinstance(answer, Refunded)
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}
