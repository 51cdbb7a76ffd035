"""The events of returns. Amounts are in minor units of `currency` (lower-case ISO 4217)."""

from typing import Annotated, ClassVar
from uuid import UUID

from msgspec import Meta, Struct

from sagas import Event, Refusal

__all__ = [
    "GoodsMissing",
    "GoodsReceived",
    "LineReceived",
    "LineReturned",
    "ReturnAccepted",
    "ReturnApproved",
    "ReturnCancelled",
    "ReturnClosed",
    "ReturnCompleted",
    "ReturnDeclined",
    "ReturnNotAccepted",
    "ReturnNotApproved",
    "ReturnRequested",
]

Pieces = Annotated[int, Meta(ge=0)]


class LineReturned(Struct, frozen=True):
    """Pieces of one SKU that the customer wants to return, at the price that was charged."""

    sku: str
    quantity: int
    unit_amount: int


class LineReceived(Struct, frozen=True, forbid_unknown_fields=True):
    """The pieces of one SKU that came back: some go back to stock, the others are written off."""

    sku: str
    restock: Pieces = 0
    write_off: Pieces = 0

    @property
    def pieces(self) -> int:
        """All pieces of the SKU that came back."""
        return self.restock + self.write_off


class ReturnRequested(Event, frozen=True, kw_only=True):
    """A return was requested. Its fields become the saga's context, which every step can read.

    `amount` is the most that is refunded; 0 if only free products come back. A return of the kind
    `goodwill` has no lines.
    """

    type: ClassVar[str] = "return.requested"

    order_id: UUID
    kind: str
    amount: int
    currency: str
    needs_approval: bool
    lines: tuple[LineReturned, ...] = ()


class ReturnApproved(Event, frozen=True, kw_only=True):
    """A person of staff has approved the refund."""

    type: ClassVar[str] = "return.approved"


class ReturnDeclined(Refusal, frozen=True, kw_only=True):
    """A person of staff has refused the return."""

    type: ClassVar[str] = "return.declined"

    code: str = "return_declined"
    detail: str = "The shop has refused the return."


class ReturnNotApproved(Refusal, frozen=True, kw_only=True):
    """The approval did not come in time."""

    type: ClassVar[str] = "return.not_approved"

    code: str = "approval_expired"
    detail: str = "The return was not approved in time."


class GoodsReceived(Event, frozen=True, kw_only=True):
    """Goods have come back. A SKU without a line did not."""

    type: ClassVar[str] = "return.goods_received"

    lines: tuple[LineReceived, ...]


class GoodsMissing(Refusal, frozen=True, kw_only=True):
    """The goods did not come back in time."""

    type: ClassVar[str] = "return.goods_missing"

    code: str = "goods_missing"
    detail: str = "The goods did not arrive in time."


class ReturnAccepted(Event, frozen=True, kw_only=True):
    """The refund is decided: its amount, and the pieces that came back. Later steps read this."""

    type: ClassVar[str] = "return.accepted"

    amount: int
    currency: str
    lines: tuple[LineReceived, ...] = ()


class ReturnNotAccepted(Refusal, frozen=True, kw_only=True):
    """There is nothing to accept: nothing came back, or the return is not known."""

    type: ClassVar[str] = "return.not_accepted"

    code: str = "nothing_received"
    detail: str = "Nothing of the return has arrived."


class ReturnCancelled(Refusal, frozen=True, kw_only=True):
    """The return was cancelled before it was accepted; by default, by the customer."""

    type: ClassVar[str] = "return.cancelled"

    code: str = "cancelled_by_customer"
    detail: str = "Cancelled by the customer."


class ReturnCompleted(Event, frozen=True, kw_only=True):
    """The money, if any, is given back, and the goods are in stock or written off."""

    type: ClassVar[str] = "return.completed"


class ReturnClosed(Event, frozen=True, kw_only=True):
    """The return has ended without a refund."""

    type: ClassVar[str] = "return.closed"

    code: str
    detail: str
