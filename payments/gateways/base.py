"""What every payment gateway must do, and the answers it may give.

Every request has an idempotency key: asked again under the same key, a gateway does nothing again. Every method takes
a batch and answers each request, in the same order; what goes wrong with one of them is its answer, `Unanswered`, and
never an exception. Two workers may ask for the same key at once. Amounts are in minor units of the currency.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias
from uuid import UUID

import msgspec

__all__ = [
    "Absent",
    "Captured",
    "ChargeAnswer",
    "ChargeRequest",
    "Declined",
    "FindAnswer",
    "PaymentGateway",
    "RefundAnswer",
    "RefundRequest",
    "Refunded",
    "Unanswered",
    "Voided",
]


class ChargeRequest(msgspec.Struct, frozen=True):
    """A charge. To find it and to void it takes the same: a key that was never used must be bound to its charge."""

    key: str
    order_id: UUID
    amount: int
    currency: str
    payment_method: str


class RefundRequest(msgspec.Struct, frozen=True):
    """Give back `amount` of a charge."""

    key: str
    order_id: UUID
    charge_id: str
    amount: int
    currency: str


class Captured(msgspec.Struct, frozen=True):
    """The money was taken."""

    charge_id: str
    amount: int


class Declined(msgspec.Struct, frozen=True):
    """A definite no: nothing was moved, and under this key nothing will be. `code` is the gateway's own."""

    code: str
    detail: str


class Voided(msgspec.Struct, frozen=True):
    """The key is barred for ever, and nothing was captured under it."""


class Absent(msgspec.Struct, frozen=True):
    """Nothing was captured, declined or voided under this key until now. It may still be."""


class Refunded(msgspec.Struct, frozen=True):
    """The money went back."""

    refund_id: str
    amount: int


class Unanswered(msgspec.Struct, frozen=True):
    """A timeout, a 5xx, a key in use: whether it was done is not known."""

    reason: str


ChargeAnswer: TypeAlias = Captured | Declined | Voided | Unanswered
FindAnswer: TypeAlias = ChargeAnswer | Absent
RefundAnswer: TypeAlias = Refunded | Declined | Unanswered


class PaymentGateway(ABC):
    """An outside system that moves money. Never called with a transaction open."""

    @abstractmethod
    def charge(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Take the money. A replayed 5xx proves nothing: where an answer was lost, `find` first."""

    @abstractmethod
    def find(self, requests: Sequence[ChargeRequest]) -> list[FindAnswer]:
        """Look up what became of each key, and change nothing."""

    @abstractmethod
    def void(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Bar each key for ever, also one that was never used; say what became of a key that is used up already."""

    @abstractmethod
    def refund(self, requests: Sequence[RefundRequest]) -> list[RefundAnswer]:
        """Give money back, each under the refund's own key; decline more than what is left of the charge."""
