"""The write operations of returns: request a return, give goodwill, cancel a return.

Each is one transaction in the database of returns, and none waits for the broker.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from django.db import transaction
from django.db.models.functions import Now
from msgspec import Meta, Struct

from api.problems.exceptions import FieldError, InvalidInput
from api.requests.reasons import Reason
from api.resources.records import make_once
from returns.approval import needs_approval
from returns.claims import TooMuch, lock_order, money_left, require_pieces
from returns.events import LineReturned, ReturnCancelled, ReturnRequested
from returns.models import MOST_REASON, SKU_LENGTH, IdempotencyKey, Return, ReturnLine
from returns.returnable_orders import ChargedOrder, read_order
from returns.saga import RETURN_GOODS
from returns.status import FREED, OPEN, Kind, Status
from returns.status_projection import ALIAS
from sagas import CancelResult, cancel, start
from sagas.failpoints import Point, reach
from sagas.kinds import SagaKind, get_kind, kind_of
from staff.policy import Actor
from staff.writes import LOG_ALIAS, SEVERAL, staff_write

__all__ = [
    "GIVE_GOODWILL",
    "MOST_LINES",
    "ORDER",
    "LineToReturn",
    "NewReturn",
    "NotReturnable",
    "OrderUnknown",
    "Requested",
    "ReturnAcceptedError",
    "TooMuch",
    "cancel_return",
    "give_goodwill",
    "kinds_of_goodwill",
    "request_return",
]

MOST_LINES = 100

# The action of the policy.
GIVE_GOODWILL = "give_goodwill"

# The kind of the sagas that returns are about.
ORDER = "orders.order"


class LineToReturn(Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a new return: a SKU of the order, and the number of pieces."""

    sku: Annotated[str, Meta(min_length=1, max_length=SKU_LENGTH)]
    quantity: Annotated[int, Meta(ge=1, le=10_000)]


class NewReturn(Struct, frozen=True, forbid_unknown_fields=True):
    """A return to be requested."""

    lines: Annotated[
        tuple[LineToReturn, ...],
        Meta(min_length=1, max_length=MOST_LINES, description="Each SKU once."),
    ]
    reason: Reason

    def fingerprint(self, order_id: UUID) -> str:
        """Return a hash that is the same for every JSON spelling of this return of an order."""
        encoded = msgspec.json.encode((order_id, self), order="deterministic")
        return hashlib.sha256(encoded).hexdigest()


class Requested(Struct, frozen=True):
    """A requested return and its answer. `replayed` means that the key was used before."""

    return_id: UUID
    body: str
    replayed: bool


class OrderUnknown(Exception):
    """The user has no such order."""


class NotReturnable(Exception):
    """The order is not fulfilled, so nothing of it can come back."""


class ReturnAcceptedError(Exception):
    """The return is accepted, so it cannot be cancelled."""


def request_return(
    *,
    user_id: int,
    order_id: UUID,
    key: str,
    new: NewReturn,
    render: Callable[[Return], str],
) -> Requested:
    """Request a return, or return the stored answer to its idempotency key.

    `render` makes the answer, which is stored with the key. Raises `OrderUnknown`, also for the
    order of another user, `NotReturnable`, `TooMuch`, `InvalidInput`, `KeyInFlight` or `KeyReused`.
    After these, the key is as free as before.
    """
    order = read_order(order_id)
    if order is None or order.user_id != user_id:
        raise OrderUnknown
    lines = _priced(new.lines, order)

    fingerprint = new.fingerprint(order_id)
    made = make_once(
        IdempotencyKey,
        user=user_id,
        key=key,
        fingerprint=fingerprint,
        make=lambda: _add(order_id, order, Kind.GOODS, lines, reason=new.reason),
        render=render,
    )
    if not made.replayed:
        reach(Point.NOT_ANSWERED, ReturnRequested.type)
    return Requested(made.resource, made.body, replayed=made.replayed)


def give_goodwill(actor: Actor, *, order_id: UUID, amount: int, reason: str, via: str) -> Return:
    """Propose to give back a part of an order's amount, in minor units, without goods.

    The log of staff has it. Another person must approve it. Raises `NotPermitted`, `OrderUnknown`,
    `NotReturnable`, `TooMuch` or `InvalidInput`.
    """
    _require_given(amount, reason)
    with staff_write(
        actor,
        GIVE_GOODWILL,
        via=via,
        kinds=kinds_of_goodwill(),
        alias=LOG_ALIAS if ALIAS == LOG_ALIAS else SEVERAL,
        subject=f"order {order_id}",
        order_id=order_id,
        why=reason,
    ) as write:
        order = read_order(order_id)
        if order is None:
            raise OrderUnknown(f"There is no order {order_id}.")
        with transaction.atomic(using=ALIAS):
            row = _add(
                order_id,
                order,
                Kind.GOODWILL,
                (),
                reason=reason,
                amount=amount,
                given_by=actor.get_username(),
            )
        write.outcome = f"Return {row.id}: {amount} {row.currency} out of goodwill."
    return row


