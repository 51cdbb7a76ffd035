"""Rebuilds the partial refunds: the events of their sagas have the amounts, such as of returns.

A refund that no event reports has no row. Its step runs again, and asks the gateway under its key.
A part that a person has paid in another way since then is in the log of staff. The follow-up does
not ask for such a part again, because the customer would get it twice.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from uuid import UUID

import msgspec
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from msgspec.structs import replace

from payments.events import PaymentPartlyRefunded
from payments.models import PartialRefund, Payment
from payments.paid_otherwise import Record
from payments.partial_refunds import NewPartialRefund
from recovery.journal import Event, Journal
from recovery.paid_otherwise import payments_in_another_way
from recovery.writes import Note, Plan, Write
from sagas.currencies import with_currency
from sagas.operations.manual import BY_HAND

__all__ = ["plan_partial_refunds"]

Status = PartialRefund.Status

REBUILT = "partial refund rebuilt"
PAID = "partial refund paid in another way"
UNCLEAR = "partial refund that may be paid in another way"


class RefundRow(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of a refund that has succeeded. Amounts are in minor units of `currency`.

    `reference`: a person has made the refund, or has paid it in another way. `is_unclear`: only a
    person knows which part of the order was paid so.
    """

    id: UUID
    order_id: UUID
    amount: int
    covered: int
    currency: str
    refund_id: str
    reference: str = ""
    is_unclear: bool = False
    exists: bool = False


def plan_partial_refunds(journals: Sequence[Journal]) -> Plan:
    """Plan the rows of the refunds that the events report, and that payments has lost."""
    reported = [row for journal in journals if (row := _reported(journal))]
    ids = [row.id for row in reported]
    stored = dict(PartialRefund.objects.filter(id__in=ids).values_list("id", "reference"))

    plan = Plan()
    for row in sorted(_with_payments(reported), key=lambda each: each.id):
        if row.id not in stored:
            plan.writes.append(_write(row, REBUILT))
        elif row.reference and not stored[row.id]:
            plan.writes.append(_write(replace(row, exists=True), PAID))
        if row.is_unclear and not stored.get(row.id):
            plan.notes.append(_unclear(row))
    return plan


def _with_payments(rows: Sequence[RefundRow]) -> Iterator[RefundRow]:
    """Yield the rows, with the payments in another way that the log of staff has."""
    by_order: dict[UUID, list[RefundRow]] = defaultdict(list)
    for row in rows:
        by_order[row.order_id].append(row)
    records = payments_in_another_way(by_order.keys())
    stored = PartialRefund.objects.filter(order_id__in=records).exclude(reference="")
    settled = set(stored.values_list("order_id", "reference"))
    for order, each in by_order.items():
        left = [one for one in records.get(order, ()) if (order, one.reference) not in settled]
        yield from _paid(each, left)


def _paid(rows: Sequence[RefundRow], records: Sequence[Record]) -> Iterator[RefundRow]:
    """Yield the rows of one order. A record belongs to the refund of its amount; a record of any
    other amount may belong to each of the refunds.
    """
    by_amount = {record.amount: record for record in records}
    amounts = {row.amount for row in rows if not row.reference}
    unclear = next((record for record in records if record.amount not in amounts), None)
    for row in rows:
        record = by_amount.get(row.amount, unclear)
        if record is None or row.reference:
            yield row
        else:
            is_unclear = record.amount != row.amount
            yield replace(row, reference=record.reference, is_unclear=is_unclear)


def _reported(journal: Journal) -> RefundRow | None:
    """Return the refund that a saga reports; None without one, or without its order."""
    first = journal.first
    order = (first.context or first.data).get("order_id") if first else None
    given_back = (each for each in journal.changes("payments") if _is_refund(each))
    event = next(given_back, None)
    if event is None or not order:
        return None
    data = event.data
    return RefundRow(
        id=journal.saga,
        order_id=UUID(order),
        amount=int(data["amount"]),
        covered=int(data.get("covered", 0)),
        currency=data["currency"],
        refund_id=data["refund_id"],
        reference=data["refund_id"] if data.get(BY_HAND) else "",
    )


def _is_refund(event: Event) -> bool:
    """Tell whether an event reports money. A refund of 0, as of free products, has no row."""
    back = int(event.data.get("amount", 0)) + int(event.data.get("covered", 0))
    return event.type == PaymentPartlyRefunded.type and back > 0


def _write(row: RefundRow, kind: str) -> Write:
    back = with_currency(row.amount, row.currency)
    return Write(
        kind=kind,
        subject=str(row.id),
        detail=f"{back} of order {row.order_id}, {row.reference or row.refund_id}",
        apply=_apply,
        row=row,
    )


def _unclear(row: RefundRow) -> Note:
    back = with_currency(row.amount, row.currency)
    return Note(
        kind=UNCLEAR,
        subject=str(row.id),
        detail=(
            f"{back} of order {row.order_id}. A person has paid another amount in another way: "
            f"{row.reference}. The gateway is not asked for this refund again. Ask that person."
        ),
    )


def _apply(rows: Sequence[RefundRow]) -> None:
    """Write the rows, and have the balances of their payments read."""
    with transaction.atomic(using="payments"):
        new = [_model(row) for row in rows if not row.exists]
        PartialRefund.objects.bulk_create(new, ignore_conflicts=True)
        for row in rows:
            if row.exists:
                _add_reference(row)
        orders = [row.order_id for row in rows]
        charged = Payment.objects.filter(order_id__in=orders, charge_id__isnull=False)
        charged.update(balance_due_at=Now())


def _add_reference(row: RefundRow) -> None:
    """Add a payment in another way to a row of an older backup."""
    refund = PartialRefund.objects.filter(id=row.id, reference="")
    if row.is_unclear:
        refund.update(reference=row.reference, updated_at=Now())
        return
    refund.update(
        status=Status.SUCCEEDED,
        refunded_amount=0,
        covered_amount=F("amount"),
        refund_id="",
        reference=row.reference,
        expected_at=None,
        updated_at=Now(),
    )


def _model(row: RefundRow) -> PartialRefund:
    asked = row.amount + row.covered
    new = NewPartialRefund(id=row.id, order_id=row.order_id, amount=asked, currency=row.currency)
    refunded = row.amount if row.is_unclear or not row.reference else 0
    return PartialRefund(
        id=row.id,
        order_id=row.order_id,
        asked_amount=asked,
        amount=asked,
        refunded_amount=refunded,
        covered_amount=asked - refunded,
        currency=row.currency,
        status=Status.SUCCEEDED,
        key=new.key,
        refund_id=row.refund_id if refunded else "",
        reference=row.reference,
    )
