"""Acts of other people right after a capture, as some payment methods say."""

from collections.abc import Iterable
from datetime import timedelta

from django.utils import timezone
from msgspec import Struct

from payments.gateways.base import ChargeRequest
from payments.gateways.simulated.outside_acts import (
    ChargeToDispute,
    ChargeToRefund,
    open_disputes,
    refund_by_hand,
)
from payments.gateways.simulated.payment_methods import DISPUTE_SECONDS, behaviour_of

__all__ = ["NewCapture", "act_after_captures"]


class NewCapture(Struct, frozen=True):
    """A charge that was captured just now. `amount` is the captured amount in minor units."""

    request: ChargeRequest
    charge_id: str
    amount: int


def act_after_captures(captures: Iterable[NewCapture]) -> None:
    """Refund and dispute new captures, in the transaction of the captures."""
    refunds: list[ChargeToRefund] = []
    disputes: list[ChargeToDispute] = []
    for capture in captures:
        behaviour = behaviour_of(capture.request)
        if behaviour.refunded_percent:
            refunds.append(_refund(capture, behaviour.refunded_percent))
        if behaviour.dispute:
            decided_at = timezone.now() + timedelta(seconds=DISPUTE_SECONDS)
            disputes.append(
                ChargeToDispute(
                    charge_id=capture.charge_id,
                    order_id=capture.request.order_id,
                    amount=capture.amount,
                    currency=capture.request.currency,
                    decided_at=decided_at,
                    verdict=behaviour.dispute,
                )
            )

    if refunds:
        refund_by_hand(refunds)
    if disputes:
        open_disputes(disputes)


def _refund(capture: NewCapture, percent: int) -> ChargeToRefund:
    return ChargeToRefund(
        charge_id=capture.charge_id,
        order_id=capture.request.order_id,
        amount=max(1, capture.amount * percent // 100),
        currency=capture.request.currency,
    )
