"""The ledger: all captures and refunds in the order of their commits, for checks from outside."""

from typing import Any

from tools.stripe_sandbox.records import Charge, Intent, Refund
from tools.stripe_sandbox.store import Store

__all__ = ["entries"]


def entries(store: Store, *, after: int, most: int) -> dict[str, Any]:
    """Return up to `most` entries after the entry number `after`.

    A refund moves money unless its status is `failed`. `order_id` comes from the payment intent's
    metadata.
    """
    rows = store.execute(
        "SELECT seq, kind, id FROM movement WHERE seq > ? ORDER BY seq LIMIT ?", [after, most + 1]
    )
    data = [_entry(store, seq, kind, id) for seq, kind, id in rows[:most]]
    return {"object": "list", "url": "/sandbox/ledger", "has_more": len(rows) > most, "data": data}


def _entry(store: Store, seq: int, kind: str, id: str) -> dict[str, Any]:
    movement: Charge | Refund = (
        store.get(Charge, id) if kind == "capture" else store.get(Refund, id)
    )
    intent = store.get(Intent, movement.payment_intent)
    return {
        "seq": seq,
        "kind": kind,
        "id": id,
        "charge": movement.id if isinstance(movement, Charge) else movement.charge,
        "payment_intent": intent.id,
        "amount": movement.amount_captured if isinstance(movement, Charge) else movement.amount,
        "currency": movement.currency,
        "status": movement.status,
        "order_id": intent.metadata.get("order_id"),
        "metadata": movement.metadata,
        "created": movement.created,
    }
