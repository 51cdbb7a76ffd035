"""Charges and payment methods: to be read; only a payment intent makes them."""

from typing import Any

from sandbox.call import Call
from sandbox.errors import no_such
from sandbox.lists import page
from sandbox.records import Charge, PaymentMethod
from sandbox.shapes import shape

__all__ = ["list_all", "retrieve", "retrieve_method"]


def retrieve(call: Call, id: str) -> dict[str, Any]:
    """GET /v1/charges/{id}"""
    call.form.only()
    charge = call.books.find(Charge, id)
    if charge is None:
        raise no_such("charge", id, param="id")
    return shape(call.books, charge)


def list_all(call: Call) -> dict[str, Any]:
    """GET /v1/charges"""
    intent = call.form.text("payment_intent")
    return page(call, Charge, "/v1/charges", {"payment_intent": [intent] if intent else []})


def retrieve_method(call: Call, id: str) -> dict[str, Any]:
    """GET /v1/payment_methods/{id}"""
    call.form.only()
    method = call.books.find(PaymentMethod, id)
    if method is None:
        raise no_such("PaymentMethod", id, param="payment_method")
    return shape(call.books, method)
