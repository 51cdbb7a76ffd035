"""The ledger: every capture and every refund in the order in which they were written down, for
outside checks.
"""

from typing import Any

from tools.stripe_sandbox.books import Books
from tools.stripe_sandbox.records import Charge, Intent, Refund

__all__ = ["entries"]


def entries(books: Books, *, after: int, most: int) -> dict[str, Any]:
    """Return up to `most` entries behind the one numbered `after`.

    A refund moves money unless its status is `failed`; `order_id` is what the payment intent's
    metadata say.
    """
    rows = books.execute(
        "SELECT seq, kind, id FROM movement WHERE seq > ? ORDER BY seq LIMIT ?", [after, most + 1]
    )
    data = [_entry(books, seq, kind, id) for seq, kind, id in rows[:most]]
    return {"object": "list", "url": "/sandbox/ledger", "has_more": len(rows) > most, "data": data}


def _entry(books: Books, seq: int, kind: str, id: str) -> dict[str, Any]:
    movement: Charge | Refund = (
        books.get(Charge, id) if kind == "capture" else books.get(Refund, id)
    )
    intent = books.get(Intent, movement.payment_intent)
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
