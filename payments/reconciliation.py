"""Reconciliation: the gateway's statement against our payments, in both directions, window by
window.

Money of orders alone is compared: what carries no order of ours was moved by hand or for another
business, unless it is a refund of a charge of ours. A payment that is still open, or authorized
only, is left to its saga. The gateway is the configured one: what was opened with another is not
missed in its statement.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from msgspec import Struct

from payments.gateway_requests import charge_request
from payments.gateways import get_gateway
from payments.gateways.base import Captured, FindAnswer, Movement, Pending, Unanswered
from payments.models import Drift, Payment, Reconciliation
from sagas.ids import uuid7
from sagas.storage import sql

__all__ = ["Difference", "Result", "next_window", "reconcile"]

Kind = Drift.Kind
Status = Payment.Status

# Left to their sagas, which find out by themselves what was taken.
OPEN = (Status.PENDING, Status.AUTHORIZED)

# Movements compared at once, and payments asked after at once.
PAGE = 500
ASKED = 100

# What moved so lately may not be written down yet, or not be in the statement.
SETTLED = timedelta(minutes=10)

# Windows overlap, for clocks differ; and how far back the first one reaches.
OVERLAP = timedelta(hours=1)
FIRST = timedelta(days=1)

KEEP = """
INSERT INTO payments_drift AS drift (id, kind, reference, order_id, ours, theirs, currency, closed_by, closed_why)
SELECT * FROM unnest(%(ids)s::uuid[], %(kinds)s::text[], %(references)s::text[], %(orders)s::uuid[],
                     %(ours)s::bigint[], %(theirs)s::bigint[], %(currencies)s::text[]), (VALUES ('', '')) AS open
ON CONFLICT (kind, reference) DO UPDATE
   SET last_seen_at = clock_timestamp(), ours = EXCLUDED.ours, theirs = EXCLUDED.theirs
