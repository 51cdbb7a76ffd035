"""Test cards whose money other people move: parts, disputes, and refunds that fail once."""

from typing import Any

import pytest
import stripe

from tests.processes import until
from tests.sandbox.process import Sandbox, headers
from tests.sandbox.test_faults import impatient


def moved(sandbox: Sandbox, charge: str) -> list[tuple[str, int, str]]:
    """Return the kind, amount and status of the movements of a charge."""
    return [
        (entry["kind"], entry["amount"], entry["status"])
        for entry in sandbox.ledger()
        if entry["charge"] == charge
    ]


@pytest.mark.parametrize("capture_method", ["automatic", "manual"])
def test_a_part_is_captured(sandbox: Sandbox, capture_method: str) -> None:
    intent = sandbox.charge("pm_sim_partial_capture", capture_method=capture_method)
    if capture_method == "manual":
        intent = sandbox.client.v1.payment_intents.capture(intent.id)

    assert (intent.status, intent.amount, intent.amount_received) == ("succeeded", 1250, 500)
    assert moved(sandbox, intent.latest_charge) == [("capture", 500, "succeeded")]


def test_a_part_is_refunded_after_the_capture(sandbox: Sandbox) -> None:
    intent = sandbox.charge("pm_sim_partly_refunded")
    assert moved(sandbox, intent.latest_charge)[1:] == [("refund", 250, "succeeded")]
    assert sandbox.events_of(intent.latest_charge) == ["charge.succeeded", "charge.refunded"]
    assert sandbox.client.v1.refunds.create({"charge": intent.latest_charge}).amount == 1000


@pytest.mark.parametrize(
    ("method", "outcome", "status", "kinds"),
    [
        ("pm_sim_disputed_won", "succeeded", "won", ["capture", "dispute", "dispute_return"]),
        ("pm_sim_disputed_lost", "failed", "lost", ["capture", "dispute"]),
    ],
)
def test_a_dispute_is_opened_and_decided(
    sandbox: Sandbox, method: str, outcome: str, status: str, kinds: list[str]
) -> None:
    charge = sandbox.charge(method).latest_charge
    (dispute,) = sandbox.client.v1.disputes.list({"charge": charge}).data
    assert (dispute.status, dispute.amount) == ("needs_response", 1250)

    sandbox.control("clock", advance=3601)  # the conftest's --settle-seconds
    until(
        lambda: sandbox.client.v1.disputes.retrieve(dispute.id).status == status,
        f"the dispute is {status}",
    )
    assert [kind for kind, *_ in moved(sandbox, charge)] == kinds
    sandbox.control(f"settle/{dispute.id}", outcome=outcome)  # has no further effect
    assert [kind for kind, *_ in moved(sandbox, charge)] == kinds


@pytest.mark.parametrize(
    ("method", "status", "reason"),
    [
        ("pm_card_createDispute", "needs_response", "fraudulent"),
        ("pm_card_createDisputeProductNotReceived", "needs_response", "product_not_received"),
        ("pm_card_createDisputeInquiry", "warning_needs_response", "fraudulent"),
    ],
)
def test_stripes_cards_are_disputed(
    sandbox: Sandbox, method: str, status: str, reason: str
) -> None:
    charge = sandbox.charge(method).latest_charge
    (dispute,) = sandbox.client.v1.disputes.list({"charge": charge}).data
    assert (dispute.status, dispute.reason) == (status, reason)


def test_the_first_refund_fails_for_its_key_and_the_next_key_succeeds(sandbox: Sandbox) -> None:
    intent = sandbox.charge("pm_sim_refund_error_once")
    params: Any = {"charge": intent.latest_charge}
    for replayed in (None, "true"):
        with pytest.raises(stripe.APIError) as failed:
            sandbox.client.v1.refunds.create(params, {"idempotency_key": f"1 {intent.id}"})

        assert failed.value.http_status == 500
        assert headers(failed.value).get("Idempotent-Replayed") == replayed

    assert moved(sandbox, intent.latest_charge) == [("capture", 1250, "succeeded")]
    second = sandbox.client.v1.refunds.create(params, {"idempotency_key": f"2 {intent.id}"})
    assert second.status == "succeeded"


def test_the_first_refund_is_made_without_an_answer(sandbox: Sandbox) -> None:
    charge = sandbox.charge("pm_sim_refund_timeout_once").latest_charge
    with impatient(sandbox), pytest.raises(stripe.APIConnectionError):
        sandbox.client.v1.refunds.create({"charge": charge}, {"idempotency_key": charge})

    until(lambda: len(moved(sandbox, charge)) == 2, "the refund is made")
    again = sandbox.client.v1.refunds.create({"charge": charge}, {"idempotency_key": charge})
    assert again.status == "succeeded"
    assert len(moved(sandbox, charge)) == 2


def test_the_first_refund_bounces_and_the_second_succeeds(sandbox: Sandbox) -> None:
    charge = sandbox.charge("pm_sim_refund_bounces_once").latest_charge
    first = sandbox.client.v1.refunds.create({"charge": charge})
    assert first.status == "pending"

    sandbox.control("clock", advance=3601)
    until(
        lambda: sandbox.client.v1.refunds.retrieve(first.id).status == "failed",
        "the first refund has failed",
    )
    assert sandbox.client.v1.refunds.create({"charge": charge}).status == "succeeded"


def test_an_authorization_lapses(sandbox: Sandbox) -> None:
    intents = sandbox.client.v1.payment_intents
    lapsing = sandbox.charge("pm_sim_authorization_lapses", capture_method="manual")
    until(lambda: intents.retrieve(lapsing.id).status == "canceled", "the authorization has lapsed")

    lapsed = intents.retrieve(lapsing.id)
    assert (lapsed.cancellation_reason, lapsed.amount_capturable) == ("expired", 0)
    assert sandbox.events_of(lapsing.latest_charge)[-1] == "charge.expired"
    assert sandbox.events_of(lapsing.id)[-1] == "payment_intent.canceled"
    with pytest.raises(stripe.InvalidRequestError) as too_late:
        intents.capture(lapsing.id)
    assert too_late.value.code == "payment_intent_unexpected_state"


def test_an_authorization_is_held_for_seven_days(sandbox: Sandbox) -> None:
    intents = sandbox.client.v1.payment_intents
    held, captured = (sandbox.charge(capture_method="manual") for _ in range(2))
    intents.capture(captured.id)
    sandbox.control("clock", advance=7 * 24 * 3600 - 60)
    assert intents.retrieve(held.id).status == "requires_capture"

    sandbox.control("clock", advance=61)
    until(lambda: intents.retrieve(held.id).status == "canceled", "the authorization has lapsed")
    assert intents.retrieve(captured.id).status == "succeeded"
