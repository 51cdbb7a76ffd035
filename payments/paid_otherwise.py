"""Owed money that a person has paid to the customer outside of the gateway, such as by transfer."""

import re
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, Q
from django.db.models.functions import Now

from payments.models import PartialRefund, Payment
from payments.partial_refunds import complete_by_hand, failed_refunds, partial_refunds_of
from payments.services import PaymentUpdate, lock_payments, update_payments
from sagas.currencies import with_currency

__all__ = [
    "ACTION",
    "FollowUpUnderWay",
    "OwedAmountChanged",
    "Record",
    "parse_record",
    "record_paid_otherwise",
]

# The name of the action in the log of staff.
ACTION = "paid_otherwise"

SENTENCE = re.compile(
    r"(?P<amount>[\d.,]+) (?P<currency>[A-Z]{3}) are recorded as paid in another way:"
    r" (?P<reference>.*?)\. The gateway is asked for no refund any more\.",
    re.DOTALL,
)


class Record(NamedTuple):
    """An amount that was paid in another way, in minor units, and the reference of the payment."""

    amount: int
    currency: str
    reference: str

    def __str__(self) -> str:
        paid = with_currency(self.amount, self.currency)
        return (
            f"{paid} are recorded as paid in another way: {self.reference}."
            " The gateway is asked for no refund any more."
        )


def parse_record(text: str) -> Record | None:
    """Return the record that a text of `Record` describes; None for any other text."""
    found = SENTENCE.fullmatch(text)
    if found is None:
        return None
    digits = re.sub(r"[.,]", "", found["amount"])
    return Record(int(digits), found["currency"].lower(), found["reference"])


class FollowUpUnderWay(Exception):
    """A follow-up may be refunding the money at this moment. Try again after its lease."""


class OwedAmountChanged(Exception):
    """Another amount is owed than the caller knows: `owed`, of a payment."""

    def __init__(self, payment: Payment, owed: int) -> None:
        super().__init__(f"{owed} {payment.currency} are owed now.")
        self.payment = payment
        self.owed = owed


def record_paid_otherwise(order: UUID, *, amount: int, reference: str) -> Payment | None:
    """Commit that the owed amount of an order's payment, or of its failed parts, has reached the
    customer.

    Return the payment as it was before; also if this reference is recorded already, as after a
    crash of the caller. Return None if nothing is owed. The gateway is asked for the balance once
    more, and for no refund. `amount` was paid, in minor units. `reference` names the payment to the
    customer. Raises `FollowUpUnderWay` or `OwedAmountChanged`.
    """
    with transaction.atomic(using="payments"):
        payments = lock_payments([order])
        payment = payments.get(order)
        if payment is None:
            return None
        parts = failed_refunds(order)
        owed = payment.owed_amount or sum(part.missing for part in parts)
        if not owed:
            is_recorded = reference in _references(payment)
            return payment if is_recorded and payment.paid_otherwise_amount >= amount else None
        if _may_be_refunding(order):
            raise FollowUpUnderWay(
                "The gateway may be asked for a refund at this moment, so nothing is recorded."
            )
        if owed != amount:
            raise OwedAmountChanged(payment, owed)

        if payment.owed_amount:
            update = PaymentUpdate(
                order_id=order,
                status=Payment.Status.REFUNDED,
                owed_amount=0,
                refund_reference=reference,
            )
            update_payments(payments, [update])
        for part in parts:
            complete_by_hand(part, reference)
        Payment.objects.filter(order_id=order).update(
            paid_otherwise_amount=F("paid_otherwise_amount") + owed,
            follow_at=None,
            follow_attempts=0,
            follow_error="",
            balance_due_at=Now(),
        )
    return payment


def _may_be_refunding(order: UUID) -> bool:
    """Return whether a follow-up may have leased the payment. A short pause looks the same."""
    leased = (Now(), Now() + timedelta(seconds=settings.SAGA_LEASE_SECONDS))
    may_be = Q(follow_at__range=leased) | Q(balance_due_at__range=leased, has_failed_parts=True)
    failed = PartialRefund.objects.filter(order_id=order, status=PartialRefund.Status.FAILED)
    payments = Payment.objects.annotate(has_failed_parts=Exists(failed))
    return payments.filter(may_be, order_id=order).exists()


def _references(payment: Payment) -> set[str]:
    """Return the references of all payments in another way, of the payment and of its parts."""
    return {
        payment.refund_reference,
        *(part.reference for part in partial_refunds_of([payment.order_id])),
    }
