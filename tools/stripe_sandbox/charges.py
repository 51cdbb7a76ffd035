"""Read charges and payment methods. Only payment intents create them."""

from typing import Any

from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.pagination import page, retrieve_one
from tools.stripe_sandbox.records import Charge, PaymentMethod

__all__ = ["list_all", "retrieve", "retrieve_method"]


def retrieve(call: Call, id: str) -> dict[str, Any]:
    """GET /v1/charges/{id}"""
    return retrieve_one(call, Charge, id)


def list_all(call: Call) -> dict[str, Any]:
    """GET /v1/charges"""
    intent = call.form.text("payment_intent")
    return page(call, Charge, "/v1/charges", {"payment_intent": [intent] if intent else []})


def retrieve_method(call: Call, id: str) -> dict[str, Any]:
    """GET /v1/payment_methods/{id}"""
    return retrieve_one(call, PaymentMethod, id)
