"""The payments of a window that the gateway's statement lacks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TypeVar
from uuid import UUID

from django.conf import settings
from django.db.models import Exists, OuterRef, Q, QuerySet

from payments.gateway_requests import charge_request
from payments.gateways import get_gateway
from payments.gateways.base import Captured, FindAnswer, Pending, Unanswered
from payments.models import Drift, PartialRefund, Payment
from payments.reconciliation.budget import Budget
from payments.reconciliation.comparison import Discrepancy

__all__ = [
    "captured_in",
    "missing_parts",
    "missing_payments",
    "missing_refunds",
    "pages",
    "payments_of_charges",
    "refunded_in",
    "stored_names",
]

# Payments in one request to the gateway.
LOOKUP_BATCH = 100

T = TypeVar("T")


def missing_payments(
    gateway: str, since: datetime, until: datetime, charged: set[str], budget: Budget
) -> Iterator[Discrepancy]:
    """Yield the payments of a window that the gateway does not know as charged, or charged with
    another amount.

    The gateway is asked for each that is not among the charges of the statement. Its charge may lie
    outside of the window, because an authorization may be captured days later. Raise BudgetSpent if
    the budget is used up.
    """
    missing = (
        payment
        for payments in captured_in(gateway, since, until)
        for payment in payments.iterator()
        if payment.charge_id not in charged
    )
    for payments in pages(missing, LOOKUP_BATCH):
        budget.check()
        yield from _look_up(gateway, payments)


def missing_refunds(
    gateway: str, since: datetime, until: datetime, given_back: Mapping[str, int]
) -> list[UUID]:
    """Return the payments of a window of which the statement has given back less than we know.

    Their refund may have failed without a webhook, beside another refund that has not.
    `given_back`: the amounts of the statement's refunds and disputes by charge, in minor units.
    """
    columns = ("order_id", "charge_id", "status", "refunded_amount", "disputed_amount")
    refunded = refunded_in(gateway, since, until).values_list(*columns)
    return [
        order
        for order, charge, status, refunds, disputed in refunded
        if given_back.get(charge, 0) < refunds + disputed
        or (status == Payment.Status.REFUNDED and charge not in given_back)
    ]


def missing_parts(gateway: str, since: datetime, until: datetime, keys: set[str]) -> list[UUID]:
    """Return the payments with a part that was given back in a window, as we know, but whose refund
    the statement lacks. `keys`: those of the statement's refunds.
    """
    payments = _payments_of(gateway).filter(order_id=OuterRef("order_id"))
    given_back = PartialRefund.objects.filter(
        Exists(payments),
        status=PartialRefund.Status.SUCCEEDED,
        refunded_amount__gt=0,
        updated_at__gte=since,
        updated_at__lt=until,
    )
    first_keys = keys | {
        key.rpartition("-")[0] for key in keys
    }  # without the number of a successor
    rows = given_back.values_list("order_id", "key")
    return [order for order, key in rows if key not in first_keys]


def payments_of_charges(charges: Iterable[str]) -> list[UUID]:
    """Return the orders of the charges that are of payments of ours."""
    payments = Payment.objects.filter(charge_id__in=set(charges))
    return list(payments.values_list("order_id", flat=True))


def pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield items in lists of at most `size`."""
    iterator = iter(items)
    while page := list(islice(iterator, size)):
        yield page


def stored_names(gateway: str) -> list[str]:
    """Return the names under which a gateway's payments are stored; old ones have none."""
    return [gateway, ""] if gateway == settings.PAYMENT_GATEWAY else [gateway]


def captured_in(
    gateway: str, since: datetime, until: datetime
) -> tuple[QuerySet[Payment], QuerySet[Payment]]:
    """Return the charged payments that were opened in a window, and those captured in it later."""
    charged = _payments_of(gateway).filter(charge_id__isnull=False)
    opened = charged.filter(created_at__gte=since, created_at__lt=until)
    captured_later = charged.filter(
        status=Payment.Status.CAPTURED,
        updated_at__gte=since,
        updated_at__lt=until,
        created_at__lt=since,
    )
    return opened.order_by("created_at", "id"), captured_later.order_by("updated_at", "id")


def refunded_in(gateway: str, since: datetime, until: datetime) -> QuerySet[Payment]:
    """Return the payments with a refund that changed in a window, and that have no follow-up."""
    return _payments_of(gateway).filter(
        Q(status=Payment.Status.REFUNDED) | Q(refunded_amount__gt=0),
        updated_at__gte=since,
        updated_at__lt=until,
        follow_at=None,
        balance_due_at=None,
    )


def _look_up(gateway: str, payments: Sequence[Payment]) -> Iterator[Discrepancy]:
    answers = get_gateway(gateway).find([charge_request(payment) for payment in payments])
    for payment, answer in zip(payments, answers, strict=True):
        kind, theirs = _difference(payment, answer)
        if kind:
            yield Discrepancy(
                kind=kind,
                reference=str(payment.charge_id),
                order_id=payment.order_id,
                ours=payment.captured,
                theirs=theirs,
                currency=payment.currency,
            )


def _difference(payment: Payment, answer: FindAnswer) -> tuple[Drift.Kind | None, int]:
    """Return the kind of the difference, and the gateway's amount; no kind without a difference.

    A charge without an answer may be charged.
    """
    match answer:
        case Captured(amount=amount) if amount != payment.captured:
            return Drift.Kind.AMOUNT, amount
        case Captured() | Pending() | Unanswered():
            return None, 0
    return Drift.Kind.UNCHARGED, 0


def _payments_of(gateway: str) -> QuerySet[Payment]:
    return Payment.objects.filter(gateway__in=stored_names(gateway))
