"""The rows of partial refunds: they commit before the first request, and take the answers.

Call these functions inside a transaction. Each locks the payments first, so that two refunds of one
payment see each other.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import BigIntegerField, F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce, JSONObject, Now
from msgspec import Struct

from payments.deadlines import DECISION_SECONDS, Deadline
from payments.gateways.base import (
    Declined,
    KeySpent,
    PartRefundAnswer,
    PartRefunded,
    PartRefundRequest,
    PartSoFar,
    Pending,
)
from payments.models import PartialRefund, Payment
from payments.services import PaymentUpdate, lock_payments, update_payments
from sagas import sql

__all__ = [
    "PART_KEY",
    "NewPartialRefund",
    "Opened",
    "complete_by_hand",
    "failed_refunds",
    "missing_amount",
    "open_partial_refunds",
    "orders_with_owed_money",
    "owed_parts",
    "partial_refunds_of",
    "parts_of",
    "record_answers",
    "record_follow_up",
    "request_of",
    "settled_refunds",
    "start_refund_deadlines",
    "waiting_refunds",
    "with_parts",
]

Status = PartialRefund.Status

# The start of the keys of all partial refunds.
PART_KEY = "refund-part-"

# The columns that a page shows.
SHOWN = (
    "id",
    "order_id",
    "status",
    "asked_amount",
    "amount",
    "refunded_amount",
    "covered_amount",
    "currency",
    "refund_id",
    "reference",
)

# The columns that an answer may change.
COLUMNS = (
    "refunded_amount",
    "covered_amount",
    "refund_id",
    "status",
    "key_number",
    "expected_at",
)

# Sets the deadline of a decision once. A gateway that postpones its decision sets a new one.
START = f"""
UPDATE payments_partialrefund AS refund
   SET expected_at = COALESCE(v.given, {sql.seconds_from_now("%(seconds)s")})
  FROM unnest(%(ids)s::uuid[], %(given)s::timestamptz[]) AS v(id, given)
 WHERE refund.id = v.id AND (expected_at IS NULL OR v.given > expected_at)
RETURNING refund.id
"""  # noqa: S608  a constant
READ = """
SELECT id, expected_at, extract(epoch FROM expected_at - clock_timestamp())::float8,
       extract(epoch FROM clock_timestamp() - created_at)::float8
  FROM payments_partialrefund WHERE id = ANY(%(ids)s::uuid[])
"""


class NewPartialRefund(Struct, frozen=True, kw_only=True):
    """A refund that a saga asks for. `amount` is in minor units of `currency`."""

    id: UUID
    order_id: UUID
    amount: int
    currency: str

    @property
    def key(self) -> str:
        """The idempotency key of the refund."""
        return f"{PART_KEY}{self.id}"


class Opened(NamedTuple):
    """The refund of a saga with its payment, or the reason why it cannot be made yet."""

    payment: Payment | None
    refund: PartialRefund | None
    reason: str = ""


def open_partial_refunds(asked: Sequence[NewPartialRefund]) -> dict[UUID, Opened]:
    """Insert a pending refund for each saga that has none; return the refunds by saga.

    All partial refunds of a payment together give back at most the captured amount. So the amount
    of a refund may be less than the saga asks for.
    """
    payments = lock_payments({new.order_id for new in asked})
    existing = _by_order(payments)
    opened: dict[UUID, Opened] = {}
    inserted: list[PartialRefund] = []
    for new in sorted(asked, key=lambda each: each.id):
        payment, refunds = payments.get(new.order_id), existing[new.order_id]
        reason = _not_refundable(new, payment)
        if payment is None or reason:
            opened[new.id] = Opened(payment, refunds.get(new.id), reason)
            continue

        if new.id not in refunds:
            left = payment.captured - sum(each.amount for each in refunds.values())
            refunds[new.id] = _row(new, min(new.amount, max(0, left)))
            inserted.append(refunds[new.id])
        opened[new.id] = Opened(payment, refunds[new.id])

    PartialRefund.objects.bulk_create(inserted)
    return opened


def partial_refunds_of(orders: Collection[UUID]) -> list[PartialRefund]:
    """Return the partial refunds of some orders, the oldest first."""
    return list(PartialRefund.objects.filter(order_id__in=orders).order_by("created_at", "id"))


def failed_refunds(order: UUID) -> list[PartialRefund]:
    """Return the failed partial refunds of an order."""
    return list(PartialRefund.objects.filter(order_id=order, status=Status.FAILED).order_by("id"))


def waiting_refunds(order: UUID) -> list[UUID]:
    """Return the sagas that wait for a partial refund of an order."""
    pending = PartialRefund.objects.filter(order_id=order, status=Status.PENDING)
    return list(pending.values_list("id", flat=True))


def request_of(refund: PartialRefund, payment: Payment) -> PartRefundRequest:
    """Return the gateway's request for a refund."""
    return PartRefundRequest(
        refund.key,
        refund.order_id,
        payment.charge_id or "",
        refund.amount,
        refund.currency,
        payment.gateway,
        refund.key_number,
    )


