"""An order is charged once, even if the gateway's answer is lost or the worker dies."""

import pytest
from django.db import transaction

from payments.events import PaymentFailed, PaymentProcessed
from payments.gateways.base import TransactionOpen, Voided
from payments.models import Payment
from payments.services import IllegalTransition
from sagas.definition.handlers import Unknown
from tests.integration.payments.harness import (
    Order,
    call,
    external,
    ledger,
    order,
    payment,
    prepare,
    record,
    run,
)

pytestmark = pytest.mark.django_db(transaction=True, databases=["payments"])


def charged_once(paid: Order) -> bool:
    """Return whether the payment and the gateway's ledger both have one charge of the order."""
    return payment(paid).status == "captured" and ledger(paid) == {"capture": paid.context.amount}


def test_a_charge_is_captured_and_recorded() -> None:
    paid = order(amount=4200)
    (outcome,) = run("payments.charge", paid)
    recorded = payment(paid)
    assert recorded.charge_id is not None
    assert outcome == PaymentProcessed(
        payment_id=recorded.id, charge_id=recorded.charge_id, amount=4200, currency="eur"
    )
    assert charged_once(paid)


@pytest.mark.parametrize(
    ("method", "decline_code"),
    [
        ("pm_card_chargeDeclined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds"),
        ("pm_there_is_no_such_method", "invalid_payment_method"),
    ],
)
def test_a_declined_charge_stays_declined(method: str, decline_code: str) -> None:
    refused = order(method)
    for _ in range(2):
        (outcome,) = run("payments.charge", refused)
        assert isinstance(outcome, PaymentFailed)
        assert (outcome.code, outcome.decline_code) == ("payment_declined", decline_code)
    assert (payment(refused).status, payment(refused).decline_code) == ("declined", decline_code)
    assert not ledger(refused)


@pytest.mark.parametrize("method", ["pm_sim_timeout_charged", "pm_sim_500_charged"])
def test_a_charge_with_a_lost_answer_is_looked_up_and_not_repeated(method: str) -> None:
    paid = order(method)
    (first,) = run("payments.charge", paid)
    assert isinstance(first, Unknown)
    assert payment(paid).status == "pending"
    assert ledger(paid) == {"capture": 1250}
    (second,) = run("payments.charge", paid)
    assert isinstance(second, PaymentProcessed)
    assert charged_once(paid)


def test_a_lost_charge_request_is_sent_again() -> None:
    paid = order("pm_sim_timeout_lost")
    (first,) = run("payments.charge", paid)
    assert isinstance(first, Unknown)
    assert not ledger(paid)
    (second,) = run("payments.charge", paid)
    assert isinstance(second, PaymentProcessed)
    assert charged_once(paid)


def test_the_next_worker_charges_if_a_worker_died_before_its_call() -> None:
    paid = order()
    prepare("payments.charge", paid)
    assert payment(paid).status == "pending"
    assert not ledger(paid)
    run("payments.charge", paid)
    assert charged_once(paid)


def test_the_next_worker_finds_the_charge_if_a_worker_died_before_recording_it() -> None:
    paid = order()
    call("payments.charge", paid)
    assert payment(paid).status == "pending"
    run("payments.charge", paid)
    assert charged_once(paid)


def test_each_order_of_a_batch_has_its_own_outcome() -> None:
    orders = [
        order(method)
        for method in (
            "pm_card_visa",
            "pm_card_chargeDeclined",
            "pm_sim_timeout_lost",
            "pm_sim_500_charged",
        )
    ]
    outcomes = run("payments.charge", *orders)
    assert [type(outcome) for outcome in outcomes] == [
        PaymentProcessed,
        PaymentFailed,
        Unknown,
        Unknown,
    ]
    assert [payment(each).status for each in orders] == [
        "captured",
        "declined",
        "pending",
        "pending",
    ]


def test_calling_the_gateway_in_a_transaction_raises() -> None:
    purchases = prepare("payments.charge", order())
    with transaction.atomic(using="payments"), pytest.raises(TransactionOpen):
        external("payments.charge").call(purchases)


def test_a_voided_charge_is_refused() -> None:
    voided = order()
    prepare("payments.charge", voided)
    (outcome,) = record("payments.charge", [voided], [Voided()])
    assert isinstance(outcome, PaymentFailed)
    assert payment(voided).status == "void"


def test_a_refunded_payment_is_never_captured_again() -> None:
    paid = order()
    answers = call("payments.charge", paid)
    run("payments.refund", paid)
    with pytest.raises(IllegalTransition):
        record("payments.charge", [paid], answers)
    assert payment(paid).status == "refunded"


def test_a_retry_uses_the_committed_charge_key() -> None:
    paid = order()
    prepare("payments.charge", paid)
    Payment.objects.update(charge_key="an older scheme")
    (purchase,) = prepare("payments.charge", paid)
    assert purchase.charge.key == "an older scheme"
