"""Refunds in the simulated gateway's ledger: one for each key, never more than was captured."""

from collections import Counter
from collections.abc import Sequence

from payments.gateways.base import Declined, RefundAnswer, Refunded, RefundRequest
from payments.gateways.simulated.ledger import SimulatedCharge, SimulatedIntent

__all__ = ["refund_charges", "refund_id", "refunded_amounts"]

Kind = SimulatedCharge.Kind


def refund_charges(requests: Sequence[RefundRequest]) -> list[RefundAnswer]:
    """Write the refunds that the captured amounts allow. Call it inside a transaction.

    The lock on a charge makes its refunds wait for each other, because their sum is checked.
    """
    charges = [request.charge_id for request in requests]
    captured = SimulatedIntent.objects.filter(
        charge_id__in=charges, state=SimulatedIntent.State.CAPTURED
    )
    locked = captured.order_by("key").select_for_update()
    amounts = {intent.charge_id: intent.amount for intent in locked}
    existing = list(SimulatedCharge.objects.filter(charge_id__in=charges, kind=Kind.REFUND))

    refunds = ChargeRefunds(amounts, existing)
    answers = [refunds.refund(request) for request in requests]
    SimulatedCharge.objects.bulk_create(refunds.new)
    return answers


def refunded_amounts(charges: Sequence[str]) -> Counter[str]:
    """Return the sum of the refunds of each charge that has any, by its id."""
    sums: Counter[str] = Counter()
    for refund in SimulatedCharge.objects.filter(charge_id__in=charges, kind=Kind.REFUND):
        sums[refund.charge_id] += refund.amount
    return sums


def refund_id(key: str) -> str:
    """Return the gateway's id of the refund made under a key."""
    return f"re_{key}"


class ChargeRefunds:
    """The refunds of some charges: the existing ones, and the new ones to write."""

    def __init__(self, captured: dict[str, int], existing: Sequence[SimulatedCharge]) -> None:
        self.remaining = captured
        self.by_key = {refund.key: refund for refund in existing}
        self.new: list[SimulatedCharge] = []
        for refund in existing:
            self.remaining[refund.charge_id] -= refund.amount

    def refund(self, request: RefundRequest) -> RefundAnswer:
        """Answer with the existing refund of the key, or with a new one if the charge allows it."""
        if request.key not in self.by_key:
            remaining = self.remaining.get(request.charge_id, 0)
            if remaining < request.amount:
                return Declined(
                    "charge_already_refunded",
                    f"Only {remaining} {request.currency} (minor units) of the charge remain.",
                )
            self._add(request)
        return Refunded(refund_id=refund_id(request.key), amount=self.by_key[request.key].amount)

    def _add(self, request: RefundRequest) -> None:
        refund = SimulatedCharge(
            kind=Kind.REFUND,
            key=request.key,
            order_id=request.order_id,
            charge_id=request.charge_id,
            amount=request.amount,
            currency=request.currency,
        )
        self.remaining[request.charge_id] -= request.amount
        self.by_key[request.key] = refund
        self.new.append(refund)
