"""Convert disputes and balance transactions to the objects of the API."""

from typing import Any

from tools.stripe_sandbox.cards import card_of
from tools.stripe_sandbox.disputed_amounts import LOST, OPEN
from tools.stripe_sandbox.records import BalanceTransaction, Charge, Dispute, PaymentMethod
from tools.stripe_sandbox.store import Store

__all__ = ["balance_transaction_object", "dispute_object"]

# The sandbox takes no evidence.
NO_EVIDENCE = dict.fromkeys(
    (
        "access_activity_log",
        "billing_address",
        "cancellation_policy",
        "cancellation_policy_disclosure",
        "cancellation_rebuttal",
        "customer_communication",
        "customer_email_address",
        "customer_name",
        "customer_purchase_ip",
        "customer_signature",
        "duplicate_charge_documentation",
        "duplicate_charge_explanation",
        "duplicate_charge_id",
        "product_description",
        "receipt",
        "refund_policy",
        "refund_policy_disclosure",
        "refund_refusal_explanation",
        "service_date",
        "service_documentation",
        "shipping_address",
        "shipping_carrier",
        "shipping_date",
        "shipping_documentation",
        "shipping_tracking_number",
        "uncategorized_file",
        "uncategorized_text",
    )
)


def balance_transaction_object(store: Store, transaction: BalanceTransaction) -> dict[str, Any]:
    """Convert a balance transaction. It is `pending` until its money is available."""
    fee = {
        "amount": transaction.fee,
        "application": None,
        "currency": transaction.currency,
        "description": "Stripe processing fees",
        "type": "stripe_fee",
    }
    return {
        "id": transaction.id,
        "object": transaction.kind,
        "amount": transaction.amount,
        "available_on": transaction.available_on,
        "balance_type": "payments",
        "created": transaction.created,
        "currency": transaction.currency,
        "description": transaction.description,
        "exchange_rate": None,
        "fee": transaction.fee,
        "fee_details": [fee] if transaction.fee else [],
        "net": transaction.amount - transaction.fee,
        "reporting_category": transaction.reporting_category,
        "source": transaction.source,
        "status": "available" if transaction.available_on <= store.now() else "pending",
        "type": transaction.type,
    }


def dispute_object(store: Store, dispute: Dispute) -> dict[str, Any]:
    """Convert a dispute, with its balance transactions as whole objects."""
    charge = store.get(Charge, dispute.charge)
    transactions = [store.get(BalanceTransaction, id) for id in dispute.balance_transactions]
    responded = dispute.status.endswith("under_review")
    return {
        "id": dispute.id,
        "object": dispute.kind,
        "amount": dispute.amount,
        "balance_transactions": [balance_transaction_object(store, each) for each in transactions],
        "charge": dispute.charge,
        "created": dispute.created,
        "currency": dispute.currency,
        "enhanced_eligibility_types": [],
        "evidence": NO_EVIDENCE | {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": dispute.due_by,
            "enhanced_eligibility": {},
            "has_evidence": responded,
            "past_due": False,
            "submission_count": int(responded),
            "submission_method": "manual" if responded else "not_submitted",
        },
        "is_charge_refundable": (
            dispute.status not in {*OPEN, LOST} and charge.amount_refunded < charge.amount_captured
        ),
        "livemode": False,
        "metadata": {},
        "network_reason_code": "10.4",
        "payment_intent": dispute.payment_intent,
        "payment_method_details": _details(store, charge, dispute),
        "reason": dispute.reason,
        "status": dispute.status,
    }


def _details(store: Store, charge: Charge, dispute: Dispute) -> dict[str, Any] | None:
    card = card_of(store.get(PaymentMethod, charge.payment_method))
    if card.type != "card":
        return None

    brand = card.brand
    return {
        "type": "card",
        "card": {
            "brand": brand,
            "case_type": "inquiry" if dispute.status.startswith("warning") else "chargeback",
            "network": brand,
            "network_reason_code": "10.4",
        },
    }
