"""A charge through Stripe is made once, and its outcome becomes known even if answers are lost."""

import sqlite3
import threading
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace
from pytest_django import Settings

from payments.events import PaymentBarred, PaymentFailed, PaymentProcessed
from payments.gateways import get_gateway
from payments.gateways.base import (
    Absent,
    Captured,
    ChargeRequest,
    Declined,
    Voided,
)
from payments.gateways.stripe.http import HTTP
from payments.models import Payment
from sagas.definition.handlers import Unknown
from sagas.ids import uuid7
from tests.integration.payments.harness import Order, external, order, payment, prepare, run
from tests.integration.payments.stripe_harness import moved_money
from tests.integration.races import at_once
from tests.sandbox.process import Sandbox

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])


def request(method: str = "pm_card_visa", **fields: Any) -> ChargeRequest:
    order_id = uuid7()
    return ChargeRequest(f"charge-{order_id}", order_id, 900, "eur", method, **fields)


def forget_intents(sandbox: Sandbox) -> None:
    """Delete uncharged intents from the sandbox, but keep the answers to their keys."""
    with (
        closing(sqlite3.connect(sandbox.log.parent / "ledger.sqlite3", timeout=10)) as ledger,
        ledger,
    ):
        ledger.execute(
            "DELETE FROM record WHERE kind = 'payment_intent'"
            " AND body->>'status' = 'requires_confirmation'"
        )


def final_outcome(paid: Order) -> Any:
    """Repeat the charge, as the saga does, until its outcome is known."""
    for _ in range(6):
        (outcome,) = run("payments.charge", paid)
        if not isinstance(outcome, Unknown):
            return outcome
    raise AssertionError("The outcome of the charge is still unknown.")


def test_a_charge_is_captured_and_recorded_with_the_orders_id(sandbox: Sandbox) -> None:
    paid = order(amount=4200)
    (outcome,) = run("payments.charge", paid)
    recorded = payment(paid)
    assert outcome == PaymentProcessed(
        payment_id=recorded.id, charge_id=str(recorded.charge_id), amount=4200, currency="eur"
    )
    (entry,) = [found for found in sandbox.ledger() if found["order_id"] == str(paid.saga)]
    assert (entry["kind"], entry["charge"], entry["amount"]) == (
        "capture",
        recorded.charge_id,
        4200,
    )
    assert entry["metadata"]["key"] == recorded.charge_key


