"""Balance transactions show every movement of money with its source, its sign and its fee."""

import json
from typing import Any

import pytest
import stripe

from tests.sandbox.fields import problems
from tests.sandbox.process import Sandbox, running


def transactions(sandbox: Sandbox, **params: Any) -> list[Any]:
    """Return the matching balance transactions, oldest first."""
    params = {"limit": 100} | params
    newest_first = sandbox.client.v1.balance_transactions.list(params)  # type: ignore[arg-type]
    return list(newest_first.auto_paging_iter())[::-1]


def test_every_movement_is_a_transaction() -> None:
    with running("--settle-seconds", "3600") as sandbox:
        disputed = sandbox.charge(amount=1000).latest_charge
        refunded = sandbox.charge("pm_card_refundFail", amount=2000).latest_charge
        sandbox.charge("pm_card_authenticationRequired")
        sandbox.client.v1.payment_intents.cancel(sandbox.charge(capture_method="manual").id)
        refund = sandbox.client.v1.refunds.create({"charge": refunded, "amount": 500})
        sandbox.control(f"settle/{refund.id}", outcome="failed")
        dispute = sandbox.control("dashboard/disputes", charge=disputed)["id"]
        sandbox.control(f"dashboard/disputes/{dispute}", status="won")

        assert [
            (each.type, each.reporting_category, each.source, each.amount, each.fee)
            for each in transactions(sandbox)
        ] == [
            ("charge", "charge", disputed, 1000, 40),
            ("charge", "charge", refunded, 2000, 55),
            ("refund", "refund", refund.id, -500, 0),
            ("refund_failure", "refund_failure", refund.id, 500, 0),
            ("adjustment", "dispute", dispute, -1000, 1500),
            ("adjustment", "dispute_reversal", dispute, 1000, 0),
        ]


def test_a_partial_capture_is_one_transaction_of_the_captured_amount(sandbox: Sandbox) -> None:
    intent = sandbox.charge(capture_method="manual")
    charges = sandbox.client.v1.charges
    assert charges.retrieve(intent.latest_charge).balance_transaction is None
    sandbox.client.v1.payment_intents.capture(intent.id, {"amount_to_capture": 400})

    params: Any = {"expand": ["balance_transaction"]}
    captured: Any = charges.retrieve(intent.latest_charge, params).balance_transaction
    assert (captured.amount, captured.source) == (400, intent.latest_charge)
    assert len(transactions(sandbox, source=intent.latest_charge)) == 1


def test_a_failed_refund_of_a_local_payment_method_is_a_payment_refund_again() -> None:
    with running("--settle-seconds", "3600") as sandbox:
        intent = sandbox.charge("pm_sim_sepa_debit")
        sandbox.control(f"settle/{intent.id}", outcome="succeeded")
        made = sandbox.client.v1.refunds.create({"payment_intent": intent.id})
        sandbox.control(f"settle/{made.id}", outcome="failed")
        moved = [(each.type, each.amount) for each in transactions(sandbox, source=made.id)]
        assert moved == [("payment_refund", -made.amount), ("payment_refund", made.amount)]


def test_a_failed_refund_names_both_of_its_transactions(sandbox: Sandbox) -> None:
    charge = sandbox.charge("pm_card_pendingRefund").latest_charge
    made = sandbox.client.v1.refunds.create({"charge": charge})
    sandbox.control(f"settle/{made.id}", outcome="failed")

    refund = sandbox.client.v1.refunds.retrieve(made.id)
    assert [each.id for each in transactions(sandbox, source=made.id)] == [
        refund.balance_transaction,
        refund.failure_balance_transaction,
    ]


def test_transactions_are_filtered_and_their_sources_expanded(sandbox: Sandbox) -> None:
    charge = sandbox.charge(currency="usd").latest_charge
    refund = sandbox.client.v1.refunds.create({"charge": charge, "amount": 100})
    dispute = sandbox.control("dashboard/disputes", charge=charge)["id"]

    def newest(**params: Any) -> Any:
        return transactions(sandbox, **params)[-1]

    assert newest(type="refund").source == refund.id
    assert newest(type="adjustment").source == dispute
    assert newest(currency="usd", type="charge").source == charge
    assert {each.currency for each in transactions(sandbox, currency="usd")} == {"usd"}
    assert transactions(sandbox, created={"gt": newest().created}) == []

    expand = ["data.source"]
    assert newest(type="charge", expand=expand).source.object == "charge"
    assert newest(type="refund", expand=expand).source.charge == charge
    assert newest(type="adjustment", expand=["data.source.charge"]).source.charge.id == charge
    with pytest.raises(stripe.InvalidRequestError):
        transactions(sandbox, payout="po_1")


def test_the_money_of_a_charge_is_pending_for_two_days(sandbox: Sandbox) -> None:
    charge = sandbox.charge().latest_charge
    (captured,) = transactions(sandbox, source=charge)
    assert (captured.status, captured.available_on - captured.created) == ("pending", 172_800)
    sandbox.control("clock", advance=172_801)
    assert sandbox.client.v1.balance_transactions.retrieve(captured.id).status == "available"


def test_a_balance_transaction_fits(sandbox: Sandbox) -> None:
    charge = sandbox.charge().latest_charge
    sandbox.client.v1.refunds.create({"charge": charge, "amount": 100})
    sandbox.control("dashboard/disputes", charge=charge)
    params: Any = {"limit": 3, "expand": ["data.source"]}
    listed = sandbox.client.v1.balance_transactions.list(params)
    body = json.loads(listed.last_response.body)  # type: ignore[union-attr]
    assert problems(body, stripe.ListObject[stripe.BalanceTransaction]) == []
    assert [each["source"]["object"] for each in body["data"]] == ["dispute", "refund", "charge"]