def kinds_of_goodwill() -> list[SagaKind]:
    """Return the kinds that goodwill is about: a return that starts, and the order it is for."""
    return [kind for kind in (get_kind(ORDER), kind_of(Return)) if kind]


def cancel_return(row: Return, *, reason: ReturnCancelled | None = None) -> Return:
    """Cancel a return before it is accepted, and return its new state.

    `reason` is shown to the customer; the default says that they cancelled it themselves. A return
    that has ended without a refund stays as it is. Raises `ReturnAcceptedError`.
    """
    if row.status in FREED:
        return row
    if row.status in {Status.REFUNDING, Status.COMPLETED}:
        raise ReturnAcceptedError

    reason = reason or ReturnCancelled()
    with transaction.atomic(using=ALIAS):
        # The return is locked after the inbox row, because the step of the pivot does so too.
        result = cancel(row, reason)
        if result is CancelResult.OURS:
            Return.objects.filter(id=row.id, status__in=OPEN).update(
                status=Status.CLOSING,
                failure_code=reason.code,
                failure_detail=reason.detail,
                updated_at=Now(),
            )

    reach(Point.NOT_ANSWERED, ReturnCancelled.type)

    row.refresh_from_db()
    if result is CancelResult.DONE:
        raise ReturnAcceptedError
    return row


def _priced(wanted: Sequence[LineToReturn], order: ChargedOrder) -> tuple[LineReturned, ...]:
    """Return the lines with the prices of the order. Raises `InvalidInput`."""
    errors: list[FieldError] = []
    lines: dict[str, LineReturned] = {}
    for index, line in enumerate(wanted):
        charged = order.line_of(line.sku)
        if charged is None:
            errors.append(
                FieldError(
                    f"lines[{index}].sku", "not_ordered", f"The order has no line of {line.sku}."
                )
            )
        elif line.sku in lines:
            errors.append(FieldError(f"lines[{index}].sku", "duplicate", "Name each SKU once."))
        else:
            lines[line.sku] = LineReturned(line.sku, line.quantity, charged.unit_amount)
    if errors:
        raise InvalidInput(*errors)
    return tuple(lines.values())


def _require_given(amount: int, reason: str) -> None:
    if amount < 1:
        raise InvalidInput(FieldError("amount", "invalid", "The amount must be above 0."))
    if not reason.strip() or len(reason) > MOST_REASON:
        wrong = f"Give a reason of at most {MOST_REASON} characters."
        raise InvalidInput(FieldError("reason", "invalid", wrong))


def _add(  # noqa: PLR0913  all but the first four are named
    order_id: UUID,
    order: ChargedOrder,
    kind: Kind,
    lines: Sequence[LineReturned],
    *,
    reason: str,
    amount: int | None = None,
    given_by: str = "",
) -> Return:
    """Insert a return and start its saga, if the order has so much left.

    Without an `amount` it is the price of the lines, but at most the money that is left. Free
    products come back without money.
    """
    if not order.fulfilled:
        raise NotReturnable
    lock_order(order_id, order)

    require_pieces(order_id, order, lines)
    left = money_left(order_id, order)
    price = sum(line.unit_amount * line.quantity for line in lines)
    wanted = min(price, left) if amount is None else amount
    are_free = amount is None and price == 0
    if not are_free and not 0 < wanted <= left:
        raise TooMuch(None, left, is_free=order.amount == 0)

    row = Return(
        order_id=order_id,
        user_id=order.user_id,
        kind=kind,
        amount=wanted,
        currency=order.currency,
        reason=reason,
        given_by=given_by,
    )
    _start(row, lines)
    return row


def _start(row: Return, lines: Sequence[LineReturned]) -> None:
    start(
        RETURN_GOODS,
        row,
        ReturnRequested(
            order_id=row.order_id,
            kind=row.kind,
            amount=row.amount,
            currency=row.currency,
            needs_approval=needs_approval(Kind(row.kind), row.amount, row.currency),
            lines=tuple(lines),
        ),
    )
    row.refresh_from_db(using=ALIAS, fields=["updated_at"])
    row.requested_lines = ReturnLine.objects.bulk_create(
        ReturnLine(
            of_return=row, sku=line.sku, quantity=line.quantity, unit_amount=line.unit_amount
        )
        for line in lines
    )
