"""The lines of the simulated gateway's ledger as movements of its statement."""

from typing import Literal

from payments.gateways.base import Movement
from payments.gateways.simulated.balances import refund_id
from payments.gateways.simulated.ledger import SimulatedCharge

__all__ = ["RETURN_SUFFIX", "movement"]

Kind = SimulatedCharge.Kind

KINDS: dict[str, Literal["capture", "refund", "dispute", "dispute_return"]] = {
    Kind.CAPTURE: "capture",
    Kind.REFUND: "refund",
    Kind.DISPUTE: "dispute",
    Kind.DISPUTE_RETURN: "dispute_return",
}

# A returned dispute has two lines, and a key belongs to one line.
RETURN_SUFFIX = "-return"


def movement(line: SimulatedCharge) -> Movement:
    """Return a line as a movement. Money that a person moved has no order and no key.

    A dispute has no key either, but the order of its charge.
    """
    kind = Kind(line.kind)
    has_key = kind in {Kind.CAPTURE, Kind.REFUND} and not line.by_hand
    return Movement(
        kind=KINDS[kind],
        id=_id(kind, line),
        charge_id=line.charge_id,
        amount=line.amount,
        currency=line.currency,
        order_id=None if line.by_hand else line.order_id,
        key=line.key if has_key else "",
        at=line.created_at,
    )


def _id(kind: SimulatedCharge.Kind, line: SimulatedCharge) -> str:
    """Return the gateway's id of the capture, refund or dispute."""
    match kind:
        case Kind.CAPTURE:
            return line.charge_id
        case Kind.REFUND:
            return refund_id(line.key)
    return line.key.removesuffix(RETURN_SUFFIX)
