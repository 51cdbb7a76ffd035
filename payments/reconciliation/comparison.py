"""The comparison of movements with our payments. It writes nothing."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from django.db.models import Q
from msgspec import Struct

from payments.gateways.base import Movement
from payments.gateways.refund_keys import is_key_of
from payments.models import Dispute, Drift, Payment
from payments.partial_refunds import partial_refunds_of

__all__ = ["Comparison", "Discrepancy", "compare_movements"]

Kind = Drift.Kind
Status = Payment.Status

# The sagas of these payments find out by themselves what the gateway has taken.
OPEN = (Status.PENDING, Status.AUTHORIZED)


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
    """The result of a comparison: the discrepancies, and the payments to follow up.

    - `to_refund`: payments whose order has got money that payments does not know. The follow-up
      gives it back if the payment never was captured.
    - `to_read`: captured payments whose money has moved elsewhere. The follow-up reads their
      balance.
    """

    discrepancies: list[Discrepancy]
    to_refund: list[UUID]
    to_read: list[UUID]


class _Known(Struct, frozen=True):
    """Our rows about some movements."""

    by_charge: dict[str, Payment]
    by_order: dict[UUID, Payment]
    disputes: dict[str, str]
    refund_keys: dict[UUID, list[str]]

    def payment_of(self, movement: Movement) -> Payment | None:
        found = self.by_charge.get(movement.charge_id)
        if found is None and movement.order_id:
            return self.by_order.get(movement.order_id)
        return found


def compare_movements(movements: Sequence[Movement]) -> Comparison:
    """Find the movements that payments does not have, or has with another amount."""
    known = _load(movements)
    comparison = Comparison(discrepancies=[], to_refund=[], to_read=[])
    for movement in movements:
        if movement.kind == "capture":
            _compare_capture(movement, known.payment_of(movement), comparison)
        elif payment := known.by_charge.get(movement.charge_id):
            if movement.kind == "refund":
                keys = [payment.refund_key, *known.refund_keys.get(payment.order_id, ())]
                _compare_refund(movement, payment, keys, comparison)
            elif not _knows_dispute(movement, known):
                comparison.to_read.append(payment.order_id)
    return comparison


def _load(movements: Sequence[Movement]) -> _Known:
    charges = {movement.charge_id for movement in movements}
    orders = {movement.order_id for movement in movements if movement.order_id}
    disputes = {each.id for each in movements if each.kind in ("dispute", "dispute_return")}
    payments = list(Payment.objects.filter(Q(order_id__in=orders) | Q(charge_id__in=charges)))
    stored = Dispute.objects.filter(id__in=disputes).values_list("id", "status") if disputes else ()
    return _Known(
        by_charge={payment.charge_id: payment for payment in payments if payment.charge_id},
        by_order={payment.order_id: payment for payment in payments},
        disputes=dict(stored),
        refund_keys=_refund_keys(movements, payments),
    )


def _refund_keys(
    movements: Sequence[Movement], payments: Sequence[Payment]
) -> dict[UUID, list[str]]:
    """Return the keys of the partial refunds of payments by order, if a refund has a key."""
    if not any(each.kind == "refund" and each.key for each in movements):
        return {}
    keys: dict[UUID, list[str]] = defaultdict(list)
    for refund in partial_refunds_of([payment.order_id for payment in payments]):
        keys[refund.order_id].append(refund.key)
    return keys


def _compare_capture(movement: Movement, payment: Payment | None, result: Comparison) -> None:
    if payment is None:
        if movement.order_id:
            result.discrepancies.append(_discrepancy(Kind.CHARGED_UNKNOWN, movement, ours=0))
        return

    if payment.status in OPEN:
        return
    if payment.charge_id != movement.charge_id:
        result.discrepancies.append(_discrepancy(Kind.CHARGED_UNKNOWN, movement, ours=0))
        result.to_refund.append(payment.order_id)
    elif (payment.captured, payment.currency) != (movement.amount, movement.currency):
        result.discrepancies.append(_discrepancy(Kind.AMOUNT, movement, ours=payment.captured))
        result.to_read.append(payment.order_id)


def _compare_refund(
    movement: Movement, payment: Payment, keys: Sequence[str], result: Comparison
) -> None:
    """Find a refund that is not ours: under none of the keys, nor a numbered one after such a key.

    A refund by hand of a payment that we list as refunded is no discrepancy: it completes a refund
    of ours that had failed.
    """
    is_ours = any(is_key_of(movement.key, key) for key in keys)
    if is_ours or payment.status == Status.REFUNDED:
        return
    result.discrepancies.append(
        _discrepancy(
            Kind.REFUNDED_OUTSIDE, movement, ours=payment.refunded_amount, order=payment.order_id
        )
    )
    result.to_read.append(payment.order_id)


def _knows_dispute(movement: Movement, known: _Known) -> bool:
    """Tell whether payments has a dispute, and its end if the money has returned."""
    status = known.disputes.get(movement.id)
    return status == Dispute.Status.WON if movement.kind == "dispute_return" else bool(status)


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
