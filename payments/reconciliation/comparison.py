"""The comparison of a statement with our payments, in both directions."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TypeVar
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from msgspec import Struct

from payments.gateway_requests import charge_request
from payments.gateways import get_gateway
from payments.gateways.base import Captured, FindAnswer, Movement, Pending, Unanswered
from payments.models import Drift, Payment

__all__ = [
    "Comparison",
    "Discrepancy",
    "compare_movements",
    "follow_up_missing_refunds",
    "pages",
    "payments_missing_in_statement",
    "schedule_refunds",
]

Kind = Drift.Kind
Status = Payment.Status

# The sagas of these payments find out by themselves what the gateway has taken.
OPEN = (Status.PENDING, Status.AUTHORIZED)

# Payments in one request to the gateway.
LOOKUP_BATCH = 100

T = TypeVar("T")


class Discrepancy(Struct, frozen=True, kw_only=True):
    """A difference between payments and the statement, in minor units of `currency`.

    `reference` is the gateway's id of the charge or refund.
    """

    kind: Drift.Kind
    reference: str
    order_id: UUID | None
    ours: int
    theirs: int
    currency: str


class Comparison(Struct, frozen=True, kw_only=True):
    """The result of comparing movements: the discrepancies, and the payments whose refund follow-up
    the caller schedules.
    """

    discrepancies: list[Discrepancy]
    payments_to_refund: list[UUID]


def compare_movements(movements: Sequence[Movement]) -> Comparison:
    """Find the movements that payments does not have, or has with another amount. Write nothing."""
    charges = {movement.charge_id for movement in movements}
    orders = {movement.order_id for movement in movements if movement.order_id}
    payments = list(Payment.objects.filter(Q(order_id__in=orders) | Q(charge_id__in=charges)))
    by_charge = {payment.charge_id: payment for payment in payments if payment.charge_id}
    by_order: dict[UUID | None, Payment] = {payment.order_id: payment for payment in payments}

    discrepancies: list[Discrepancy | None] = []
    payments_to_refund = []
    for movement in movements:
        payment = by_charge.get(movement.charge_id)
        if movement.kind == "refund":
            discrepancies.append(_compare_refund(movement, payment))
        elif payment or movement.order_id:
            payment = payment or by_order.get(movement.order_id)
            discrepancies.append(_compare_capture(movement, payment))
            if payment and _is_of_another_charge(movement, payment):
                payments_to_refund.append(payment.id)

    return Comparison(
        discrepancies=[found for found in discrepancies if found],
        payments_to_refund=payments_to_refund,
    )


def schedule_refunds(payments: Sequence[UUID]) -> None:
    """Schedule a follow-up, which refunds the money that came in, for payments without a charge."""
    never_captured = Payment.objects.filter(
        id__in=payments, status__in=(Status.VOID, Status.DECLINED), follow_at=None
    )
    never_captured.update(follow_at=Now())


def payments_missing_in_statement(
    since: datetime, until: datetime, charged: set[str]
) -> Iterator[Discrepancy]:
    """Yield the payments of a window that the gateway does not know as charged.

    The gateway is asked for each, because its charge may lie outside of the window.
    """
    captured = _payments_of_this_gateway().filter(
        charge_id__isnull=False, created_at__gte=since, created_at__lt=until
    )
    missing = (
        payment
        for payment in captured.order_by("id").iterator()
        if payment.charge_id not in charged
    )
    for payments in pages(missing, LOOKUP_BATCH):
        answers = get_gateway().find([charge_request(payment) for payment in payments])
        for payment, answer in zip(payments, answers, strict=True):
            if not _may_be_charged(answer):
                yield Discrepancy(
                    kind=Kind.UNCHARGED,
                    reference=str(payment.charge_id),
                    order_id=payment.order_id,
                    ours=payment.amount,
                    theirs=0,
                    currency=payment.currency,
                )


def follow_up_missing_refunds(since: datetime, until: datetime, refunded: set[str]) -> None:
    """Schedule a follow-up for refunds that the statement lacks, because one may have failed
    without a webhook.
    """
    refunds = _payments_of_this_gateway().filter(
        status=Status.REFUNDED, updated_at__gte=since, updated_at__lt=until, follow_at=None
    )
    refunds.exclude(charge_id__in=refunded).update(follow_at=Now())


def pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield items in lists of at most `size`."""
    iterator = iter(items)
    while page := list(islice(iterator, size)):
        yield page


def _compare_capture(movement: Movement, payment: Payment | None) -> Discrepancy | None:
    if payment is None or _is_of_another_charge(movement, payment):
        return _discrepancy(Kind.CHARGED_UNKNOWN, movement, ours=0)
    if payment.status in OPEN:
        return None
    if (payment.amount, payment.currency) != (movement.amount, movement.currency):
        return _discrepancy(Kind.AMOUNT, movement, ours=payment.amount)
    return None


def _is_of_another_charge(movement: Movement, payment: Payment) -> bool:
    return payment.status not in OPEN and payment.charge_id != movement.charge_id


def _compare_refund(movement: Movement, payment: Payment | None) -> Discrepancy | None:
    """Return a refund that is not ours.

    A refund by hand of a payment that we list as refunded is no discrepancy: it completes a refund
    of ours that had failed.
    """
    if payment and movement.key != payment.refund_key and payment.status != Status.REFUNDED:
        return _discrepancy(
            Kind.REFUNDED_OUTSIDE, movement, ours=payment.refunded_amount, order=payment.order_id
        )
    return None


def _may_be_charged(answer: FindAnswer) -> bool:
    return isinstance(answer, Captured | Pending | Unanswered)


def _payments_of_this_gateway() -> QuerySet[Payment]:
    return Payment.objects.filter(gateway__in=("", settings.PAYMENT_GATEWAY))


def _discrepancy(
    kind: Drift.Kind, movement: Movement, *, ours: int, order: UUID | None = None
) -> Discrepancy:
    return Discrepancy(
        kind=kind,
        reference=movement.id,
        order_id=order or movement.order_id,
        ours=ours,
        theirs=movement.amount,
        currency=movement.currency,
    )