def test_the_requests_of_a_charge_leave_no_lines_of_the_client_in_the_log(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        run("payments.charge", order())
    assert [line for line in caplog.records if line.name == "stripe"] == []


def test_a_lone_charge_is_sent_from_the_callers_thread(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()
    send = HTTP.request

    def noted(*args: Any, **options: Any) -> Any:
        threads.add(threading.current_thread().name)
        return send(*args, **options)

    monkeypatch.setattr(HTTP, "request", noted)
    (outcome,) = run("payments.charge", order())
    assert isinstance(outcome, PaymentProcessed)
    assert threads == {threading.current_thread().name}


def test_a_batch_of_a_hundred_is_charged_once_each(sandbox: Sandbox) -> None:
    orders = [order() for _ in range(100)]
    outcomes = run("payments.charge", *orders)
    assert {type(outcome) for outcome in outcomes} == {PaymentProcessed}
    charged = {str(each.saga) for each in orders}
    assert sum(entry["order_id"] in charged for entry in sandbox.ledger()) == 100


@pytest.mark.parametrize(
    ("method", "stored_code", "public_code", "detail"),
    [
        ("pm_card_chargeDeclined", "generic_decline", "generic_decline", "The card was declined."),
        (
            "pm_card_chargeDeclinedInsufficientFunds",
            "insufficient_funds",
            "insufficient_funds",
            "The card has insufficient funds.",
        ),
        (
            "pm_card_chargeDeclinedExpiredCard",
            "expired_card",
            "expired_card",
            "The card has expired.",
        ),
        (
            "pm_card_chargeDeclinedStolenCard",
            "stolen_card",
            "generic_decline",
            "The card was declined.",
        ),
        (
            "pm_card_chargeDeclinedLostCard",
            "lost_card",
            "generic_decline",
            "The card was declined.",
        ),
        (
            "pm_there_is_no_such_method",
            "invalid_payment_method",
            "invalid_payment_method",
            "There is no such payment method.",
        ),
    ],
)
def test_a_decline_is_final_and_shows_the_customer_a_safe_reason(
    sandbox: Sandbox, method: str, stored_code: str, public_code: str, detail: str
) -> None:
    refused = order(method)
    for _ in range(2):
        (outcome,) = run("payments.charge", refused)
        assert outcome == PaymentFailed(detail=detail, decline_code=public_code)
    assert (payment(refused).status, payment(refused).decline_code) == ("declined", stored_code)
    assert not moved_money(sandbox, refused)


def test_an_amount_that_cannot_be_charged_is_declined(sandbox: Sandbox) -> None:
    for amount in (1, 100_000_000):
        (outcome,) = run("payments.charge", order(amount=amount))
        assert isinstance(outcome, PaymentFailed)
        assert outcome.decline_code == "invalid_amount"


def test_a_declined_intent_is_barred_for_every_other_card(sandbox: Sandbox) -> None:
    refused = order("pm_card_chargeDeclined")
    run("payments.charge", refused)
    (intent,) = sandbox.client.v1.payment_intents.search(
        {"query": f"metadata['order_id']:'{refused.saga}'"}
    ).data
    assert intent.status == "canceled"


@pytest.mark.parametrize("operation", ["create", "confirm"])
@pytest.mark.parametrize(
    "fault", ["500_lost", "500_done", "reset_lost", "reset_done", "409", "429"]
)
def test_a_charge_with_a_lost_answer_is_made_once(
    sandbox: Sandbox, operation: str, fault: str
) -> None:
    paid = order()
    sandbox.fault(f"payment_intents.{operation}", fault)
    (first,) = run("payments.charge", paid)
    assert isinstance(first, Unknown)
    assert payment(paid).status == "pending"
    assert isinstance(final_outcome(paid), PaymentProcessed)
    assert moved_money(sandbox, paid) == {"capture": 1250}


@pytest.mark.parametrize(
    "method", ["pm_sim_timeout_charged", "pm_sim_timeout_lost", "pm_sim_500_charged"]
)
def test_misbehaving_payment_methods_are_charged_once(sandbox: Sandbox, method: str) -> None:
    paid = order(method)
    (first,) = run("payments.charge", paid)
    assert isinstance(first, Unknown)
    assert isinstance(final_outcome(paid), PaymentProcessed)
    assert moved_money(sandbox, paid) == {"capture": 1250}


def test_a_key_that_replays_a_failure_is_replaced_by_a_new_key(
    sandbox: Sandbox,
) -> None:
    paid, cancelled = order(), order()
    for each in (paid, cancelled):
        sandbox.fault("payment_intents.create", "500_done")
        run("payments.charge", each)
    forget_intents(sandbox)
    assert isinstance(final_outcome(paid), PaymentProcessed)
    assert moved_money(sandbox, paid) == {"capture": 1250}
    frozen = prepare("payments.charge", cancelled)
    assert isinstance(run("payments.refund", cancelled)[0], PaymentBarred)
    assert external("payments.charge").call(frozen) == [Voided()]
    assert not moved_money(sandbox, cancelled)


def test_retry_after_delays_the_next_request(sandbox: Sandbox) -> None:
    sandbox.fault("payment_intents.create", "429", seconds=17)
    (outcome,) = run("payments.charge", order())
    assert isinstance(outcome, Unknown)
    assert outcome.after == 17


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (
            {"STRIPE_API_KEY": "sk_test_of_somebody_else"},
            "Stripe rejects STRIPE_API_KEY (401): set a valid key.",
        ),
        (
            {"STRIPE_API_BASE": "http://127.0.0.1:1"},
            "Stripe could not be reached; nothing was sent.",
        ),
    ],
)
def test_a_wrong_configuration_cancels_no_order(
    sandbox: Sandbox, settings: Settings, changed: dict[str, str], reason: str
) -> None:
    paid = order()
    for name, value in changed.items():
        setattr(settings, name, value)
    for step in ("payments.charge", "payments.refund"):
        (outcome,) = run(step, paid)
        assert isinstance(outcome, Unknown)
        assert outcome.reason.startswith(reason)
        assert "sk_test" not in outcome.reason.replace("sk_test_****", "")
    assert payment(paid).status == "pending"


