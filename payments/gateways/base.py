"""The interface of a payment gateway: its requests, its answers, and the duties of each method.

Each request has an idempotency key. A gateway acts once for a key, also when two workers send the
same key at once. Each method takes a batch and returns one answer for each request, in the same
order. A failed request is answered `Unanswered`; it never raises, because the others of the batch
have answers. Amounts are in minor units of the currency.
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
    """A charge to make, find, capture or void.

    `find` and `void` get the whole `ChargeRequest`, not only its key, because the gateway must bind
    an unused key to its charge.
    `opened_at` is when the key was made: a gateway forgets keys after a time. `gateway` is the name
    of the charge's gateway; payments without a name belong to the configured gateway.
    """

    key: str
    order_id: UUID
    amount: int
    currency: str
    payment_method: str
    opened_at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    gateway: str = ""


class RefundRequest(msgspec.Struct, frozen=True):
    """A refund of `amount` of a charge, through the `gateway` that took it."""

    key: str
    order_id: UUID
    charge_id: str
    amount: int
    currency: str
    gateway: str = ""


class Authorized(msgspec.Struct, frozen=True):
    """The gateway holds the money on the customer's card until `expires_at`; it is not taken."""

    expires_at: datetime


class Captured(msgspec.Struct, frozen=True):
    """The money was taken."""

    charge_id: str
    amount: int


class Declined(msgspec.Struct, frozen=True):
    """A final no: no money was moved under this key, and none will be.

    `code` is the gateway's own, for staff only. The customer may see `detail`, and `shown` instead
    of the code.
    """

    code: str
    detail: str
    shown: str = ""


class Voided(msgspec.Struct, frozen=True):
    """The key is barred forever, and nothing was captured under it."""


class Absent(msgspec.Struct, frozen=True):
    """Nothing was captured, declined or voided under this key yet. A later request may do so."""


class ActionRequired(msgspec.Struct, frozen=True):
    """The customer must confirm the charge at `url` first, as with 3-D Secure."""

    url: str


class Pending(msgspec.Struct, frozen=True):
    """The gateway is still processing the request. This is no error; ask again later."""

    reason: str


class Refunded(msgspec.Struct, frozen=True):
    """`amount` was given back."""

    refund_id: str
    amount: int


class Unanswered(msgspec.Struct, frozen=True):
    """Unknown whether the gateway did it, as after a timeout, a 5xx, or while a key is in use.

    `retry_after`: seconds to wait before the next request, if the gateway says so.
    """

    reason: str
    retry_after: float = 0.0


ChargeAnswer: TypeAlias = (
    Authorized | Captured | Declined | Voided | ActionRequired | Pending | Unanswered
)
FindAnswer: TypeAlias = ChargeAnswer | Absent
RefundAnswer: TypeAlias = Refunded | Declined | Pending | Unanswered


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the gateway's statement: a capture or a refund that has moved money.

    `id` is the gateway's id of the capture or refund, `charge_id` that of the charge. `order_id`
    and `key` are our metadata. Money moved by hand, or for another business, has none.
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
    """The gateway did not return its whole statement."""


class TransactionOpen(RuntimeError):
    """A gateway was called inside a transaction, which would hold its locks during the call."""


def refuse_open_transactions() -> None:
    """Raise `TransactionOpen` if this thread has one, on any database."""
    if any(connection.in_atomic_block for connection in connections.all(initialized_only=True)):
        raise TransactionOpen(
            "A payment gateway was called inside a database transaction. Commit before the call."
        )


class PaymentGateway(ABC):
    """An outside system that moves money. Call it outside of any transaction."""

    @abstractmethod
    def charge(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Take the money. Call `find` first where an answer was lost, because a replayed 5xx says
        nothing about the charge.
        """

    @abstractmethod
    def authorize(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Hold the money, to be captured under the same key. Otherwise as `charge`."""

    @abstractmethod
    def capture(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Take the authorized amount of each key once. Bar a key that cannot be captured."""

    @abstractmethod
    def find(self, requests: Sequence[ChargeRequest]) -> list[FindAnswer]:
        """Look up each key. Move no money."""

    @abstractmethod
    def void(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Bar each key forever, also an unused one, and release an authorization.

        A captured or declined key stays as it is, and its answer says so.
        """

    @abstractmethod
    def refund(self, requests: Sequence[RefundRequest]) -> list[RefundAnswer]:
        """Give money back once for each refund key. Decline more than the charge has left."""

    @abstractmethod
    def statement(self, since: datetime, until: datetime) -> Iterator[Movement]:
        """Yield all movements of money in a window, page by page, each capture before its refunds.

        Raise StatementUnavailable if the gateway does not return all of them.
        """
