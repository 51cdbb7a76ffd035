"""Charges and payment methods: to be read; only a payment intent makes them."""

from typing import Any

from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.lists import one, page
from tools.stripe_sandbox.records import Charge, PaymentMethod

__all__ = ["list_all", "retrieve", "retrieve_method"]


def retrieve(call: Call, id: str) -> dict[str, Any]:
    """GET /v1/charges/{id}"""
    return one(call, Charge, id)


def list_all(call: Call) -> dict[str, Any]:
    """GET /v1/charges"""
    intent = call.form.text("payment_intent")
    return page(call, Charge, "/v1/charges", {"payment_intent": [intent] if intent else []})


def retrieve_method(call: Call, id: str) -> dict[str, Any]:
    """GET /v1/payment_methods/{id}"""
    return one(call, PaymentMethod, id)
