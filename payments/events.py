"""What payments tells the others. Amounts are in minor units of `currency`."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sagas.definition.events import Event, Notice, Refusal

__all__ = [
    "PaymentActionRequired",
    "PaymentAuthorized",
    "PaymentExpiring",
    "PaymentFailed",
    "PaymentKept",
    "PaymentProcessed",
    "PaymentRefunded",
    "PaymentVoided",
    "PaymentWithheld",
]


class PaymentProcessed(Event, frozen=True, kw_only=True):
    """The money is ours."""

    type: ClassVar[str] = "payment.processed"

    payment_id: UUID
    charge_id: str
    amount: int
    currency: str


class PaymentAuthorized(Event, frozen=True, kw_only=True):
    """The money is held for us, until it is captured or `expires_at` has come. Nothing of it is
    ours yet.
    """

    type: ClassVar[str] = "payment.authorized"

    payment_id: UUID
    amount: int
    currency: str
    expires_at: datetime | None


class PaymentFailed(Refusal, frozen=True, kw_only=True):
    """The gateway said no, for good. `decline_code` is why, as far as the customer may be told."""

    type: ClassVar[str] = "payment.failed"

    code: str = "payment_declined"
    detail: str = "The payment was declined."
    decline_code: str = ""


class PaymentExpiring(Refusal, frozen=True, kw_only=True):
    """The order was not ready to be paid before its authorization runs out: it is called off."""

    type: ClassVar[str] = "payment.expiring"

    code: str = "authorization_expired"
    detail: str = "The payment's authorization ran out before the order was ready."


class PaymentWithheld(Event, frozen=True, kw_only=True):
    """The order was called off in time: what is authorized for it will not be captured."""

    type: ClassVar[str] = "payment.withheld"


class PaymentKept(Event, frozen=True, kw_only=True):
    """The order was called off too late: its money is ours, and it will be fulfilled."""

    type: ClassVar[str] = "payment.kept"


class PaymentActionRequired(Notice, frozen=True, kw_only=True):
    """The customer must confirm the payment at `url`, as with 3-D Secure, before it expires."""

    type: ClassVar[str] = "payment.action_required"

    payment_id: UUID
    url: str
    expires_at: datetime


class PaymentVoided(Event, frozen=True, kw_only=True):
    """Nothing of the customer's money is held, nor will be; `amount` is what went back of what
    was taken after all.
    """

    type: ClassVar[str] = "payment.voided"

    payment_id: UUID
    amount: int
    currency: str


class PaymentRefunded(Event, frozen=True, kw_only=True):
    """Nothing of the customer's money is left with us; `amount` is what went back, 0 where
    nothing was captured.
    """

    type: ClassVar[str] = "payment.refunded"

    payment_id: UUID
    amount: int
    currency: str