def record_answers(answers: Mapping[UUID, PartRefundAnswer]) -> dict[UUID, PartialRefund]:
    """Write the gateway's answers to the refunds and their payments; return the refunds by id.

    The gateway's balance is read once more if its total does not follow from these answers. Another
    worker may then have recorded a newer total, or a person has moved money.
    """
    orders = PartialRefund.objects.filter(id__in=answers).values_list("order_id", flat=True)
    payments = lock_payments(set(orders))
    refunds = {each.id: each for each in PartialRefund.objects.filter(id__in=answers)}

    given_now: dict[UUID, int] = defaultdict(int)
    final: dict[UUID, list[PartRefunded]] = defaultdict(list)
    for id_, refund in refunds.items():
        answer = answers[id_]
        if isinstance(answer, PartRefunded):
            given_now[refund.order_id] += answer.amount - refund.refunded_amount
            final[refund.order_id].append(answer)
    before = {id_: refund.refunded_amount for id_, refund in refunds.items()}
    _write(refunds, answers)
    _read_again(
        refund.order_id
        for id_, refund in refunds.items()
        if refund.status == Status.PENDING and refund.refunded_amount != before[id_]
    )
    update_payments(payments, [_update(payments[order], each) for order, each in final.items()])
    _read_again(
        order
        for order, each in final.items()
        if payments[order].refunded_amount + given_now[order] != max(one.total for one in each)
    )
    return refunds


def complete_by_hand(refund: PartialRefund, reference: str) -> None:
    """Commit that a person has given the amount back, and have the gateway's balance read.

    The payment of the refund is locked.
    """
    PartialRefund.objects.filter(id=refund.id).update(
        status=Status.SUCCEEDED,
        covered_amount=refund.amount - refund.refunded_amount,
        reference=reference,
        expected_at=None,
        updated_at=Now(),
    )
    _read_again([refund.order_id])


def settled_refunds(payments: Collection[Payment]) -> list[PartialRefund]:
    """Return the refunds of payments that their sagas have left behind, and no person has made.

    The follow-up asks the gateway for them again: a refund may fail at the bank later.
    """
    orders = [payment.order_id for payment in payments if payment.charge_id]
    settled = PartialRefund.objects.filter(
        order_id__in=orders, status__in=(Status.SUCCEEDED, Status.FAILED), reference=""
    )
    return list(settled.order_by("id"))


def record_follow_up(
    refunds: Collection[PartialRefund], answers: Mapping[UUID, PartRefundAnswer]
) -> None:
    """Write the answers of a follow-up. The payments are locked, and have their balance.

    A refund that changed since it was read stays as it is.
    """
    asked = {refund.id: (refund.status, refund.key_number) for refund in refunds}
    unchanged = {
        refund.id: refund
        for refund in PartialRefund.objects.filter(id__in=answers, reference="")
        if (refund.status, refund.key_number) == asked[refund.id]
    }
    _write(unchanged, answers)
    start_refund_deadlines({id_: answers[id_] for id_ in unchanged})


def missing_amount() -> Combinable:
    """Return the amount of a refund that the customer does not have back, as an expression."""
    return F("amount") - F("refunded_amount") - F("covered_amount")


def owed_parts(order: OuterRef) -> Coalesce:
    """Return the owed amount of an order's failed parts, as an expression of its payment."""
    failed = PartialRefund.objects.filter(order_id=order, status=Status.FAILED)
    total = failed.values("order_id").annotate(total=Sum(missing_amount())).values("total")
    return Coalesce(Subquery(total), 0, output_field=BigIntegerField())


def orders_with_owed_money() -> QuerySet[Payment, UUID]:
    """Return the orders that owe money: of the whole payment, or of a failed part.

    Partial indexes have both.
    """
    failed = PartialRefund.objects.filter(status=Status.FAILED).values_list("order_id", flat=True)
    owed = Payment.objects.filter(owed_amount__gt=0).values_list("order_id", flat=True)
    return owed.order_by().union(failed.order_by())


def with_parts(payments: QuerySet[Payment]) -> QuerySet[Payment]:
    """Add the partial refunds to payments, for `parts_of`, the oldest first."""
    parts = PartialRefund.objects.filter(order_id=OuterRef("order_id")).order_by("created_at", "id")
    columns: Mapping[str, str] = {name: name for name in SHOWN}
    return payments.annotate(parts=ArraySubquery(parts.values(part=JSONObject(**columns))))


