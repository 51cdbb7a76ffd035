"""What every payment gateway must do, and the answers it may give.

Every request has an idempotency key: asked again under the same key, a gateway does nothing again.
Every method takes a batch and answers each request, in the same order; what goes wrong with one of
them is its answer, `Unanswered`, and never an exception. Two workers may ask for the same key at
once. Amounts are in minor units of the currency.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeAlias
from uuid import UUID

import msgspec
from django.db import connections

__all__ = [
    "Absent",
    "ActionRequired",
    "Authorized",
    "Captured",
    "ChargeAnswer",
    "ChargeRequest",
    "Declined",
    "FindAnswer",
    "Movement",
    "PaymentGateway",
    "Pending",
    "RefundAnswer",
    "RefundRequest",
    "Refunded",
    "StatementUnavailable",
    "TransactionOpen",
    "Unanswered",
    "Voided",
    "refuse_open_transactions",
]


class ChargeRequest(msgspec.Struct, frozen=True):
    """A charge. To find it and to void it takes the same: a key that was never used must be bound
    to its charge.

    `opened_at` is when the key was made: a gateway forgets keys after a while. `gateway`: the one
    it was made for, as PAYMENT_GATEWAY names it; empty where that was not written down, and it is
    the configured one.
    """

    key: str
    order_id: UUID
    amount: int
    currency: str
    payment_method: str
    opened_at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    gateway: str = ""


class RefundRequest(msgspec.Struct, frozen=True):
    """Give back `amount` of a charge, through the `gateway` that took it."""

    key: str
    order_id: UUID
    charge_id: str
    amount: int
    currency: str
    gateway: str = ""


class Authorized(msgspec.Struct, frozen=True):
    """The money is held for us on the customer's card, and not taken. The gateway lets go of it
    at `expires_at`.
    """

    expires_at: datetime


class Captured(msgspec.Struct, frozen=True):
    """The money was taken."""

    charge_id: str
    amount: int


class Declined(msgspec.Struct, frozen=True):
    """A definite no: nothing was moved, and under this key nothing will be.

    `code` is the gateway's own, for staff alone; the customer may be told `detail`, and `shown` in
    place of the code.
    """

    code: str
    detail: str
    shown: str = ""


class Voided(msgspec.Struct, frozen=True):
    """The key is barred for ever, and nothing was captured under it."""


class Absent(msgspec.Struct, frozen=True):
    """Nothing was captured, declined or voided under this key until now. It may still be."""


class ActionRequired(msgspec.Struct, frozen=True):
    """Nothing was taken yet: the customer must confirm the charge at `url` first, as with 3-D
    Secure.
    """

    url: str


class Pending(msgspec.Struct, frozen=True):
    """The gateway has it in hand and cannot say yet. No fault: it is asked again until it can."""

    reason: str


class Refunded(msgspec.Struct, frozen=True):
    """The money went back."""

    refund_id: str
    amount: int


class Unanswered(msgspec.Struct, frozen=True):
    """A timeout, a 5xx, a key in use: whether it was done is not known.

    `retry_after`: seconds for which the gateway wants not to be asked again.
    """

    reason: str
    retry_after: float = 0.0


ChargeAnswer: TypeAlias = (
    Authorized | Captured | Declined | Voided | ActionRequired | Pending | Unanswered
)
FindAnswer: TypeAlias = ChargeAnswer | Absent
RefundAnswer: TypeAlias = Refunded | Declined | Pending | Unanswered


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the gateway's statement of account: a capture or a refund that has moved money.

    `id` is the gateway's of the capture or the refund itself, `charge_id` of the charge. `order_id`
    and `key` are what we wrote on it: of money that was moved by hand, or for another business,
    there is none.
    """

    kind: str
    id: str
    charge_id: str
    amount: int
    currency: str
    order_id: UUID | None
    key: str
    at: datetime


class StatementUnavailable(Exception):
    """The gateway did not give its statement, or not all of it."""


class TransactionOpen(RuntimeError):
    """The gateway was called with a transaction open: locks would be held for as long as it
    takes to answer.
    """


def refuse_open_transactions() -> None:
    """Raise `TransactionOpen` if this thread has one, on any database."""
    if any(connection.in_atomic_block for connection in connections.all(initialized_only=True)):
        raise TransactionOpen(
            "A payment gateway is never called with a transaction open: commit first."
        )


class PaymentGateway(ABC):
    """An outside system that moves money. Never called with a transaction open."""

    @abstractmethod
    def charge(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Take the money. A replayed 5xx proves nothing: where an answer was lost, `find` first."""

    @abstractmethod
    def authorize(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Have the money held for us, to be captured under the same key. Else as `charge`."""

    @abstractmethod
    def capture(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Take what is authorized under each key, once. A key for which that cannot be done is
        barred for ever.
        """

    @abstractmethod
    def find(self, requests: Sequence[ChargeRequest]) -> list[FindAnswer]:
        """Look up what became of each key, and change nothing."""

    @abstractmethod
    def void(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Bar each key for ever, also one that was never used; say what became of a key that is
        used up already.

        What was only authorized is let go.
        """

    @abstractmethod
    def refund(self, requests: Sequence[RefundRequest]) -> list[RefundAnswer]:
        """Give money back, each under the refund's own key; decline more than what is left of
        the charge.
        """

    @abstractmethod
    def statement(self, since: datetime, until: datetime) -> Iterator[Movement]:
        """Yield all money moved in a window, page by page, a capture before its refunds.

        Raises `StatementUnavailable`.
        """
