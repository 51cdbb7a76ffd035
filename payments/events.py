"""What payments tells the others. Amounts are in minor units of `currency`."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sagas.events import Event, Notice, Refusal

__all__ = ["PaymentActionRequired", "PaymentFailed", "PaymentProcessed", "PaymentRefunded"]


class PaymentProcessed(Event, frozen=True, kw_only=True):
    """The money is ours."""

    type: ClassVar[str] = "payment.processed"

    payment_id: UUID
    charge_id: str
    amount: int
    currency: str


class PaymentFailed(Refusal, frozen=True, kw_only=True):
    """The gateway said no, for good. `decline_code` is why, as far as the customer may be told."""

    type: ClassVar[str] = "payment.failed"

    code: str = "payment_declined"
    detail: str = "The payment was declined."
    decline_code: str = ""


class PaymentActionRequired(Notice, frozen=True, kw_only=True):
    """The customer must confirm the payment at `url`, as with 3-D Secure, before it expires."""

    type: ClassVar[str] = "payment.action_required"

    payment_id: UUID
    url: str
    expires_at: datetime


class PaymentRefunded(Event, frozen=True, kw_only=True):
    """Nothing of the customer's money is left with us; `amount` is what went back, 0 where nothing was captured."""

    type: ClassVar[str] = "payment.refunded"

    payment_id: UUID
    amount: int
    currency: str