def parts_of(payment: Payment | None) -> list[PartialRefund]:
    """Return the partial refunds that `with_parts` has added to a payment."""
    parts: list[dict[str, Any]] = getattr(payment, "parts", None) or []
    return [PartialRefund(**part) for part in parts]


def start_refund_deadlines(answers: Mapping[UUID, PartRefundAnswer]) -> dict[UUID, Deadline]:
    """Set a deadline for each refund that the gateway has not decided; return these by id."""
    given: dict[UUID, datetime | None] = {
        id_: answer.expected_at for id_, answer in answers.items() if isinstance(answer, Pending)
    }
    if not given:
        return {}

    params = {"ids": list(given), "given": list(given.values()), "seconds": DECISION_SECONDS}
    new = {id_ for (id_,) in sql.fetch("payments", START, params)}
    rows = sql.fetch("payments", READ, params)
    return {
        id_: Deadline(expires_at, seconds_left, age, id_ in new)
        for id_, expires_at, seconds_left, age in rows
    }


def _by_order(orders: Collection[UUID]) -> dict[UUID, dict[UUID, PartialRefund]]:
    found: dict[UUID, dict[UUID, PartialRefund]] = defaultdict(dict)
    for refund in PartialRefund.objects.filter(order_id__in=orders):
        found[refund.order_id][refund.id] = refund
    return found


def _not_refundable(new: NewPartialRefund, payment: Payment | None) -> str:
    """Return why a refund cannot be made yet; empty if it can."""
    if payment is None:
        return f"No payment of order {new.order_id} is known. Restore it with manage.py recover."
    if payment.charge_id is None:
        return (
            f"The payment of order {new.order_id} is {payment.status}, so nothing is known to be "
            "captured. Look the charge up at the gateway."
        )
    if payment.currency != new.currency:
        return (
            f"The payment of order {new.order_id} is in {payment.currency.upper()}, but the refund "
            f"is asked for in {new.currency.upper()}. Correct the saga that asks for it."
        )
    return ""


def _row(new: NewPartialRefund, amount: int) -> PartialRefund:
    return PartialRefund(
        id=new.id,
        order_id=new.order_id,
        asked_amount=new.amount,
        amount=amount,
        currency=new.currency,
        key=new.key,
    )


def _write(refunds: Mapping[UUID, PartialRefund], answers: Mapping[UUID, PartRefundAnswer]) -> None:
    """Write the answers to the rows that they change."""
    changed = [refund for id_, refund in refunds.items() if _apply(refund, answers[id_])]
    PartialRefund.objects.bulk_update(changed, [*COLUMNS, "updated_at"])


def _apply(refund: PartialRefund, answer: PartRefundAnswer) -> bool:
    """Change a row as the answer says; return whether it has changed."""
    before = [getattr(refund, name) for name in COLUMNS]
    match answer:
        case PartRefunded(refund_id, amount):
            refund.status = Status.SUCCEEDED
            refund.refund_id = refund_id
            refund.refunded_amount = amount
            refund.covered_amount = refund.amount - amount
            refund.expected_at = None
        case Pending(part=part) | Declined(part=part) | KeySpent(part=part):
            _miss(refund, part)
    # A late answer may be about an older key. The next one may have a request under way.
    if isinstance(answer, KeySpent) and answer.key_number == refund.key_number:
        refund.key_number += 1
    refund.updated_at = Now()
    return before != [getattr(refund, name) for name in COLUMNS]


def _miss(refund: PartialRefund, part: PartSoFar | None) -> None:
    """Write the amounts of a refund that the customer does not have back as a whole.

    A part that was settled before is open again for one of two reasons: its own refund has failed,
    or the refund that covered the rest of it. If the gateway does not tell which refund failed,
    none of the money counts as back.
    """
    is_new = refund.status == Status.SUCCEEDED
    if is_new:
        refund.status = Status.FAILED
    if part:
        refund.refunded_amount, refund.covered_amount = part.given_back, part.covered
    elif is_new:
        refund.refunded_amount, refund.covered_amount = 0, 0


def _update(payment: Payment, answers: Iterable[PartRefunded]) -> PaymentUpdate:
    """Return the payment's update. The total only rises here: the follow-up lowers it."""
    answers = list(answers)
    total = max(payment.refunded_amount, *(answer.total for answer in answers))
    disputed = max(answer.disputed for answer in answers)
    is_whole = total >= payment.captured and not payment.owed_amount
    return PaymentUpdate(
        order_id=payment.order_id,
        status=Payment.Status.REFUNDED if is_whole else Payment.Status(payment.status),
        refunded_amount=total,
        disputed_amount=disputed or None,
        dispute_status="lost" if disputed else None,
    )


def _read_again(orders: Iterable[UUID]) -> None:
    changed = list(orders)
    if changed:
        Payment.objects.filter(order_id__in=changed).update(balance_due_at=Now())
