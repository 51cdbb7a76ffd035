"""The test cards behave as Stripe's documentation says."""

from typing import Any

import pytest
import stripe

from tests.sandbox.process import Sandbox

# https://docs.stripe.com/testing#declined-payments: the error code and the decline code.
DECLINES = {
    "pm_card_chargeDeclined": ("card_declined", "generic_decline"),
    "pm_card_visa_chargeDeclined": ("card_declined", "generic_decline"),
    "pm_card_chargeDeclinedInsufficientFunds": ("card_declined", "insufficient_funds"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": ("card_declined", "insufficient_funds"),
    "pm_card_visa_chargeDeclinedLostCard": ("card_declined", "lost_card"),
    "pm_card_visa_chargeDeclinedStolenCard": ("card_declined", "stolen_card"),
    "pm_card_chargeDeclinedExpiredCard": ("expired_card", None),
    "pm_card_chargeDeclinedIncorrectCvc": ("incorrect_cvc", None),
    "pm_card_chargeDeclinedProcessingError": ("processing_error", None),
    "pm_card_visa_chargeDeclinedVelocityLimitExceeded": ("card_declined", "card_velocity_exceeded"),
}


@pytest.mark.parametrize("method", DECLINES)
def test_a_decline_is_a_402_that_charges_nothing_and_allows_another_card(
    sandbox: Sandbox, method: str
) -> None:
    with pytest.raises(stripe.CardError) as declined:
        sandbox.charge(method)

    error: Any = declined.value.error
    assert declined.value.http_status == 402
    assert (error.code, error.to_dict().get("decline_code")) == DECLINES[method]
    intent = sandbox.client.v1.payment_intents.retrieve(error.payment_intent.id)
    assert (intent.status, intent.payment_method) == ("requires_payment_method", None)
    assert intent.last_payment_error
    assert intent.last_payment_error.code == error.code
    charge = sandbox.client.v1.charges.retrieve(error.charge)
    assert (charge.status, charge.paid, charge.failure_code) == ("failed", False, error.code)
    assert intent.latest_charge == charge.id
    assert intent.id not in {entry["payment_intent"] for entry in sandbox.ledger()}
    retried = sandbox.client.v1.payment_intents.confirm(
        intent.id, {"payment_method": "pm_card_visa"}
    )
    assert retried.status == "succeeded"


@pytest.mark.parametrize(
    ("consent", "status"), [("yes", "succeeded"), ("no", "requires_payment_method")]
)
def test_the_customer_confirms_or_refuses_on_the_banks_page(
    sandbox: Sandbox, consent: str, status: str
) -> None:
    intent = sandbox.charge(
        "pm_card_authenticationRequired", return_url="https://shop.example/back"
    )
    assert intent.next_action.type == "redirect_to_url"
    page = intent.next_action.redirect_to_url.url
    assert "This is a sandbox" in sandbox.http.get(page).text
    answered = sandbox.http.post(page, data={"consent": consent})
    assert (answered.status_code, answered.headers["Location"]) == (
        303,
        "https://shop.example/back",
    )
    assert sandbox.client.v1.payment_intents.retrieve(intent.id).status == status
    assert sandbox.http.post(page, data={"consent": consent}).status_code == 400
    captured = intent.id in {entry["payment_intent"] for entry in sandbox.ledger()}
    assert captured == (status == "succeeded")


def test_a_confirmed_card_without_funds_is_declined(sandbox: Sandbox) -> None:
    intent = sandbox.charge("pm_card_authenticationRequiredChargeDeclinedInsufficientFunds")
    assert intent.next_action.type == "use_stripe_sdk"
    sandbox.http.post(
        f"/sandbox/authenticate/{intent.id}", data={"consent": "yes"}
    ).raise_for_status()
    now = sandbox.client.v1.payment_intents.retrieve(intent.id)
    assert now.last_payment_error
    assert (now.status, now.last_payment_error.decline_code) == (
        "requires_payment_method",
        "insufficient_funds",
    )


@pytest.mark.parametrize("absent", [{"off_session": True}, {"error_on_requires_action": True}])
def test_a_card_that_needs_authentication_is_declined_without_a_customer(
    sandbox: Sandbox, absent: dict[str, Any]
) -> None:
    with pytest.raises(stripe.CardError) as declined:
        sandbox.charge("pm_card_authenticationRequired", **absent)
    assert declined.value.code == "authentication_required"


@pytest.mark.parametrize(
    ("outcome", "status"), [("succeeded", "succeeded"), ("failed", "requires_payment_method")]
)
def test_a_processing_payment_ends_with_the_first_decision_of_the_bank(
    sandbox: Sandbox, outcome: str, status: str
) -> None:
    intent = sandbox.charge("pm_sim_processing")
    assert intent.status == "processing"
    sandbox.control(f"settle/{intent.id}", outcome=outcome)
    assert sandbox.client.v1.payment_intents.retrieve(intent.id).status == status
    sandbox.control(
        f"settle/{intent.id}", outcome="failed" if outcome == "succeeded" else "succeeded"
    )
    assert sandbox.client.v1.payment_intents.retrieve(intent.id).status == status
