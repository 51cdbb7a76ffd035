"""Payments that stay undecided for days: vouchers, transfers, QR codes and direct debits."""

import json
from typing import Any, NamedTuple

import pytest
import stripe

from tests.processes import until
from tests.sandbox.fields import problems
from tests.sandbox.process import Sandbox

DAY = 24 * 3600


class Instructed(NamedTuple):
    """A payment method with instructions: its action, the field of its page and of its deadline."""

    type: str
    action: str
    page: str
    deadline: str = ""
    days: int = 0


INSTRUCTED = {
    "pm_sim_boleto": Instructed(
        "boleto", "boleto_display_details", "hosted_voucher_url", "expires_at", 3
    ),
    "pm_sim_oxxo": Instructed(
        "oxxo", "oxxo_display_details", "hosted_voucher_url", "expires_after", 3
    ),
    "pm_sim_konbini": Instructed(
        "konbini", "konbini_display_details", "hosted_voucher_url", "expires_at", 3
    ),
    "pm_sim_multibanco": Instructed(
        "multibanco", "multibanco_display_details", "hosted_voucher_url", "expires_at", 7
    ),
    "pm_sim_pix": Instructed(
        "pix", "pix_display_qr_code", "hosted_instructions_url", "expires_at", 1
    ),
    "pm_sim_wechat_pay": Instructed(
        "wechat_pay", "wechat_pay_display_qr_code", "hosted_instructions_url"
    ),
    "pm_sim_bank_transfer": Instructed(
        "customer_balance", "display_bank_transfer_instructions", "hosted_instructions_url"
    ),
}
DEBITS = {"pm_sim_sepa_debit": ("sepa_debit", 6), "pm_sim_us_bank_account": ("us_bank_account", 4)}


def body(answer: Any) -> Any:
    """Return the body of a response as data."""
    return json.loads(answer.last_response.body)


def retrieve(sandbox: Sandbox, intent: Any) -> Any:
    """Return the present state of an intent."""
    return sandbox.client.v1.payment_intents.retrieve(intent.id)


@pytest.mark.parametrize("method", INSTRUCTED)
def test_the_customer_gets_instructions_without_a_redirect(sandbox: Sandbox, method: str) -> None:
    expected = INSTRUCTED[method]
    intent = sandbox.charge(method, return_url="https://shop.example/back")

    assert (intent.status, intent.latest_charge) == ("requires_action", None)
    assert intent.next_action.type == expected.action
    details = intent.next_action[expected.action]
    assert "Pay your order" in sandbox.http.get(details[expected.page]).text
    if expected.days:
        assert details[expected.deadline] - intent.created == pytest.approx(
            expected.days * DAY, abs=5
        )

    assert problems(body(intent), stripe.PaymentIntent) == []
    attached = sandbox.client.v1.payment_methods.retrieve(intent.payment_method)
    assert attached.type == expected.type
    assert problems(body(attached), stripe.PaymentMethod) == []
    assert intent.id not in {entry["payment_intent"] for entry in sandbox.ledger()}


@pytest.mark.parametrize("method", [*INSTRUCTED, *DEBITS])
def test_a_payment_succeeds_when_it_is_settled(sandbox: Sandbox, method: str) -> None:
    intent = sandbox.charge(method)
    sandbox.control(f"settle/{intent.id}", outcome="succeeded")

    paid = retrieve(sandbox, intent)
    assert (paid.status, paid.amount_received, paid.next_action) == ("succeeded", 1250, None)
    charge = sandbox.client.v1.charges.retrieve(paid.latest_charge)
    assert charge.id.startswith("py_")
    assert problems(body(charge), stripe.Charge) == []
    assert charge.payment_method_details
    assert charge.payment_method_details.type == (INSTRUCTED | DEBITS)[method][0]
    assert sandbox.events_of(intent.id)[-1] == "payment_intent.succeeded"

    refund = sandbox.client.v1.refunds.create({"charge": charge.id, "amount": 250})
    assert refund.status == ("requires_action" if method == "pm_sim_konbini" else "pending")
    assert problems(body(refund), stripe.Refund) == []
    newest: Any = {"limit": 2}
    kinds = [each.type for each in sandbox.client.v1.balance_transactions.list(newest).data]
    assert kinds == ["payment_refund", "payment"]


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_a_refund_waits_for_its_customer(sandbox: Sandbox, outcome: str) -> None:
    intent = sandbox.charge("pm_sim_konbini")
    sandbox.control(f"settle/{intent.id}", outcome="succeeded")
    refunds = sandbox.client.v1.refunds
    refund: Any = refunds.create({"payment_intent": intent.id})
    assert refund.next_action.display_details.expires_at > refund.created

    sandbox.control(f"settle/{refund.id}", outcome=outcome)
    ended: Any = refunds.retrieve(refund.id).to_dict()
    assert (ended["status"], "next_action" in ended) == (outcome, False)