def test_a_key_used_with_other_parameters_does_not_refuse_the_charge(sandbox: Sandbox) -> None:
    paid = order()
    (purchase,) = prepare("payments.charge", paid)
    get_gateway().find([replace(purchase.charge, amount=999)])
    (outcome,) = run("payments.charge", paid)
    assert isinstance(outcome, Unknown)
    assert "other parameters" in outcome.reason


def test_a_frozen_worker_cannot_charge_after_the_void(
    sandbox: Sandbox,
) -> None:
    cancelled = order()
    frozen = prepare("payments.charge", cancelled)
    (outcome,) = run("payments.refund", cancelled)
    assert outcome == PaymentBarred(payment_id=payment(cancelled).id)
    assert payment(cancelled).status == "void"
    (answer,) = external("payments.charge").call(frozen)
    assert answer == Voided()
    assert not moved_money(sandbox, cancelled)


@pytest.mark.parametrize("fault", ["500_lost", "500_done", "reset_done", "429"])
@pytest.mark.parametrize("operation", ["create", "cancel"])
def test_a_void_with_a_lost_answer_bars_the_charge(
    sandbox: Sandbox, operation: str, fault: str
) -> None:
    cancelled = order()
    frozen = prepare("payments.charge", cancelled)
    sandbox.fault(f"payment_intents.{operation}", fault)
    (first,) = run("payments.refund", cancelled)
    assert isinstance(first, Unknown)
    (second,) = run("payments.refund", cancelled)
    assert isinstance(second, PaymentBarred)
    assert external("payments.charge").call(frozen) == [Voided()]
    assert not moved_money(sandbox, cancelled)


def test_of_a_concurrent_charge_and_void_only_one_succeeds(sandbox: Sandbox) -> None:
    for _ in range(5):
        charge = request()
        ways = [partial(get_gateway().charge, [charge]), partial(get_gateway().void, [charge])]
        at_once(ways * 3)
        (verdict,) = get_gateway().find([charge])
        assert moved_money(sandbox, charge.order_id) == (
            {"capture": 900} if isinstance(verdict, Captured) else {}
        )
        assert isinstance(verdict, Captured | Voided)


def test_concurrent_charges_with_one_key_capture_once(sandbox: Sandbox) -> None:
    charge = request()
    at_once([partial(get_gateway().charge, [charge])] * 8)
    assert isinstance(get_gateway().find([charge])[0], Captured)
    assert moved_money(sandbox, charge.order_id) == {"capture": 900}


def test_an_unconfirmed_intent_is_absent_and_can_be_charged(sandbox: Sandbox) -> None:
    charge = request()
    assert get_gateway().find([charge]) == [Absent()]
    assert isinstance(get_gateway().charge([charge])[0], Captured)
    assert isinstance(get_gateway().find([charge])[0], Captured)


def test_a_void_changes_no_captured_or_declined_charge(sandbox: Sandbox) -> None:
    captured, refused = request(), request("pm_card_chargeDeclinedInsufficientFunds")
    charged = get_gateway().charge([captured, refused])
    assert get_gateway().void([captured, refused]) == charged
    assert isinstance(charged[1], Declined)


def test_a_redirect_to_another_host_is_not_followed(
    sandbox: Sandbox, settings: Settings, redirecting: str
) -> None:
    settings.STRIPE_API_BASE = redirecting
    (outcome,) = run("payments.charge", order())
    assert isinstance(outcome, Unknown)
    assert "302" in outcome.reason
    assert not Payment.objects.exclude(status="pending").exists()
