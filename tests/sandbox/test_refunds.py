"""Refunds return the captured amount once, and never more."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stripe

from tests.processes import until
from tests.sandbox.process import Sandbox, running


def refund(sandbox: Sandbox, **params: Any) -> Any:
    """Create a refund."""
    return sandbox.client.v1.refunds.create(params)  # type: ignore[arg-type]


def refunded(sandbox: Sandbox, charge: str) -> int:
    """Return the refunded amount of a charge."""
    return sandbox.client.v1.charges.retrieve(charge).amount_refunded


def test_a_refund_has_its_amount_and_its_charge(sandbox: Sandbox) -> None:
    intent = sandbox.charge()
    part = refund(sandbox, payment_intent=intent.id, amount=250, metadata={"order_id": "o-1"})
    assert (part.status, part.amount, part.charge, part.payment_intent) == (
        *("succeeded", 250, intent.latest_charge, intent.id),
    )
    rest = refund(sandbox, charge=intent.latest_charge)
    assert rest.amount == 1000
    charge = sandbox.client.v1.charges.retrieve(intent.latest_charge)
    assert (charge.refunded, charge.amount_refunded) == (True, 1250)
    listed = sandbox.client.v1.refunds.list({"payment_intent": intent.id}).data
    assert [found.id for found in listed] == [rest.id, part.id]
    moved = [
        (entry["kind"], entry["amount"])
        for entry in sandbox.ledger()
        if entry["payment_intent"] == intent.id
    ]
    assert moved == [("capture", 1250), ("refund", 250), ("refund", 1000)]


def test_a_refund_above_the_remaining_amount_is_refused(
    sandbox: Sandbox,
) -> None:
    intent = sandbox.charge()
    with pytest.raises(stripe.InvalidRequestError) as refused:
        refund(sandbox, payment_intent=intent.id, amount=1251)

    assert (refused.value.http_status, refused.value.param) == (400, "amount")
    refund(sandbox, payment_intent=intent.id)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        refund(sandbox, payment_intent=intent.id, amount=1)

    assert refused.value.code == "charge_already_refunded"


def test_concurrent_refunds_never_exceed_the_captured_amount(sandbox: Sandbox) -> None:
    intent = sandbox.charge()

    def refunded_amount(_: int) -> int:
        try:
            return int(refund(sandbox, payment_intent=intent.id, amount=500).amount)
        except stripe.InvalidRequestError:
            return 0

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(refunded_amount, range(20))) == 1000

    assert refunded(sandbox, intent.latest_charge) == 1000


def test_an_uncaptured_intent_cannot_be_refunded(sandbox: Sandbox) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        refund(sandbox, payment_intent=sandbox.create().id)

    assert refused.value.code == "payment_intent_unexpected_state"
    with pytest.raises(stripe.InvalidRequestError):
        refund(sandbox, charge=sandbox.charge(capture_method="manual").latest_charge)

    for missing in ({"payment_intent": "pi_nowhere"}, {"charge": "ch_nowhere"}):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            refund(sandbox, **missing)

        assert refused.value.code == "resource_missing"


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_a_pending_refund_ends_with_the_decision_of_the_bank(
    sandbox: Sandbox, outcome: str
) -> None:
    intent = sandbox.charge("pm_card_pendingRefund")
    pending = refund(sandbox, payment_intent=intent.id)
    assert (pending.status, pending.pending_reason) == ("pending", "processing")
    assert refunded(sandbox, intent.latest_charge) == 1250
    sandbox.control(f"settle/{pending.id}", outcome=outcome)
    assert sandbox.client.v1.refunds.retrieve(pending.id).status == outcome
    assert refunded(sandbox, intent.latest_charge) == (1250 if outcome == "succeeded" else 0)


def test_a_refund_that_fails_later_can_be_repeated() -> None:
    with running("--settle-seconds", "60") as sandbox:
        intent = sandbox.charge("pm_card_refundFail")
        first = refund(sandbox, payment_intent=intent.id)
        assert first.status == "succeeded"
        sandbox.control("clock", advance=61)
        until(
            lambda: sandbox.client.v1.refunds.retrieve(first.id).status == "failed",
            "the refund has failed",
        )
        assert refund(sandbox, payment_intent=intent.id).amount == 1250
        kept = [(entry["kind"], entry["status"]) for entry in sandbox.ledger()]
        assert kept == [("capture", "succeeded"), ("refund", "failed"), ("refund", "succeeded")]
        assert sandbox.events()[-5:-2] == ["charge.refunded", "refund.created", "refund.failed"]


def test_a_succeeded_refund_bounces_on_request_and_can_be_repeated(sandbox: Sandbox) -> None:
    intent = sandbox.charge()
    made = refund(sandbox, payment_intent=intent.id)
    sandbox.control(f"dashboard/refunds/{made.id}/fail", reason="declined")

    failed = sandbox.client.v1.refunds.retrieve(made.id)
    assert (failed.status, failed.failure_reason) == ("failed", "declined")
    assert failed.failure_balance_transaction
    charge = sandbox.client.v1.charges.retrieve(intent.latest_charge)
    assert (charge.amount_refunded, charge.refunded) == (0, False)
    assert sandbox.events_of(made.id) == ["refund.created", "refund.failed"]

    again = sandbox.http.post(f"/sandbox/dashboard/refunds/{made.id}/fail")
    assert again.status_code == 400
    assert refund(sandbox, payment_intent=intent.id).amount == 1250
