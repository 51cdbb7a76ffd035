"""Events of an order in an operator's words, where the name of the event does not say enough."""

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["event_words", "gave_nothing_back"]

NOTHING_BACK = "nothing to give back"

# Each function gets the detail of the event.
WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "payment.undecided": lambda detail: f"waits until {detail.get('waits_until')}, as agreed",
    "payment.action_required": lambda _: "waits for the customer, as agreed",
    "payment.failed": lambda detail: (
        "another amount than the order's was captured; it is given back"
        if detail.get("code") == "payment_amount_differs"
        else ""
    ),
    "payment.disputed": lambda detail: f"dispute {detail.get('status')}",
    "payment.voided": lambda detail: (
        "an unexpected capture was refunded" if detail.get("amount") else "authorization released"
    ),
}


def event_words(type_: str, detail: Mapping[str, Any]) -> str:
    """Return an event in words; empty if its name says enough."""
    if gave_nothing_back(type_, detail):
        return NOTHING_BACK
    words = WORDS.get(type_)
    return words(detail) if words else ""


def gave_nothing_back(type_: str, detail: Mapping[str, Any]) -> bool:
    """Tell whether the event ends an undo that had nothing to undo: no money and no stock moved.

    Orders of older releases have a refund or a release of 0 instead.
    """
    match type_:
        case "payment.barred" | "stock.barred":
            return True
        case "payment.refunded":
            return not detail.get("amount") and not detail.get("disputed")
        case "stock.released":
            return not detail.get("pieces")
    return False
