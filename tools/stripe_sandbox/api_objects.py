"""Convert records to the objects of the API, with all fields that Stripe requires."""

from typing import Any

from tools.stripe_sandbox.method_objects import (
    NO_BILLING_DETAILS,
    charge_details,
    method_object,
    refund_action,
    refund_destination,
)
from tools.stripe_sandbox.money_objects import balance_transaction_object, dispute_object
from tools.stripe_sandbox.records import (
    BalanceTransaction,
    Charge,
    Dispute,
    Event,
    Intent,
    PaymentMethod,
    Record,
    Refund,
)
from tools.stripe_sandbox.store import Store

__all__ = ["API_VERSION", "to_api_object"]

# The version of Stripe's API that these formats follow.
API_VERSION = "2026-10-28.endive"

WITHOUT_LIVEMODE = (Refund, BalanceTransaction)


def to_api_object(store: Store, record: Record) -> dict[str, Any]:
    """Convert a record to the object of the API."""
    fields: dict[str, Any]
    match record:
        case Intent():
            fields = _intent(record)
        case Charge():
            fields = _charge(store, record)
        case Refund():
            fields = _refund(store, record)
        case Dispute():
            fields = dispute_object(store, record)
        case BalanceTransaction():
            fields = balance_transaction_object(store, record)
        case PaymentMethod():
            fields = method_object(record)
        case Event():
            fields = _event(store, record)
        case _:
            raise TypeError(f"{type(record).__name__} is not an object of the API.")

    common = {"id": record.id, "object": record.kind, "created": record.created}
    mode = {} if isinstance(record, WITHOUT_LIVEMODE) else {"livemode": False}
    return common | mode | fields


def _intent(intent: Intent) -> dict[str, Any]:
    same = (
        *(
            "amount",
            "amount_capturable",
            "amount_received",
            "automatic_payment_methods",
            "canceled_at",
        ),
        *(
            "cancellation_reason",
            "capture_method",
            "client_secret",
            "confirmation_method",
            "currency",
            "description",
        ),
        *(
            "last_payment_error",
            "latest_charge",
            "metadata",
            "next_action",
            "payment_method",
            "payment_method_types",
        ),
        *(
            "receipt_email",
            "setup_future_usage",
            "statement_descriptor",
            "statement_descriptor_suffix",
            "status",
        ),
        "transfer_group",
    )
    nulls = (
        *(
            "application",
            "application_fee_amount",
            "customer",
            "customer_account",
            "on_behalf_of",
            "processing",
        ),
        *("review", "shipping", "source", "transfer_data", "payment_method_configuration_details"),
    )
    return {
        **{name: getattr(intent, name) for name in same},
        **dict.fromkeys(nulls),
        "amount_details": {"tip": {}},
        "payment_method_options": {
            "card": {
                "installments": None,
                "mandate_options": None,
                "network": None,
                "request_three_d_secure": "automatic",
            }
        },
    }


def _charge(store: Store, charge: Charge) -> dict[str, Any]:
    same = (
        *(
            "amount",
            "amount_captured",
            "amount_refunded",
            "balance_transaction",
            "captured",
            "currency",
            "description",
            "disputed",
            "metadata",
        ),
        *(
            "payment_intent",
            "payment_method",
            "receipt_email",
            "statement_descriptor",
            "statement_descriptor_suffix",
        ),
        *("status", "transfer_group"),
    )
    nulls = (
        *("application", "application_fee", "application_fee_amount"),
        *(
            "customer",
            "failure_balance_transaction",
            "on_behalf_of",
            "receipt_number",
            "receipt_url",
            "review",
        ),
        *("shipping", "source", "source_transfer", "transfer_data"),
    )
    decline = charge.decline or {}

    return {
        **{name: getattr(charge, name) for name in same},
        **dict.fromkeys(nulls),
        "billing_details": NO_BILLING_DETAILS,
        "calculated_statement_descriptor": "SANDBOX",
        "failure_code": decline.get("code"),
        "failure_message": decline.get("message"),
        "fraud_details": {},
        "outcome": _outcome(charge),
        "paid": charge.status == "succeeded",
        "payment_method_details": charge_details(
            store.get(PaymentMethod, charge.payment_method), charge
        ),
        "refunded": charge.captured and charge.amount_refunded == charge.amount_captured,
    }


def _outcome(charge: Charge) -> dict[str, Any]:
    declined = charge.decline is not None
    reason = (
        (charge.decline.get("decline_code") or charge.decline["code"]) if charge.decline else None
    )
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": "01" if declined else None,
        "network_status": "declined_by_network" if declined else "approved_by_network",
        "reason": reason,
        "risk_level": "normal",
        "risk_score": 20,
        "seller_message": "The bank returned a decline code." if declined else "Payment complete.",
        "type": "issuer_declined" if declined else "authorized",
    }


def _refund(store: Store, refund: Refund) -> dict[str, Any]:
    same = (
        "amount",
        "balance_transaction",
        "charge",
        "currency",
        "metadata",
        "payment_intent",
        "reason",
        "status",
    )
    nulls = ("receipt_number", "source_transfer_reversal", "transfer_reversal")
    body = {**{name: getattr(refund, name) for name in same}, **dict.fromkeys(nulls)}
    charge = store.get(Charge, refund.charge)
    method = store.get(PaymentMethod, charge.payment_method)
    body["destination_details"] = refund_destination(method)
    if refund.status == "pending":
        body["pending_reason"] = "processing"
    if refund.status == "requires_action":
        body["next_action"] = refund_action(refund)
    if refund.failure_reason:
        body["failure_reason"] = refund.failure_reason
        body["failure_balance_transaction"] = refund.failure_balance_transaction

    return body


def _event(store: Store, event: Event) -> dict[str, Any]:
    waiting = store.execute(
        "SELECT count(*) FROM delivery WHERE event = ? AND state = 'due'", [event.id]
    )
    return {
        "api_version": API_VERSION,
        "data": {"object": event.data},
        "pending_webhooks": min(waiting[0][0], 1),  # counts endpoints, and there is one
        "request": event.request,
        "type": event.type,
    }
