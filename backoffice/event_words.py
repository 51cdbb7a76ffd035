"""The words of the events of payments and inventory."""

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["NOTHING_BACK", "WORDS"]

# Each function gets the detail of the event.
WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "payment.undecided": lambda detail: f"waits until {detail.get('waits_until')}, as agreed",
    "payment.action_required": lambda _: "waits for the customer, as agreed",
    "payment.failed": lambda detail: (
        "another amount than the order's was captured; it is given back"
        if detail.get("code") == "payment_amount_differs"
        else ""
    ),
    "payment.partly_refunded": lambda detail: (
        "" if detail.get("amount") or detail.get("covered") else "only free products came back"
    ),
    "payment.disputed": lambda detail: f"dispute {detail.get('status')}",
    "payment.voided": lambda detail: (
        "an unexpected capture was refunded" if detail.get("amount") else "authorization released"
    ),
}

# Whether an undo has moved no money and no stock. Orders of older releases have a refund or a
# release of 0 instead of an event of its own.
NOTHING_BACK: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "payment.barred": lambda _: True,
    "stock.barred": lambda _: True,
    "payment.refunded": lambda detail: not detail.get("amount") and not detail.get("disputed"),
    "stock.released": lambda detail: not detail.get("pieces"),
}
