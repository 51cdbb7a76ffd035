"""Disputes withdraw money, return it if they are won, and stand in the way of refunds."""

import json
from typing import Any

import pytest
import stripe

from tests.sandbox.fields import problems
from tests.sandbox.process import Sandbox, headers, options


def dispute(sandbox: Sandbox, charge: str, **params: Any) -> Any:
    """Open a dispute; return it as the API shows it."""
    opened = sandbox.control("dashboard/disputes", charge=charge, **params)
    return sandbox.client.v1.disputes.retrieve(opened["id"])


def proceed(sandbox: Sandbox, dispute: Any, status: str) -> Any:
    """Move a dispute on to a status; return it as the API shows it."""
    sandbox.control(f"dashboard/disputes/{dispute.id}", status=status)
    return sandbox.client.v1.disputes.retrieve(dispute.id)


def refusal(sandbox: Sandbox, charge: str, key: str | None = None, **params: Any) -> Any:
    """Return the error of a refund that is refused."""
    given: Any = {"charge": charge, **params}
    with pytest.raises(stripe.InvalidRequestError) as refused:
        sandbox.client.v1.refunds.create(given, options(key))
    return refused.value


def entries(sandbox: Sandbox, charge: str) -> list[tuple[str, int, str]]:
    """Return the kind, amount and status of the movements of a charge."""
    return [
        (entry["kind"], entry["amount"], entry["status"])
        for entry in sandbox.ledger()
        if entry["charge"] == charge
    ]


def test_a_dispute_withdraws_the_amount_and_a_fee(sandbox: Sandbox) -> None:
    charge = sandbox.charge().latest_charge
    opened = dispute(sandbox, charge, reason="product_not_received")

    assert (opened.status, opened.amount, opened.currency) == ("needs_response", 1250, "eur")
    assert (opened.charge, opened.reason) == (charge, "product_not_received")
    assert opened.evidence_details.due_by > opened.created
    (withdrawal,) = opened.balance_transactions
    assert (withdrawal.amount, withdrawal.fee, withdrawal.net) == (-1250, 1500, -2750)
    assert (withdrawal.type, withdrawal.reporting_category) == ("adjustment", "dispute")
    assert sandbox.client.v1.charges.retrieve(charge).disputed
    assert sandbox.events_of(opened.id) == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
    ]
    assert entries(sandbox, charge) == [
        ("capture", 1250, "succeeded"),
        ("dispute", 1250, "needs_response"),
    ]


def test_a_won_dispute_returns_the_amount_and_the_refund_goes_on(sandbox: Sandbox) -> None:
    charge = sandbox.charge().latest_charge
    opened = dispute(sandbox, charge)
    assert refusal(sandbox, charge).code == "charge_disputed"

    assert proceed(sandbox, opened, "under_review").status == "under_review"
    assert refusal(sandbox, charge).code == "charge_disputed"
    won = proceed(sandbox, opened, "won")

    assert [each.amount for each in won.balance_transactions] == [-1250, 1250]
    assert won.balance_transactions[1].reporting_category == "dispute_reversal"
    assert won.is_charge_refundable
    assert sandbox.events_of(opened.id)[2:] == [
        "charge.dispute.updated",
        "charge.dispute.closed",
        "charge.dispute.funds_reinstated",
    ]
    assert sandbox.client.v1.refunds.create({"charge": charge}).amount == 1250
    assert entries(sandbox, charge)[1:] == [
        ("dispute", 1250, "won"),
        ("dispute_return", 1250, "won"),
        ("refund", 1250, "succeeded"),
    ]


def test_a_lost_amount_can_never_be_refunded(sandbox: Sandbox) -> None:
    charge = sandbox.charge().latest_charge
    lost = proceed(sandbox, dispute(sandbox, charge), "lost")

    assert (lost.status, lost.is_charge_refundable) == ("lost", False)
    assert len(lost.balance_transactions) == 1
    assert refusal(sandbox, charge).code == "charge_disputed"
    assert sandbox.events_of(lost.id)[-1] == "charge.dispute.closed"
    assert entries(sandbox, charge)[1:] == [("dispute", 1250, "lost")]


def test_the_rest_of_a_partly_lost_charge_can_be_refunded(sandbox: Sandbox) -> None:
    charge = sandbox.charge().latest_charge
    opened = dispute(sandbox, charge, amount=500)
    assert refusal(sandbox, charge, amount=100).code == "charge_disputed"

    proceed(sandbox, opened, "lost")

    assert refusal(sandbox, charge, amount=751).param == "amount"
    assert sandbox.client.v1.refunds.create({"charge": charge}).amount == 750


