"""Stripe's statement: the charges, refunds and disputes of a window that have moved money."""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal
from uuid import UUID

import stripe
from stripe import BalanceTransaction, Charge, Refund

from payments.gateways.base import Movement
from payments.gateways.stripe.account import Account
from payments.gateways.stripe.currencies import from_stripe
from payments.gateways.stripe.objects import id_of, metadata_of, time_of

__all__ = ["movements"]

Kind = Literal["capture", "refund", "dispute", "dispute_return"]

# https://docs.stripe.com/reports/reporting-categories
DISPUTE_KINDS: dict[str, Kind] = {"dispute": "dispute", "dispute_reversal": "dispute_return"}


def movements(account: Account, since: datetime, until: datetime) -> Iterator[Movement]:
    """Yield the captures of a window, then its refunds, then what disputes withdrew and returned.

    A dispute is in the window of its withdrawal, and a return in that of the return.
    """
    for charge in account.charges(since, until):
        if charge.captured and charge.status == "succeeded":
            yield _movement("capture", charge, charge.id, charge.amount_captured)
    for refund in account.refunds(since, until):
        if refund.status == "succeeded":
            yield _movement("refund", refund, id_of(refund.charge), refund.amount)
    yield from _disputes(account, since, until)


def _disputes(account: Account, since: datetime, until: datetime) -> Iterator[Movement]:
    for adjustment in account.adjustments(since, until):
        kind = DISPUTE_KINDS.get(adjustment.reporting_category)
        dispute = adjustment.source
        if kind and isinstance(dispute, stripe.Dispute):
            charge = account.charge(id_of(dispute.charge))
            yield Movement(
                kind=kind,
                id=dispute.id,
                charge_id=charge.id,
                amount=_disputed_amount(adjustment, dispute),
                currency=dispute.currency,
                order_id=_order_of(charge),
                key=metadata_of(charge, "key"),
                at=time_of(adjustment.created),
            )


def _disputed_amount(adjustment: BalanceTransaction, dispute: stripe.Dispute) -> int:
    """Return the moved amount in the currency of the charge.

    The adjustment itself is in the currency that Stripe pays out.
    """
    same_currency = adjustment.currency == dispute.currency
    units = abs(adjustment.amount) if same_currency else dispute.amount
    return from_stripe(units, dispute.currency)


def _movement(kind: Kind, source: Charge | Refund, charge_id: str, amount: int) -> Movement:
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
