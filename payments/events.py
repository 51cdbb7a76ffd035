"""The events of payments. Amounts are in minor units of `currency`."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from sagas import Event, Refusal
from sagas.outcomes import Notice, WaitNotice

__all__ = [
    "PaymentActionRequired",
    "PaymentAuthorized",
    "PaymentBarred",
    "PaymentDisputed",
    "PaymentExpiring",
    "PaymentFailed",
    "PaymentKept",
    "PaymentMismatched",
    "PaymentPartlyRefunded",
    "PaymentProcessed",
    "PaymentRefunded",
    "PaymentUndecided",
    "PaymentVoided",
    "PaymentWithheld",
]


class PaymentProcessed(Event, frozen=True, kw_only=True):
    """The order's amount was charged or captured."""

    type: ClassVar[str] = "payment.processed"

    payment_id: UUID
    charge_id: str
    amount: int
    currency: str


class PaymentAuthorized(Event, frozen=True, kw_only=True):
    """The gateway holds the order's amount on the customer's card until `expires_at`."""

    type: ClassVar[str] = "payment.authorized"

    payment_id: UUID
    amount: int
    currency: str
    expires_at: datetime | None


class PaymentFailed(Refusal, frozen=True, kw_only=True):
    """The gateway refused for good. `decline_code` is the reason that the customer may see."""

    type: ClassVar[str] = "payment.failed"

    code: str = "payment_declined"
    detail: str = "The payment was declined."
    decline_code: str = ""


class PaymentMismatched(PaymentFailed, frozen=True, kw_only=True):
    """Another amount than the order's was captured, so the order is not paid. The captured amount
    is given back.
    """

    had_effect: ClassVar[bool] = True

    code: str = "payment_amount_differs"
    detail: str = "Another amount than the order's was captured. It is given back."


class PaymentBarred(Event, frozen=True, kw_only=True):
    """There was nothing to give back: nothing was captured for the order, and nothing will be."""

    type: ClassVar[str] = "payment.barred"

    payment_id: UUID


class PaymentUndecided(WaitNotice, frozen=True, kw_only=True):
    """The gateway has not decided on the `subject` yet: a charge, or a refund."""

    type: ClassVar[str] = "payment.undecided"

    payment_id: UUID
    subject: str


class PaymentDisputed(Notice, frozen=True, kw_only=True):
    """The customer disputes the payment, or the dispute has ended. `status`: open, won or lost."""

    type: ClassVar[str] = "payment.disputed"

    payment_id: UUID
    dispute_id: str
    status: str
    amount: int
    currency: str


class PaymentExpiring(Refusal, frozen=True, kw_only=True):
    """The order is cancelled, because its authorization expires before the order is ready."""

    type: ClassVar[str] = "payment.expiring"

    code: str = "authorization_expired"
    detail: str = "The payment's authorization ran out before the order was ready."


class PaymentWithheld(Event, frozen=True, kw_only=True):
    """The cancel came in time: the authorized amount will not be captured."""

    type: ClassVar[str] = "payment.withheld"


class PaymentKept(Event, frozen=True, kw_only=True):
    """The cancel came too late: the amount was captured, and the order will be fulfilled."""

    type: ClassVar[str] = "payment.kept"


class PaymentActionRequired(WaitNotice, frozen=True, kw_only=True):
    """The customer must act at `url` before `expires_at`, as with 3-D Secure or a voucher.

    `method` is the kind of the payment method, such as `card` or `boleto`; empty if not known.
    """

    type: ClassVar[str] = "payment.action_required"

    payment_id: UUID
    url: str
    expires_at: datetime
    method: str = ""


class PaymentVoided(Event, frozen=True, kw_only=True):
    """The authorization was released for good. `amount` is the refund of an unexpected capture."""

    type: ClassVar[str] = "payment.voided"

    payment_id: UUID
    amount: int
    currency: str


class PaymentRefunded(Event, frozen=True, kw_only=True):
    """The customer has all captured money back: `amount` by refunds, `disputed` by disputes."""

    type: ClassVar[str] = "payment.refunded"

    payment_id: UUID
    amount: int
    currency: str
    disputed: int = 0


class PaymentPartlyRefunded(Event, frozen=True, kw_only=True):
    """A part of the charge is given back, for one saga, such as a return.

    `amount`: what this refund has given back; 0 if only free products came back. `covered`: the
    rest of the asked amount, which the customer has by other refunds and disputes, because nothing
    is left of the charge.
    """

    type: ClassVar[str] = "payment.partly_refunded"

    payment_id: UUID
    refund_id: str
    amount: int
    currency: str
    covered: int = 0
