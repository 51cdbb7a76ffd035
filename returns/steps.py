"""The steps of returns: wait for staff, accept a return, complete it, or close it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from django.conf import settings
from django.db.models.functions import Now
from msgspec import Struct, field

from returns.events import (
    GoodsMissing,
    GoodsReceived,
    LineReceived,
    ReturnAccepted,
    ReturnApproved,
    ReturnClosed,
    ReturnCompleted,
    ReturnDeclined,
    ReturnNotAccepted,
    ReturnNotApproved,
)
from returns.models import Return, ReturnLine
from returns.status import OPEN, REFUSED_CODES, Kind, Status
from sagas import Batch, From, action, undo, wait
from sagas.outcomes import Outcome

__all__ = [
    "AnyReturn",
    "Failure",
    "ReturnAlreadyAccepted",
    "ReturnToAccept",
    "ReturnToClose",
    "accept",
    "close",
    "complete",
]

UNKNOWN = ReturnNotAccepted(code="return_unknown", detail="The return is not known.")


class ReturnAlreadyAccepted(Exception):
    """A message asks to close a return that is accepted. The inbox and outbox show which one."""


class Failure(Struct, frozen=True):
    """The reason of the compensation."""

    code: str = "internal_error"
    detail: str = "The return could not be processed."


class ReturnToAccept(Struct, frozen=True):
    """The context of `returns.accept`. A return without goods has no answer of `receive`."""

    received: Annotated[GoodsReceived | None, From("returns.receive")] = None


class AnyReturn(Struct, frozen=True):
    """The context of `returns.complete`: it needs only the id of the return."""


class ReturnToClose(Struct, frozen=True):
    """The context of `returns.close`."""

    failure: Failure = field(default_factory=Failure)


wait(
    "returns.approve",
    answer=ReturnApproved,
    refusal=ReturnDeclined,
    expires=timedelta(days=settings.RETURN_APPROVAL_DAYS),
    expired=ReturnNotApproved(),
)
wait(
    "returns.receive",
    answer=GoodsReceived,
    refusal=ReturnDeclined,
    expires=timedelta(days=settings.RETURN_DAYS),
    expired=GoodsMissing(),
)


@action("returns.accept", accepts=ReturnToAccept, refusal=ReturnNotAccepted, returns=ReturnAccepted)
def accept(batch: Batch[ReturnToAccept]) -> list[Outcome]:
    """Decide the refund of each return: the price of the pieces that came back.

    A piece counts only if it was requested. A return of which nothing came back is refused. The
    refund of free products is 0.
    """
    rows = _lock(delivery.saga for delivery in batch)
    lines = _lines_of(rows)
    return [
        _accept(rows[delivery.saga], lines.get(delivery.saga, ()), delivery.context.received)
        if delivery.saga in rows
        else UNKNOWN
        for delivery in batch
    ]


@action("returns.complete", accepts=AnyReturn)
def complete(batch: Batch[AnyReturn]) -> list[Outcome]:
    """Mark returns as completed. An unknown one, as after a restored backup, counts as done."""
    rows = _lock(delivery.saga for delivery in batch)
    refunding = [saga for saga, row in rows.items() if row.status == Status.REFUNDING]
    Return.objects.filter(id__in=refunding).update(status=Status.COMPLETED, updated_at=Now())
    return [ReturnCompleted() for _ in batch]


@undo("returns.close", accepts=ReturnToClose)
def close(batch: Batch[ReturnToClose]) -> list[Outcome]:
    """End returns without a refund: refused by staff, or cancelled. Their pieces are free again."""
    rows = _lock(delivery.saga for delivery in batch)
    _require_unaccepted(rows)
    for delivery in batch:
        row = rows.get(delivery.saga)
        if row is not None and row.status in {*OPEN, Status.CLOSING}:
            _close(row, delivery.context.failure)
    return [
        ReturnClosed(code=delivery.context.failure.code, detail=delivery.context.failure.detail)
        for delivery in batch
    ]


def _lock(returns: Iterable[UUID]) -> dict[UUID, Return]:
    """Lock the existing returns by id, so that overlapping batches cannot deadlock."""
    locked = Return.objects.filter(id__in=list(returns)).order_by("id")
    return {row.id: row for row in locked.select_for_update(no_key=True)}


def _lines_of(rows: Mapping[UUID, Return]) -> dict[UUID, list[ReturnLine]]:
    lines: dict[UUID, list[ReturnLine]] = {}
    for line in ReturnLine.objects.filter(of_return__in=list(rows)).order_by("id"):
        lines.setdefault(line.of_return_id, []).append(line)
    return lines


def _accept(row: Return, lines: Sequence[ReturnLine], received: GoodsReceived | None) -> Outcome:
    if row.kind == Kind.GOODWILL:
        return _refund(row, row.amount, ())

    counted = _count(lines, received.lines if received else ())
    price = sum(line.unit_amount * (line.received or 0) for line in lines)
    if not counted:
        return ReturnNotAccepted()
    ReturnLine.objects.bulk_update(lines, ["received", "resellable"])
    return _refund(row, min(price, row.amount), counted)


def _count(
    lines: Sequence[ReturnLine], received: Iterable[LineReceived]
) -> tuple[LineReceived, ...]:
    """Set the pieces that came back of each line, at most those requested; return them by SKU."""
    restocked: dict[str, int] = {}
    written_off: dict[str, int] = {}
    for each in received:
        restocked[each.sku] = restocked.get(each.sku, 0) + each.restock
        written_off[each.sku] = written_off.get(each.sku, 0) + each.write_off

    for line in lines:
        line.resellable = min(restocked.get(line.sku, 0), line.quantity)
        line.received = min(line.resellable + written_off.get(line.sku, 0), line.quantity)
    return tuple(
        LineReceived(line.sku, line.resellable or 0, (line.received or 0) - (line.resellable or 0))
        for line in lines
        if line.received
    )


def _refund(row: Return, amount: int, lines: tuple[LineReceived, ...]) -> ReturnAccepted:
    Return.objects.filter(id=row.id).update(
        status=Status.REFUNDING, amount=amount, updated_at=Now()
    )
    return ReturnAccepted(amount=amount, currency=row.currency, lines=lines)


def _close(row: Return, failure: Failure) -> None:
    # Keep the reason that the customer has already seen.
    code = row.failure_code or failure.code
    Return.objects.filter(id=row.id).update(
        status=Status.REFUSED if code in REFUSED_CODES else Status.CANCELLED,
        failure_code=code,
        failure_detail=row.failure_detail if row.failure_code else failure.detail,
        needs_attention=False,
        ended_at=Now(),
        updated_at=Now(),
    )


def _require_unaccepted(rows: Mapping[UUID, Return]) -> None:
    accepted = [
        str(saga)
        for saga, row in rows.items()
        if row.status in {Status.REFUNDING, Status.COMPLETED}
    ]
    if accepted:
        raise ReturnAlreadyAccepted(
            "These returns are accepted and cannot be closed; find the message that asked: "
            f"{', '.join(accepted)}."
        )
