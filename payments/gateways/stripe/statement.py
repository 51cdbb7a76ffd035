"""Stripe's statement: the charges and refunds of a window that have moved money."""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal
from uuid import UUID

from stripe import Charge, Refund

from payments.gateways.base import Movement
from payments.gateways.stripe.account import Account
from payments.gateways.stripe.currencies import from_stripe
from payments.gateways.stripe.objects import id_of, metadata_of, time_of

__all__ = ["movements"]


def movements(account: Account, since: datetime, until: datetime) -> Iterator[Movement]:
    """Yield the captures of a window, then its refunds."""
    for charge in account.charges(since, until):
        if charge.captured and charge.status == "succeeded":
            yield _movement("capture", charge, charge.id, charge.amount_captured)
    for refund in account.refunds(since, until):
        if refund.status == "succeeded":
            yield _movement("refund", refund, id_of(refund.charge), refund.amount)


def _movement(
    kind: Literal["capture", "refund"], source: Charge | Refund, charge_id: str, amount: int
) -> Movement:
    return Movement(
        kind=kind,
        id=source.id,
        charge_id=charge_id,
        amount=from_stripe(amount, source.currency),
        currency=source.currency,
        order_id=_order_of(source),
        key=metadata_of(source, "key"),
        at=time_of(source.created),
    )


def _order_of(source: Charge | Refund) -> UUID | None:
    try:
        return UUID(metadata_of(source, "order_id"))
    except ValueError:
        return None
