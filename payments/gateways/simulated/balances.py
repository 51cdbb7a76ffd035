"""The money of the simulated gateway's charges, summed up from its ledger."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec import Struct, field

from payments.gateways.base import ChargeBalance, Dispute, DisputeStatus
from payments.gateways.refund_keys import is_key_of
from payments.gateways.simulated import statements
from payments.gateways.simulated.ledger import SimulatedCharge, SimulatedDispute
from sagas import sql

__all__ = ["ChargeMoney", "decide_disputes", "money_of", "refund_id"]

Kind = SimulatedCharge.Kind


class ChargeMoney(Struct, kw_only=True):
    """The movements of one charge, in minor units.

    `refunds` are the succeeded ones by key, the oldest first. `pending` and `failed` refunds have
    moved no money.
    """

    charge_id: str
    captured: int = 0
    refunds: dict[str, int] = field(default_factory=dict)
    pending: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    disputes: list[Dispute] = field(default_factory=list)

    def balance(self) -> ChargeBalance:
        """Return the sums as the gateway reports them."""
        return ChargeBalance(
            charge_id=self.charge_id,
            captured=self.captured,
            refunded=sum(self.refunds.values()),
            refund_pending=sum(self.pending.values()),
            disputes=tuple(self.disputes),
        )

    @property
    def lost(self) -> int:
        """The amount that the customer got through lost disputes."""
        lost = [each.amount for each in self.disputes if each.status == DisputeStatus.LOST]
        return sum(lost)

    def uses(self, key: str) -> bool:
        """Tell whether a refund has used a key, even a failed refund."""
        return key in self.refunds or key in self.pending or key in self.failed

    def given_back(self, key: str) -> int:
        """Return the sum of the succeeded refunds under a key and its successors."""
        return sum(amount for used, amount in self.refunds.items() if is_key_of(used, key))

    def is_pending(self, key: str) -> bool:
        """Tell whether a refund under a key or one of its successors is pending."""
        return any(is_key_of(used, key) for used in self.pending)

    def dispute_with(self, status: DisputeStatus) -> Dispute | None:
        """Return a dispute in a state; None if there is none."""
        return next((each for each in self.disputes if each.status == status), None)


def decide_disputes() -> None:
    """Close the disputes whose time has come. Call it inside a transaction."""
    sql.run("payments", statements.DECIDE_DISPUTES, {})


def money_of(charges: Sequence[str]) -> dict[str, ChargeMoney]:
    """Return the money of some charges by charge id. A charge without a capture is left out.

    Call it inside a transaction, because a dispute may be due to be decided.
    """
    money = _read(charges)
    if any(each.dispute_with(DisputeStatus.OPEN) for each in money.values()):
        decide_disputes()
        money = _read(charges)
    return money


def refund_id(key: str) -> str:
    """Return the gateway's id of the refund made under a key."""
    return f"re_{key}"


def _read(charges: Sequence[str]) -> dict[str, ChargeMoney]:
    by_charge: dict[str, ChargeMoney] = {}
    disputed = False
    rows = sql.fetch("payments", statements.MONEY_OF_CHARGES, {"charges": list(charges)})
    for kind, key, charge_id, amount in rows:
        money = by_charge.setdefault(charge_id, ChargeMoney(charge_id=charge_id))
        disputed |= kind == Kind.DISPUTE
        match kind:
            case Kind.CAPTURE:
                money.captured += amount
            case Kind.REFUND:
                money.refunds[key] = amount
            case "refund pending":
                money.pending[key] = amount
            case "refund failed":
                money.failed[key] = amount

    if disputed:
        for charge_id, disputes in _disputes(charges).items():
            by_charge[charge_id].disputes = disputes
    return by_charge


def _disputes(charges: Iterable[str]) -> dict[str, list[Dispute]]:
    by_charge = defaultdict(list)
    rows = SimulatedDispute.objects.filter(charge_id__in=charges).order_by("opened_at", "id")
    for row in rows:
        dispute = Dispute(
            id=row.id,
            amount=row.amount,
            status=DisputeStatus(row.status),
            reason=row.reason,
            opened_at=row.opened_at,
            respond_by=row.respond_by if row.status == SimulatedDispute.Status.OPEN else None,
        )
        by_charge[row.charge_id].append(dispute)
    return by_charge
