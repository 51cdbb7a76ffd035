"""The stored state of each object, without the fields that never change in the sandbox."""

import secrets
from typing import Any, ClassVar

import msgspec

__all__ = [
    "BalanceTransaction",
    "Charge",
    "Dispute",
    "Event",
    "Intent",
    "PaymentMethod",
    "Record",
    "Refund",
    "new_id",
]


def new_id(prefix: str) -> str:
    """Return a new random id such as `pi_…`."""
    return f"{prefix}_{secrets.token_hex(12)}"


class Record(msgspec.Struct, kw_only=True):
    """An object of the API. Times are seconds since 1970, UTC; amounts are in minor units."""

    kind: ClassVar[str]

    id: str
    created: int


class PaymentMethod(Record, kw_only=True):
    """A payment method made from a test card. The card's `name` sets its behaviour."""

    kind = "payment_method"

    name: str


class Intent(Record, kw_only=True):
    """A payment intent."""

    kind = "payment_intent"

    amount: int
    currency: str
    status: str
    capture_method: str
    confirmation_method: str
    payment_method_types: list[str]
    metadata: dict[str, str]
    client_secret: str
    automatic_payment_methods: dict[str, Any] | None = None
    description: str | None = None
    receipt_email: str | None = None
    setup_future_usage: str | None = None
    statement_descriptor: str | None = None
    statement_descriptor_suffix: str | None = None
    transfer_group: str | None = None
    payment_method: str | None = None
    return_url: str | None = None
    next_action: dict[str, Any] | None = None
    last_payment_error: dict[str, Any] | None = None
    latest_charge: str | None = None
    amount_capturable: int = 0
    amount_received: int = 0
    canceled_at: int | None = None
    cancellation_reason: str | None = None


class Charge(Record, kw_only=True):
    """One attempt to charge an intent."""

    kind = "charge"

    payment_intent: str
    payment_method: str
    amount: int
    currency: str
    status: str
    metadata: dict[str, str]
    captured: bool = False
    amount_captured: int = 0
    amount_refunded: int = 0
    balance_transaction: str | None = None
    disputed: bool = False
    decline: dict[str, str] | None = None
    description: str | None = None
    receipt_email: str | None = None
    statement_descriptor: str | None = None
    statement_descriptor_suffix: str | None = None
    transfer_group: str | None = None


class Refund(Record, kw_only=True):
    """A refund of a charge."""

    kind = "refund"

    charge: str
    payment_intent: str
    amount: int
    currency: str
    status: str
    metadata: dict[str, str]
    reason: str | None = None
    balance_transaction: str | None = None
    failure_balance_transaction: str | None = None
    failure_reason: str | None = None


class Dispute(Record, kw_only=True):
    """A dispute of a charge. Its balance transactions are a withdrawal and perhaps a return."""

    kind = "dispute"

    charge: str
    payment_intent: str
    amount: int
    currency: str
    reason: str
    status: str
    due_by: int
    balance_transactions: list[str] = []  # msgspec copies the default


class BalanceTransaction(Record, kw_only=True):
    """A movement of money into the balance, or out of it if `amount` is negative.

    `source` is the charge, refund or dispute; `fee` is deducted from the amount.
    """

    kind = "balance_transaction"

    type: str
    reporting_category: str
    source: str
    amount: int
    currency: str
    available_on: int
    fee: int = 0
    description: str | None = None


class Event(Record, kw_only=True):
    """An event. `data` is the object at the time of the event."""

    kind = "event"

    type: str
    data: dict[str, Any]
    request: dict[str, str | None]