"""

T = TypeVar("T")


class Difference(Struct, frozen=True, kw_only=True):
    """Where the two differ, in minor units of `currency`. `reference` is the gateway's id of the
    charge or refund.
    """

    kind: Drift.Kind
    reference: str
    order_id: UUID | None
    ours: int
    theirs: int
    currency: str


class Result(Struct, frozen=True, kw_only=True):
    """What a comparison has found. `open` are the differences that nobody has closed."""

    since: datetime
    until: datetime
    movements: int
    open: tuple[Difference, ...]


def next_window() -> tuple[datetime, datetime]:
    """Return the window to compare next: from where the last has ended, with some overlap, until
    a little ago.
    """
    ((now,),) = sql.fetch("payments", "SELECT now()", {})
    last = Reconciliation.objects.order_by("-until").values_list("until", flat=True).first()
    return (last - OVERLAP if last else now - FIRST), now - SETTLED


def reconcile(since: datetime, until: datetime) -> Result:
    """Compare a window and keep what differs. Raises `StatementUnavailable`; then nothing is
    kept of it.
    """
    charged: set[str] = set()
    refunded: set[str] = set()
    differences: list[Difference] = []
    movements = 0
    for page in _pages(get_gateway().statement(since, until), PAGE):
        movements += len(page)
        charged |= {movement.charge_id for movement in page if movement.kind == "capture"}
        refunded |= {movement.charge_id for movement in page if movement.kind == "refund"}
        differences += _theirs(page)
    differences += _ours(since, until, charged)
    _ask_after_refunds(since, until, refunded)
    with transaction.atomic(using="payments"):
        _keep(differences)
        Reconciliation.objects.create(
            since=since, until=until, movements=movements, drifts=len(differences)
        )
    return Result(since=since, until=until, movements=movements, open=_still_open(differences))


def _theirs(movements: Sequence[Movement]) -> Iterator[Difference]:
    """Yield what the statement has, and payments has not, or has otherwise."""
    charges = {movement.charge_id for movement in movements}
    orders = {movement.order_id for movement in movements if movement.order_id}
    payments = list(Payment.objects.filter(Q(order_id__in=orders) | Q(charge_id__in=charges)))
    by_charge = {payment.charge_id: payment for payment in payments if payment.charge_id}
    by_order = {payment.order_id: payment for payment in payments}
    for movement in movements:
        payment = by_charge.get(movement.charge_id)
        if movement.kind == "refund":
            yield from _refunded_outside(movement, payment)
        elif payment:
            yield from _charged_otherwise(movement, payment)
        elif movement.order_id:
            yield from _charged_otherwise(movement, by_order.get(movement.order_id))


def _charged_otherwise(movement: Movement, payment: Payment | None) -> Iterator[Difference]:
    if payment is None:
        yield _difference(Kind.CHARGED_UNKNOWN, movement, ours=0)
    elif payment.status in OPEN:
        return
    elif payment.charge_id != movement.charge_id:
        _give_back(payment)
        yield _difference(Kind.CHARGED_UNKNOWN, movement, ours=0)
    elif (payment.amount, payment.currency) != (movement.amount, movement.currency):
        yield _difference(Kind.AMOUNT, movement, ours=payment.amount)


def _refunded_outside(movement: Movement, payment: Payment | None) -> Iterator[Difference]:
    """Yield a refund that is not ours. One by hand that ends a refund of ours, which had failed,
    is no drift.
    """
    if payment and movement.key != payment.refund_key and payment.status != Status.REFUNDED:
        yield _difference(
            Kind.REFUNDED_OUTSIDE, movement, ours=payment.refunded_amount, order=payment.order_id
        )


def _give_back(payment: Payment) -> None:
    """Have money that came in for a payment that is over go back, as a webhook would have done."""
    over = Payment.objects.filter(
        id=payment.id, status__in=(Status.VOID, Status.DECLINED), follow_at=None
    )
    over.update(follow_at=Now())


def _ours(since: datetime, until: datetime, charged: set[str]) -> Iterator[Difference]:
    """Yield what payments has, and the statement has not; the gateway is asked for each, for it
    may lie outside.
    """
    known = _of_this_gateway().filter(
        charge_id__isnull=False, created_at__gte=since, created_at__lt=until
    )
    missing = (
        payment for payment in known.order_by("id").iterator() if payment.charge_id not in charged
    )
    for payments in _pages(missing, ASKED):
        answers = get_gateway().find([charge_request(payment) for payment in payments])
        for payment, answer in zip(payments, answers, strict=True):
            if not _may_be_charged(answer):
                yield Difference(
                    kind=Kind.UNCHARGED,
                    reference=str(payment.charge_id),
                    order_id=payment.order_id,
                    ours=payment.amount,
                    theirs=0,
                    currency=payment.currency,
                )


def _may_be_charged(answer: FindAnswer) -> bool:
    return isinstance(answer, Captured | Pending | Unanswered)


def _ask_after_refunds(since: datetime, until: datetime, refunded: set[str]) -> None:
    """Have the gateway asked for refunds that it does not list: one may have failed, and no
    webhook told us.
    """
    refunded_lately = {"status": Status.REFUNDED, "updated_at__gte": since, "updated_at__lt": until}
    ours = _of_this_gateway().filter(**refunded_lately, follow_at=None)
    ours.exclude(charge_id__in=refunded).update(follow_at=Now())


def _of_this_gateway() -> QuerySet[Payment]:
    """Return the payments that the statement can know: none that was opened with another
    gateway.
    """
    return Payment.objects.filter(gateway__in=("", settings.PAYMENT_GATEWAY))


def _keep(differences: Sequence[Difference]) -> None:
    distinct = {(one.kind, one.reference): one for one in differences}.values()
    params = {
        "ids": [uuid7() for _ in distinct],
        "kinds": [str(one.kind) for one in distinct],
        "references": [one.reference for one in distinct],
        "orders": [one.order_id for one in distinct],
        "ours": [one.ours for one in distinct],
        "theirs": [one.theirs for one in distinct],
        "currencies": [one.currency for one in distinct],
    }
    sql.run("payments", KEEP, params)


def _still_open(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    references = [one.reference for one in differences]
    open_ = set(
        Drift.objects.filter(closed_at=None, reference__in=references).values_list(
            "kind", "reference"
        )
    )
    return tuple(one for one in differences if (one.kind, one.reference) in open_)


def _difference(
    kind: Drift.Kind, movement: Movement, *, ours: int, order: UUID | None = None
) -> Difference:
    return Difference(
        kind=kind,
        reference=movement.id,
        order_id=order or movement.order_id,
        ours=ours,
        theirs=movement.amount,
        currency=movement.currency,
    )


def _pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while page := list(islice(iterator, size)):
        yield page
