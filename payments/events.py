"""What payments tells the others. Amounts are in minor units of `currency`."""

from typing import ClassVar
from uuid import UUID

from sagas.events import Event, Refusal

__all__ = ["PaymentFailed", "PaymentProcessed", "PaymentRefunded"]


class PaymentProcessed(Event, frozen=True, kw_only=True):
    """The money is ours."""

    type: ClassVar[str] = "payment.processed"

    payment_id: UUID
    charge_id: str
    amount: int
    currency: str


class PaymentFailed(Refusal, frozen=True, kw_only=True):
    """The gateway said no, for good. `decline_code` is its own word for why."""

    type: ClassVar[str] = "payment.failed"

    code: str = "payment_declined"
    detail: str = "The payment was declined."
    decline_code: str = ""


class PaymentRefunded(Event, frozen=True, kw_only=True):
    """Nothing of the customer's money is left with us; `amount` is what went back, 0 where nothing was captured."""

    type: ClassVar[str] = "payment.refunded"

    payment_id: UUID
    amount: int
    currency: str
