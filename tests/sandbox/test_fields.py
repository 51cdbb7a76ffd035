"""Every response has the fields of the client's types: no required field is missing, and no field
is unknown.
"""

import json
from typing import Any

import pytest
import stripe

from tests.sandbox.fields import problems
from tests.sandbox.process import Sandbox
from tools.stripe_sandbox.api_objects import API_VERSION


def raw(answer: Any) -> Any:
    """Return the body of a response as data."""
    return json.loads(answer.last_response.body)


def test_the_sandbox_has_the_api_version_of_the_pinned_client(
    sandbox: Sandbox,
) -> None:
    assert stripe.api_version == API_VERSION
    assert sandbox.create().last_response.headers["Stripe-Version"] == API_VERSION


def test_a_payment_intent_fits_in_every_state(sandbox: Sandbox) -> None:
    intents = [
        sandbox.create(None, description="Two mugs", receipt_email="ada@example.com"),
        sandbox.create(payment_method_types=["card"]),
        sandbox.charge(),
        sandbox.charge(capture_method="manual"),
        sandbox.charge("pm_card_authenticationRequired"),
        sandbox.charge("pm_card_authenticationRequired", return_url="https://shop.example/back"),
        sandbox.charge("pm_sim_processing"),
        sandbox.client.v1.payment_intents.cancel(sandbox.create().id),
    ]
    with pytest.raises(stripe.CardError) as declined:
        sandbox.charge("pm_card_chargeDeclined")

    bodies = [*map(raw, intents), declined.value.json_body["error"]["payment_intent"]]  # type: ignore[index]
    assert {body["status"] for body in bodies} == {
        *(
            "requires_payment_method",
            "requires_confirmation",
            "requires_action",
            "requires_capture",
        ),
        *("processing", "succeeded", "canceled"),
    }
    for body in bodies:
        assert problems(body, stripe.PaymentIntent) == []


def test_expanded_objects_fit(sandbox: Sandbox) -> None:
    intent = sandbox.charge()
    sandbox.client.v1.refunds.create({"payment_intent": intent.id, "amount": 50})
    params: Any = {"expand": ["latest_charge.refunds", "payment_method"]}
    expanded = raw(sandbox.client.v1.payment_intents.retrieve(intent.id, params))
    assert expanded["latest_charge"]["refunds"]["data"][0]["amount"] == 50
    assert expanded["payment_method"]["card"]["last4"] == "4242"
    assert problems(expanded, stripe.PaymentIntent) == []


def test_a_charge_fits_whether_it_succeeds_waits_or_fails(sandbox: Sandbox) -> None:
    with pytest.raises(stripe.CardError) as declined:
        sandbox.charge("pm_card_chargeDeclined")

    failed = declined.value.json_body["error"]["charge"]  # type: ignore[index]
    for charge in (
        sandbox.charge().latest_charge,
        sandbox.charge("pm_sim_processing").latest_charge,
        failed,
    ):
        assert problems(raw(sandbox.client.v1.charges.retrieve(charge)), stripe.Charge) == []


@pytest.mark.parametrize("method", ["pm_card_visa", "pm_card_pendingRefund", "pm_card_refundFail"])
def test_a_refund_fits_in_every_state(sandbox: Sandbox, method: str) -> None:
    intent = sandbox.charge(method)
    refund = sandbox.client.v1.refunds.create({"payment_intent": intent.id, "reason": "duplicate"})
    assert problems(raw(refund), stripe.Refund) == []
    sandbox.control(f"settle/{refund.id}", outcome="failed")
    assert problems(raw(sandbox.client.v1.refunds.retrieve(refund.id)), stripe.Refund) == []


def test_an_event_and_a_payment_method_fit(sandbox: Sandbox) -> None:
    intent = sandbox.charge()
    for event in sandbox.client.v1.events.list({"limit": 3}).data:
        assert problems(raw(sandbox.client.v1.events.retrieve(event.id)), stripe.Event) == []

    method = sandbox.client.v1.payment_methods.retrieve(intent.payment_method)
    assert problems(raw(method), stripe.PaymentMethod) == []


def test_lists_and_searches_fit(sandbox: Sandbox) -> None:
    sandbox.charge()
    listed = raw(sandbox.client.v1.payment_intents.list({"limit": 1}))
    assert problems(listed, stripe.ListObject[stripe.PaymentIntent]) == []
    found = raw(
        sandbox.client.v1.payment_intents.search(
            {"query": "metadata['order_id']:'o-1'", "limit": 1}
        )
    )
    assert problems(found, stripe.SearchResultObject[stripe.PaymentIntent]) == []
    assert len(found["data"]) == 1


def test_an_error_fits(sandbox: Sandbox) -> None:
    with pytest.raises(stripe.CardError) as declined:
        sandbox.charge("pm_card_chargeDeclined")

    with pytest.raises(stripe.InvalidRequestError) as refused:
        sandbox.create("pm_of_nobody")

    for error in (declined.value, refused.value):
        assert problems(error.json_body["error"], stripe.ErrorObject) == []  # type: ignore[index]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"amount": "1250"}, "amount is '1250'"),
        ({"status": "paid"}, "status is 'paid'"),
        ({"metadata": {"order_id": 1}}, "order_id is 1"),
        ({"colour": "red"}, "colour is unknown"),
        ({"livemode": None}, "livemode is None"),
    ],
)
def test_the_comparison_finds_every_difference(
    sandbox: Sandbox, change: dict[str, Any], problem: str
) -> None:
    intent = raw(sandbox.create())
    assert problem in " ".join(problems(intent | change, stripe.PaymentIntent))
    del intent["currency"]
    assert problems(intent, stripe.PaymentIntent) == [".currency is missing"]
