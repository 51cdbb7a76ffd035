"""A person moves money in the provider's dashboard, without our keys and our metadata."""

from typing import Any

import pytest
import stripe

from tests.sandbox.process import Sandbox


def moved(sandbox: Sandbox, intent: Any) -> list[tuple[str, int, str]]:
    """Return the kind, amount and status of the movements of an intent."""
    return [
        (entry["kind"], entry["amount"], entry["status"])
        for entry in sandbox.ledger()
        if entry["payment_intent"] == intent.id
    ]


def test_a_refund_by_hand_has_no_metadata_and_the_usual_webhooks(sandbox: Sandbox) -> None:
    intent = sandbox.charge()
    made = sandbox.control("dashboard/refunds", charge=intent.latest_charge, amount=250)

    refund = sandbox.client.v1.refunds.retrieve(made["id"])
    assert (refund.status, refund.amount) == ("succeeded", 250)
    assert refund.to_dict()["metadata"] == {}
    charge = sandbox.client.v1.charges.retrieve(intent.latest_charge)
    assert (charge.refunded, charge.amount_refunded, charge.amount_captured) == (False, 250, 1250)

    assert sandbox.events_of(refund.id) == ["refund.created"]
    assert sandbox.events_of(charge.id)[-1] == "charge.refunded"
    assert moved(sandbox, intent) == [("capture", 1250, "succeeded"), ("refund", 250, "succeeded")]


def test_our_refund_of_more_than_is_left_is_refused(sandbox: Sandbox) -> None:
    intent = sandbox.charge()
    sandbox.control("dashboard/refunds", charge=intent.latest_charge, amount=250)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        sandbox.client.v1.refunds.create({"charge": intent.latest_charge, "amount": 1250})

    assert refused.value.param == "amount"
    rest = sandbox.client.v1.refunds.create({"charge": intent.latest_charge})
    assert rest.amount == 1000


def test_a_capture_by_hand_takes_a_part_and_releases_the_rest(sandbox: Sandbox) -> None:
    intent = sandbox.charge(capture_method="manual")
    sandbox.control("dashboard/captures", payment_intent=intent.id, amount=500)

    now = sandbox.client.v1.payment_intents.retrieve(intent.id)
    assert (now.status, now.amount, now.amount_received) == ("succeeded", 1250, 500)
    assert now.amount_capturable == 0
    charge = sandbox.client.v1.charges.retrieve(intent.latest_charge)
    assert (charge.captured, charge.amount_captured, charge.amount_refunded) == (True, 500, 0)

    assert sandbox.events_of(charge.id) == ["charge.succeeded", "charge.captured"]
    assert sandbox.events_of(intent.id)[-1] == "payment_intent.succeeded"
    assert moved(sandbox, intent) == [("capture", 500, "succeeded")]
    with pytest.raises(stripe.InvalidRequestError) as too_late:
        sandbox.client.v1.payment_intents.capture(intent.id)

    assert too_late.value.code == "payment_intent_unexpected_state"


def test_a_partly_captured_charge_is_refunded_up_to_the_captured_amount(sandbox: Sandbox) -> None:
    intent = sandbox.charge(capture_method="manual")
    sandbox.control("dashboard/captures", payment_intent=intent.id, amount=500)

    assert sandbox.client.v1.refunds.list({"charge": intent.latest_charge}).data == []
    assert sandbox.client.v1.refunds.create({"charge": intent.latest_charge}).amount == 500
    assert sandbox.client.v1.charges.retrieve(intent.latest_charge).refunded


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("refunds", {"charge": "ch_nowhere"}, 404),
        ("refunds", {"charge": "ch_nowhere", "amount": 0}, 400),
        ("refunds", {"charge": "ch_nowhere", "colour": "red"}, 400),
        ("captures", {"payment_intent": "pi_nowhere"}, 404),
    ],
)
def test_a_wrong_act_is_refused(
    sandbox: Sandbox, path: str, body: dict[str, Any], status: int
) -> None:
    refused = sandbox.http.post(f"/sandbox/dashboard/{path}", json=body)
    assert refused.status_code == status, refused.text