@pytest.mark.parametrize(
    ("consent", "status"), [("yes", "succeeded"), ("no", "requires_payment_method")]
)
def test_the_customer_pays_on_the_hosted_page(sandbox: Sandbox, consent: str, status: str) -> None:
    intent = sandbox.charge("pm_sim_multibanco")
    page = intent.next_action.multibanco_display_details.hosted_voucher_url
    sandbox.http.post(page, data={"consent": consent}).raise_for_status()
    assert retrieve(sandbox, intent).status == status


@pytest.mark.parametrize(
    ("method", "days"), [("pm_sim_pix", 1), ("pm_sim_boleto", 3), ("pm_sim_multibanco", 7)]
)
def test_an_unpaid_payment_ends_at_its_deadline(sandbox: Sandbox, method: str, days: int) -> None:
    intent = sandbox.charge(method)
    sandbox.control("clock", advance=days * DAY - 60)
    assert retrieve(sandbox, intent).status == "requires_action"

    sandbox.control("clock", advance=61)
    until(lambda: retrieve(sandbox, intent).status != "requires_action", "the payment has ended")

    ended = retrieve(sandbox, intent)
    assert (ended.status, ended.latest_charge) == ("requires_payment_method", None)
    assert ended.last_payment_error.code == "payment_intent_payment_attempt_expired"
    assert problems(body(ended), stripe.PaymentIntent) == []
    assert sandbox.events_of(intent.id)[-1] == "payment_intent.payment_failed"


@pytest.mark.parametrize("method", DEBITS)
def test_a_debit_is_processing_for_days(sandbox: Sandbox, method: str) -> None:
    intent = sandbox.charge(method)
    days = DEBITS[method][1]
    assert problems(body(intent), stripe.PaymentIntent) == []
    sandbox.control("clock", advance=days * DAY - 60)
    assert retrieve(sandbox, intent).status == "processing"

    sandbox.control("clock", advance=61)
    until(lambda: retrieve(sandbox, intent).status == "succeeded", "the debit is settled")


@pytest.mark.parametrize("method", DEBITS)
def test_a_debit_that_the_bank_refuses_is_a_failed_payment(sandbox: Sandbox, method: str) -> None:
    intent = sandbox.charge(method)
    sandbox.control(f"settle/{intent.id}", outcome="failed")
    failed = retrieve(sandbox, intent)
    assert failed.status == "requires_payment_method"
    assert failed.last_payment_error.code == "payment_intent_payment_attempt_failed"
    assert sandbox.client.v1.charges.retrieve(failed.latest_charge).status == "failed"


def test_a_cancelled_voucher_cannot_be_paid_any_more(sandbox: Sandbox) -> None:
    intent = sandbox.charge("pm_sim_boleto")
    sandbox.client.v1.payment_intents.cancel(intent.id)
    sandbox.control(f"settle/{intent.id}", outcome="succeeded")
    assert retrieve(sandbox, intent).status == "canceled"
    page = f"/sandbox/authenticate/{intent.id}"
    assert sandbox.http.post(page, data={"consent": "yes"}).status_code == 400


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"capture_method": "manual"}, "payment_intent_invalid_parameter"),
        ({"payment_method_types": ["card"]}, "payment_intent_incompatible_payment_method"),
    ],
)
def test_an_unsuitable_intent_is_refused(
    sandbox: Sandbox, params: dict[str, Any], code: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        sandbox.charge("pm_sim_boleto", **params)
    assert (refused.value.code, refused.value.param) == (code, "payment_method")


def test_a_named_type_can_be_the_only_one(sandbox: Sandbox) -> None:
    intent = sandbox.charge("pm_sim_boleto", payment_method_types=["boleto"])
    assert (intent.status, intent.payment_method_types) == ("requires_action", ["boleto"])
    with pytest.raises(stripe.InvalidRequestError) as refused:
        sandbox.create(payment_method_types=["ideal"])
    assert refused.value.param == "payment_method_types"
