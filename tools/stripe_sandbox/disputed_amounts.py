"""The amount of a charge that its disputes have withdrawn."""

from tools.stripe_sandbox.records import Charge, Dispute
from tools.stripe_sandbox.store import Store

__all__ = ["LOST", "OPEN", "disputed_amount", "is_in_dispute"]

# Statuses in which the money is withdrawn: it may return from OPEN, but not from LOST.
OPEN = ("needs_response", "under_review")
LOST = "lost"


def disputed_amount(store: Store, charge: Charge) -> int:
    """Return the amount that open and lost disputes have withdrawn."""
    return sum(each.amount for each in _disputes(store, charge) if each.status in {*OPEN, LOST})


def is_in_dispute(store: Store, charge: Charge) -> bool:
    """Return whether a dispute of the charge is open. An inquiry is no dispute."""
    return any(each.status in OPEN for each in _disputes(store, charge))


def _disputes(store: Store, charge: Charge) -> list[Dispute]:
    if not charge.disputed:
        return []
    return store.select(Dispute, "AND json_extract(body, '$.charge') = ?", [charge.id])
