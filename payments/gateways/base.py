"""The interface of a payment gateway: its requests, its answers, and the duties of each method.

Each request has an idempotency key. A gateway acts once for a key, also when two workers send the
same key at once. Each method takes a batch and returns one answer for each request, in the same
order. A failed request is answered `Unanswered`; it never raises, because the others of the batch
have answers. Amounts are in minor units of the currency.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Literal, TypeAlias
from uuid import UUID

import msgspec
from django.db import connections

from payments.gateways.part_refunds import KeySpent, PartRefunded, PartRefundRequest, PartSoFar
from sagas import Limit

__all__ = [
    "Absent",
    "ActionRequired",
    "Authorized",
    "BalanceAnswer",
    "Captured",
    "ChargeAnswer",
    "ChargeBalance",
    "ChargeRequest",
    "Declined",
    "Dispute",
    "DisputeStatus",
    "FindAnswer",
    "KeySpent",
    "Movement",
    "PartRefundAnswer",
    "PartRefundRequest",
    "PartRefunded",
    "PartSoFar",
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
    `opened_at` is when the order was placed, so no earlier request has used the key. A gateway
    forgets keys after a time, so a charge with an old key is looked up before it is made. `gateway`
    is the name of the charge's gateway; payments without a name belong to the configured gateway.
    `charge_id` is the gateway's id of the charge, empty if it is not known yet.
    """

    key: str
    order_id: UUID
    amount: int
    currency: str
    payment_method: str
    opened_at: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))
    gateway: str = ""
    charge_id: str = ""


class RefundRequest(msgspec.Struct, frozen=True):
    """A request to give back a charge, through the `gateway` that took it.

    `amount` is the total that the customer shall have back: the captured amount. All refunds and
    lost disputes of the charge count towards it, including those of other people.
    """

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
    """The money was taken: `amount` of it, which a person may have changed at the gateway."""

    charge_id: str
    amount: int


class Declined(msgspec.Struct, frozen=True):
    """A final no: no money was moved under this key, and none will be.

    `code` is the gateway's own, for staff only. The customer may see `detail`, and `shown` instead
    of the code. `part`: of a part of a charge, the money that is back; None if it is not known.
    """

    code: str
    detail: str
    shown: str = ""
    part: PartSoFar | None = None


class Voided(msgspec.Struct, frozen=True):
    """The key is barred forever, and nothing was captured under it."""


class Absent(msgspec.Struct, frozen=True):
    """Nothing was captured, declined or voided under this key yet. A later request may do so."""


class ActionRequired(msgspec.Struct, frozen=True):
    """The customer must act at `url` first, as with 3-D Secure or a voucher to pay.

    `expires_at` is the gateway's own deadline; None if it sets none. `method` is the kind of the
    payment method, such as `card` or `boleto`.
    """

    url: str
    expires_at: datetime | None = None
    method: str = ""


class Pending(msgspec.Struct, frozen=True):
    """The gateway is still processing the request. This is no error; ask again later.

    `expected_at` is when the decision is due at the latest, as usual for this kind of payment
    method, refund or dispute; None if the gateway cannot say. After it, a person must look. `part`:
    of a part of a charge, the money that is back; None if it is not known.
    """

    reason: str
    expected_at: datetime | None = None
    part: PartSoFar | None = None


class Refunded(msgspec.Struct, frozen=True):
    """The customer has the whole amount back.

    `amount` is the sum of all succeeded refunds of the charge, including those of other people.
    `disputed` is the amount that the customer got through lost disputes. `refund_id` is the last
    refund, or the dispute if there was no refund.
    """

    refund_id: str
    amount: int
    disputed: int = 0


class Unanswered(msgspec.Struct, frozen=True):
    """Unknown whether the gateway did it, as after a timeout, a 5xx, or while a key is in use.

    `retry_after`: seconds to wait before the next request, if the gateway says so.
    """

    reason: str
    retry_after: float = 0.0


class DisputeStatus(StrEnum):
    """The state of a dispute. The gateway withdraws the amount when the dispute opens."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"


class Dispute(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's dispute of a charge.

    `amount` was withdrawn from us; a won dispute has returned it. `reason` is the gateway's word.
    Evidence may be sent until `respond_by`; None if it is too late or not wanted.
    """

    id: str
    amount: int
    status: DisputeStatus
    reason: str
    opened_at: datetime
    respond_by: datetime | None = None