def test_the_refusal_of_a_refund_is_kept_for_its_key(sandbox: Sandbox) -> None:
    charge = sandbox.charge().latest_charge
    opened = dispute(sandbox, charge)
    first = refusal(sandbox, charge, key=f"disputed {charge}")
    proceed(sandbox, opened, "won")

    again = refusal(sandbox, charge, key=f"disputed {charge}")
    assert (again.http_status, again.http_body) == (400, first.http_body)
    assert headers(again)["Idempotent-Replayed"] == "true"


def test_an_inquiry_withdraws_nothing_until_it_becomes_a_dispute(sandbox: Sandbox) -> None:
    charge = sandbox.charge().latest_charge
    inquiry = dispute(sandbox, charge, status="warning_needs_response")
    assert (inquiry.balance_transactions, inquiry.is_charge_refundable) == ([], True)
    assert sandbox.client.v1.refunds.create({"charge": charge, "amount": 250}).amount == 250

    became = proceed(sandbox, inquiry, "needs_response")

    assert [each.amount for each in became.balance_transactions] == [-1250]
    assert sandbox.events_of(inquiry.id) == [
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.funds_withdrawn",
    ]
    closed = dispute(sandbox, sandbox.charge().latest_charge, status="warning_needs_response")
    assert proceed(sandbox, closed, "warning_closed").balance_transactions == []
    assert sandbox.events_of(closed.id)[-1] == "charge.dispute.closed"


def test_a_dispute_stops_the_refunds_on_their_way(sandbox: Sandbox) -> None:
    charge = sandbox.charge("pm_card_pendingRefund").latest_charge
    refund = sandbox.client.v1.refunds.create({"charge": charge, "amount": 250})
    dispute(sandbox, charge, amount=1000)

    stopped = sandbox.client.v1.refunds.retrieve(refund.id)
    assert (stopped.status, stopped.failure_reason) == (
        "failed",
        "charge_for_pending_refund_disputed",
    )
    assert sandbox.client.v1.charges.retrieve(charge).amount_refunded == 0


@pytest.mark.parametrize(
    ("first", "status"),
    [("needs_response", "warning_closed"), ("warning_needs_response", "won")],
)
def test_a_status_that_cannot_follow_is_refused(sandbox: Sandbox, first: str, status: str) -> None:
    opened = dispute(sandbox, sandbox.charge().latest_charge, status=first)
    path = f"/sandbox/dashboard/disputes/{opened.id}"
    assert sandbox.http.post(path, json={"status": status}).status_code == 400

    closing = "lost" if first == "needs_response" else "warning_closed"
    assert sandbox.http.post(path, json={"status": closing}).status_code == 200
    assert sandbox.http.post(path, json={"status": closing}).status_code == 400


def test_more_than_the_captured_amount_is_never_disputed(sandbox: Sandbox) -> None:
    charge = sandbox.charge().latest_charge
    dispute(sandbox, charge, amount=1000)
    for body in ({"amount": 251}, {"amount": 0}):
        refused = sandbox.http.post("/sandbox/dashboard/disputes", json={"charge": charge} | body)
        assert refused.status_code == 400

    authorized = sandbox.charge(capture_method="manual").latest_charge
    refused = sandbox.http.post("/sandbox/dashboard/disputes", json={"charge": authorized})
    assert refused.status_code == 400


def test_disputes_are_listed_by_charge_and_by_time(sandbox: Sandbox) -> None:
    first, second = sandbox.charge(), sandbox.charge()
    old = dispute(sandbox, first.latest_charge)
    sandbox.control("clock", advance=1000)
    new = dispute(sandbox, second.latest_charge)

    disputes = sandbox.client.v1.disputes
    assert [each.id for each in disputes.list({"charge": first.latest_charge}).data] == [old.id]
    assert [each.id for each in disputes.list({"payment_intent": second.id}).data] == [new.id]
    window: Any = {"created": {"gt": old.created}}
    assert [each.id for each in disputes.list(window).data] == [new.id]
    expanded: Any = {"limit": 1, "expand": ["data.charge", "data.payment_intent"]}
    listed: Any = disputes.list(expanded).data[0]
    assert (listed.charge.id, listed.payment_intent.id) == (second.latest_charge, second.id)


@pytest.mark.parametrize(
    "statuses",
    [
        ("needs_response", "under_review", "won"),
        ("needs_response", "lost"),
        ("warning_needs_response", "warning_under_review", "warning_closed"),
    ],
)
def test_a_dispute_fits_in_every_state(sandbox: Sandbox, statuses: tuple[str, ...]) -> None:
    opened = dispute(sandbox, sandbox.charge().latest_charge, status=statuses[0])
    assert problems(json.loads(opened.last_response.body), stripe.Dispute) == []
    for status in statuses[1:]:
        changed = proceed(sandbox, opened, status)
        assert changed.status == status
        assert problems(json.loads(changed.last_response.body), stripe.Dispute) == []
