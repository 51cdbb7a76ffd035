"""Balance transactions: each movement of money into or out of the account's balance, with its fee.

https://docs.stripe.com/reports/balance-transaction-types
"""

from typing import Any

from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import not_found
from tools.stripe_sandbox.pagination import page, retrieve_one
from tools.stripe_sandbox.records import (
    BalanceTransaction,
    Charge,
    Dispute,
    Record,
    Refund,
    new_id,
)

__all__ = [
    "enter_capture",
    "enter_dispute",
    "enter_dispute_return",
    "enter_refund",
    "enter_refund_failure",
    "list_all",
    "retrieve",
]

# A charge's money is available after two days, all other money at once.
CHARGE_AVAILABLE_SECONDS = 2 * 24 * 3600

# Fees in minor units, in any currency: 1.5 % and 25 of a charge, and 15.00 of a dispute.
CHARGE_FEE_PERMILLE, CHARGE_FEE = 15, 25
DISPUTE_FEE = 1500


def enter_capture(call: Call, charge: Charge) -> None:
    """Enter the captured amount of a charge, less the fee."""
    amount = charge.amount_captured
    charge.balance_transaction = _enter(
        call,
        charge,
        type="charge" if _is_card(charge.id) else "payment",
        reporting_category="charge",
        amount=amount,
        currency=charge.currency,
        fee=amount * CHARGE_FEE_PERMILLE // 1000 + CHARGE_FEE,
        available_on=call.now + CHARGE_AVAILABLE_SECONDS,
        description=charge.description,
    )
    call.store.add_movement("capture", charge.id)


def enter_refund(call: Call, refund: Refund) -> None:
    """Enter a refund. The money leaves the balance at once, also if the refund is pending."""
    refund.balance_transaction = _enter(
        call,
        refund,
        type="refund" if _is_card(refund.charge) else "payment_refund",
        reporting_category="refund",
        amount=-refund.amount,
        currency=refund.currency,
        description="REFUND FOR CHARGE",
    )
    call.store.add_movement("refund", refund.id)


def enter_refund_failure(call: Call, refund: Refund) -> None:
    """Enter the return of a failed refund."""
    refund.failure_balance_transaction = _enter(
        call,
        refund,
        type="refund_failure" if _is_card(refund.charge) else "payment_refund",
        reporting_category="refund_failure",
        amount=refund.amount,
        currency=refund.currency,
        description="REFUND FAILURE",
    )


def enter_dispute(call: Call, dispute: Dispute) -> None:
    """Enter the withdrawal of a disputed amount, with the fee."""
    dispute.balance_transactions.append(
        _enter(
            call,
            dispute,
            type="adjustment",
            reporting_category="dispute",
            amount=-dispute.amount,
            currency=dispute.currency,
            fee=DISPUTE_FEE,
            description=f"Chargeback withdrawal for {dispute.charge}",
        )
    )
    call.store.add_movement("dispute", dispute.id)


def enter_dispute_return(call: Call, dispute: Dispute) -> None:
    """Enter the return of a disputed amount. Stripe keeps the fee."""
    dispute.balance_transactions.append(
        _enter(
            call,
            dispute,
            type="adjustment",
            reporting_category="dispute_reversal",
            amount=dispute.amount,
            currency=dispute.currency,
            description=f"Chargeback reversal for {dispute.charge}",
        )
    )
    call.store.add_movement("dispute_return", dispute.id)


def retrieve(call: Call, id: str) -> dict[str, Any]:
    """GET /v1/balance_transactions/{id}"""
    return retrieve_one(call, BalanceTransaction, id)


def list_all(call: Call) -> dict[str, Any]:
    """GET /v1/balance_transactions, newest first. The sandbox has no payouts."""
    if payout := call.form.text("payout"):
        raise not_found("payout", payout, param="payout", status=400)

    filters = {name: call.form.text(name) for name in ("type", "source", "currency")}
    return page(
        call,
        BalanceTransaction,
        "/v1/balance_transactions",
        {name: [value] if value else [] for name, value in filters.items()},
        also=("payout",),
    )


def _is_card(charge: str) -> bool:
    """Return whether a charge is of a card. Stripe calls any other charge a payment."""
    return charge.startswith("ch_")


def _enter(call: Call, source: Record, *, available_on: int | None = None, **fields: Any) -> str:
    """Add a transaction of `source` and return its id."""
    transaction = BalanceTransaction(
        id=new_id("txn"),
        created=call.now,
        source=source.id,
        available_on=available_on or call.now,
        **fields,
    )
    call.store.add(transaction)

    return transaction.id