class ChargeBalance(msgspec.Struct, frozen=True, kw_only=True):
    """The money of a charge: captured, given back, on the way back, and withdrawn by disputes."""

    charge_id: str
    captured: int
    refunded: int = 0
    refund_pending: int = 0
    disputes: tuple[Dispute, ...] = ()

    @property
    def disputed(self) -> int:
        """The amount that open and lost disputes have withdrawn."""
        return sum(each.amount for each in self.disputes if each.status != DisputeStatus.WON)

    @property
    def remaining(self) -> int:
        """The amount that is left of the charge: still ours, and not on its way back."""
        return self.captured - self.refunded - self.refund_pending - self.disputed


ChargeAnswer: TypeAlias = (
    Authorized | Captured | Declined | Voided | ActionRequired | Pending | Unanswered
)
FindAnswer: TypeAlias = ChargeAnswer | Absent
RefundAnswer: TypeAlias = Refunded | Declined | Pending | Unanswered
PartRefundAnswer: TypeAlias = PartRefunded | Declined | Pending | KeySpent | Unanswered
BalanceAnswer: TypeAlias = ChargeBalance | Absent | Unanswered


NO_PARTS = Declined(
    "part_refunds_not_supported",
    "This gateway gives back whole charges only. Refund the part at the gateway, and mark the step "
    "as done.",
)


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the gateway's statement: a movement of money.

    `kind`: `capture` and `dispute_return` brought money to us; `refund` and `dispute` took it from
    us. `id` is the gateway's id of the capture, refund or dispute, `charge_id` that of the charge.
    `amount` is positive. `order_id` and `key` are our metadata. Money moved by hand, or for another
    business, has none.
    """

    kind: Literal["capture", "refund", "dispute", "dispute_return"]
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
    """Raise `TransactionOpen` if this thread has one, on any database.

    The transaction in which Django's `TestCase` runs a test does not count, as with
    `transaction.atomic(durable=True)`.
    """
    innermost: list[Any] = [
        block
        for connection in connections.all(initialized_only=True)
        for block in connection.atomic_blocks[-1:]
    ]
    if any(not block._from_testcase for block in innermost):
        raise TransactionOpen(
            "A payment gateway was called inside a database transaction. Commit before the call."
        )


class PaymentGateway(ABC):
    """An outside system that moves money. Call it outside of any transaction.

    A worker sends each request of a step alone, in a thread with a new gateway, so that no order
    waits for the answer to another. `answers_at_once`: it sends the requests of a step together,
    and waits for them, because they take no longer than a statement on our own database.

    `statement_readers`: how many windows of the statement may be read at once, in threads.
    """

    answers_at_once: ClassVar[bool] = False
    statement_readers: ClassVar[int] = 1

    @classmethod
    def reason_not_chargeable(cls, amount: int, currency: str) -> str:
        """Return in words why this gateway cannot charge an amount; empty if it can.

        `amount` is in ISO 4217 minor units of `currency` (lower case). No network call is made.
        """
        return ""

    @classmethod
    def call_limit(cls) -> Limit | None:
        """Return the default limit of the orders that all workers ask this gateway for; None for no
        limit. An operator may replace it while the workers run.
        """
        return None

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
        """Give back the rest of each charge: captured − refunded − on the way − disputed.

        `Pending` while a refund or a dispute is undecided. A refund that failed for good is
        followed by another one, under the next key, in a later call.
        """

    def refund_part(self, requests: Sequence[PartRefundRequest]) -> list[PartRefundAnswer]:
        """Give back a part of each charge once, at most the rest of the charge.

        Otherwise as `refund`. A part that is not given back yet waits for an open dispute, and for
        pending refunds that leave too little. A gateway without this method declines, so a person
        refunds the part there.
        """
        return [NO_PARTS for _ in requests]

    @abstractmethod
    def balance(self, requests: Sequence[ChargeRequest]) -> list[BalanceAnswer]:
        """Read the money of each charge. Move no money. `Absent` if nothing was captured."""

    @abstractmethod
    def statement(self, since: datetime, until: datetime) -> Iterator[Movement]:
        """Yield all movements of money in a window, page by page, each capture before its refunds.

        Raise StatementUnavailable if the gateway does not return all of them.
        """

    def failed_refunds(self, since: datetime, until: datetime) -> Iterator[str]:
        """Yield the charge of each refund that failed in a window, whenever it was made.

        The statement has no line of such a refund. A gateway without this method yields none: it
        tells of a late failure in another way, or the audit finds it. Raise StatementUnavailable if
        the gateway does not return all of them.
        """
        return iter(())
