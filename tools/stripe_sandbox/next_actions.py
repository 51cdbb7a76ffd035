"""The customer's next action: confirm a card, or pay by the instructions of a hosted page.

https://docs.stripe.com/api/payment_intents/object#payment_intent_object-next_action
"""

from collections.abc import Callable
from typing import Any

from tools.stripe_sandbox.cards import Card
from tools.stripe_sandbox.records import Intent

__all__ = ["authentication", "instructions"]

# A made-up account at the sandbox's own bank, which does not exist. The check sum of the IBAN is
# valid.
BIC = "SANDIE2XXXX"
IBAN = "IE66SAND00000012345678"
BANK_ADDRESS = {
    "city": "Dublin",
    "country": "IE",
    "line1": "1 Sandbox Street",
    "line2": None,
    "postal_code": "D02 H210",
    "state": None,
}
NO_IMAGE = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"


def authentication(intent: Intent, page: str) -> dict[str, Any]:
    """Return the action to confirm a card on the bank's page."""
    if intent.return_url:
        return {
            "type": "redirect_to_url",
            "redirect_to_url": {"return_url": intent.return_url, "url": page},
        }

    return {
        "type": "use_stripe_sdk",
        "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": page},
    }


def instructions(intent: Intent, card: Card, page: str, expires_at: int | None) -> dict[str, Any]:
    """Return the action to pay by the instructions on `page` until `expires_at`."""
    type, details = ACTIONS[card.type](intent, page, expires_at)
    return {"type": type, type: details}


Action = tuple[str, dict[str, Any]]


def _boleto(intent: Intent, page: str, expires_at: int | None) -> Action:
    return "boleto_display_details", {
        "expires_at": expires_at,
        "hosted_voucher_url": page,
        "number": _digits(intent, 47),
        "pdf": None,
    }


def _oxxo(intent: Intent, page: str, expires_at: int | None) -> Action:
    return "oxxo_display_details", {
        "expires_after": expires_at,
        "hosted_voucher_url": page,
        "number": _digits(intent, 14),
    }


def _konbini(intent: Intent, page: str, expires_at: int | None) -> Action:
    store = {"confirmation_number": _digits(intent, 11), "payment_code": _digits(intent, 6)}
    names = ("familymart", "lawson", "ministop", "seicomart")
    return "konbini_display_details", {
        "expires_at": expires_at,
        "hosted_voucher_url": page,
        "stores": dict.fromkeys(names, store),
    }


def _multibanco(intent: Intent, page: str, expires_at: int | None) -> Action:
    return "multibanco_display_details", {
        "entity": "12345",
        "expires_at": expires_at,
        "hosted_voucher_url": page,
        "reference": _digits(intent, 9),
    }


def _bank_transfer(intent: Intent, page: str, expires_at: int | None) -> Action:
    iban = {
        "account_holder_address": BANK_ADDRESS,
        "account_holder_name": "Sandbox",
        "bank_address": BANK_ADDRESS,
        "bic": BIC,
        "country": "IE",
        "iban": IBAN,
    }
    return "display_bank_transfer_instructions", {
        "amount_remaining": intent.amount,
        "currency": intent.currency,
        "financial_addresses": [{"iban": iban, "supported_networks": ["sepa"], "type": "iban"}],
        "hosted_instructions_url": page,
        "reference": _digits(intent, 12),
        "type": "eu_bank_transfer",
    }


def _wechat_pay(intent: Intent, page: str, expires_at: int | None) -> Action:
    return "wechat_pay_display_qr_code", {
        "data": page,
        "hosted_instructions_url": page,
        "image_data_url": NO_IMAGE,
        "image_url_png": page,
        "image_url_svg": page,
    }


def _pix(intent: Intent, page: str, expires_at: int | None) -> Action:
    return "pix_display_qr_code", {
        "data": page,
        "expires_at": expires_at,
        "hosted_instructions_url": page,
        "image_url_png": None,
        "image_url_svg": None,
    }


ACTIONS: dict[str, Callable[[Intent, str, int | None], Action]] = {
    "boleto": _boleto,
    "oxxo": _oxxo,
    "konbini": _konbini,
    "multibanco": _multibanco,
    "customer_balance": _bank_transfer,
    "wechat_pay": _wechat_pay,
    "pix": _pix,
}


def _digits(intent: Intent, count: int) -> str:
    """Return digits that are always the same for an intent."""
    return f"{int(intent.id.partition('_')[2], 16) % 10**count:0{count}}"
