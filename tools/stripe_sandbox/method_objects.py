"""Convert payment methods, and the details of a charge and a refund that depend on their type."""

from typing import Any

from tools.stripe_sandbox.cards import DAY, Card, card_of
from tools.stripe_sandbox.records import Charge, PaymentMethod, Refund

__all__ = [
    "NO_BILLING_DETAILS",
    "charge_details",
    "method_object",
    "refund_action",
    "refund_destination",
]

NO_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
NO_BILLING_DETAILS = {
    "address": NO_ADDRESS,
    "email": None,
    "name": None,
    "phone": None,
    "tax_id": None,
}
CHECKS = {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"}
EXPIRY = {"exp_month": 12, "exp_year": 2034}
COUNTRY = "US"

# The fields of a payment method, and those of its charges. Types without fields are not named.
TAX_ID = {"tax_id": "00.000.000/0001-91"}
SEPA_ACCOUNT = {
    "bank_code": "37040044",
    "branch_code": None,
    "country": "DE",
    "fingerprint": "sandbox3000",
    "last4": "3000",
}
US_ACCOUNT = {
    "account_holder_type": "individual",
    "account_type": "checking",
    "bank_name": "STRIPE TEST BANK",
    "fingerprint": "sandbox6789",
    "last4": "6789",
    "routing_number": "110000000",
}
METHOD_FIELDS: dict[str, dict[str, Any]] = {
    "boleto": TAX_ID,
    "pix": {"fingerprint": None},
    "sepa_debit": {**SEPA_ACCOUNT, "generated_from": None},
    "us_bank_account": {
        **US_ACCOUNT,
        "financial_connections_account": None,
        "networks": {"preferred": "ach", "supported": ["ach"]},
        "status_details": {},
    },
}
CHARGE_FIELDS: dict[str, dict[str, Any]] = {
    "boleto": TAX_ID,
    "oxxo": {"number": None},
    "konbini": {"store": {"chain": "lawson"}},
    "multibanco": {"entity": "12345", "reference": None},
    "wechat_pay": {"fingerprint": None, "location": None, "reader": None, "transaction_id": None},
    "pix": {"bank_transaction_id": None, "fingerprint": None, "mandate": None},
    "sepa_debit": {**SEPA_ACCOUNT, "expected_debit_date": None, "mandate": None},
    "us_bank_account": {
        **US_ACCOUNT,
        "expected_debit_date": None,
        "mandate": None,
        "payment_reference": None,
    },
}
# How long the customer can give an account for a refund.
REFUND_EMAIL_SECONDS = 45 * DAY

# How Stripe pays a refund out. https://docs.stripe.com/api/refunds/object
REFUNDED_BY_TRANSFER = {
    "boleto": "br_bank_transfer",
    "oxxo": "mx_bank_transfer",
    "konbini": "jp_bank_transfer",
    "customer_balance": "eu_bank_transfer",
    "sepa_debit": "eu_bank_transfer",
    "us_bank_account": "us_bank_transfer",
}


def method_object(method: PaymentMethod) -> dict[str, Any]:
    """Convert a payment method."""
    card = card_of(method)
    details = _card(card) if card.type == "card" else METHOD_FIELDS.get(card.type, {})
    return {
        "allow_redisplay": "unspecified",
        "billing_details": NO_BILLING_DETAILS,
        "customer": None,
        "customer_account": None,
        "metadata": {},
        "type": card.type,
        card.type: details,
    }


def charge_details(method: PaymentMethod, charge: Charge) -> dict[str, Any]:
    """Return the `payment_method_details` of a charge."""
    card = card_of(method)
    if card.type != "card":
        return {"type": card.type, card.type: CHARGE_FIELDS.get(card.type, {})}
    return {"type": "card", "card": _charged_card(card, charge)}


def refund_destination(method: PaymentMethod) -> dict[str, Any]:
    """Return the `destination_details` of a refund."""
    type = card_of(method).type
    if type == "card":
        fields = {"reference_status": "pending", "reference_type": "acquirer_reference_number"}
        return {"type": "card", "card": {**fields, "type": "refund"}}

    destination = REFUNDED_BY_TRANSFER.get(type, type)
    return {"type": destination, destination: {}}


def refund_action(refund: Refund) -> dict[str, Any]:
    """Return the `next_action` of a refund: the customer gives an account, as an email asks."""
    email = {"email_sent_at": refund.created, "email_sent_to": "customer@example.com"}
    return {
        "type": "display_details",
        "display_details": {
            "email_sent": email,
            "expires_at": refund.created + REFUND_EMAIL_SECONDS,
        },
    }


def _card(card: Card) -> dict[str, Any]:
    return {
        **EXPIRY,
        "brand": card.brand,
        "checks": CHECKS | {"cvc_check": None},
        "country": COUNTRY,
        "display_brand": card.brand,
        "fingerprint": f"sandbox{card.last4}",
        "funding": card.funding,
        "generated_from": None,
        "last4": card.last4,
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }


def _charged_card(card: Card, charge: Charge) -> dict[str, Any]:
    authorized = not (charge.captured or charge.decline)
    return {
        **EXPIRY,
        "amount_authorized": None if charge.decline else charge.amount,
        "authorization_code": None,
        "brand": card.brand,
        **({"capture_before": charge.created + card.authorization_seconds} if authorized else {}),
        "checks": CHECKS,
        "country": COUNTRY,
        "fingerprint": f"sandbox{card.last4}",
        "funding": card.funding,
        "installments": None,
        "last4": card.last4,
        "mandate": None,
        "network": card.brand,
        "network_transaction_id": None,
        "three_d_secure": None,
        "wallet": None,
    }
