"""The ledger: all movements of money in the order of their commits, for checks from outside."""

from typing import Any

from tools.stripe_sandbox.records import BalanceTransaction, Charge, Dispute, Intent, Refund
from tools.stripe_sandbox.store import Store

__all__ = ["entries"]

SOURCES: dict[str, type[Charge] | type[Refund] | type[Dispute]] = {
    "capture": Charge,
    "refund": Refund,
    "dispute": Dispute,
    "dispute_return": Dispute,
}


def entries(store: Store, *, after: int, most: int) -> dict[str, Any]:
    """Return up to `most` entries after the entry number `after`.

    A refund moves money unless its status is `failed`. A `dispute` withdraws its amount, and its
    `dispute_return` brings it back. `order_id` comes from the payment intent's
    metadata.
    """
    rows = store.execute(
        "SELECT seq, kind, id FROM money_movement WHERE seq > ? ORDER BY seq LIMIT ?",
        [after, most + 1],
    )
    data = [_entry(store, seq, kind, id) for seq, kind, id in rows[:most]]
    return {"object": "list", "url": "/sandbox/ledger", "has_more": len(rows) > most, "data": data}


def _entry(store: Store, seq: int, kind: str, id: str) -> dict[str, Any]:
    source = store.get(SOURCES[kind], id)
    intent = store.get(Intent, source.payment_intent)
    return {
        "seq": seq,
        "kind": kind,
        "id": id,
        "charge": source.id if isinstance(source, Charge) else source.charge,
        "payment_intent": intent.id,
        "amount": source.amount_captured if isinstance(source, Charge) else source.amount,
        "currency": source.currency,
        "status": source.status,
        "order_id": intent.metadata.get("order_id"),
        "metadata": {} if isinstance(source, Dispute) else source.metadata,
        "created": _created(store, source, kind),
    }


def _created(store: Store, source: Charge | Refund | Dispute, kind: str) -> int:
    """Return when the money moved, for a dispute; otherwise when the object was made."""
    if not isinstance(source, Dispute):
        return source.created

    withdrawal, *returned = source.balance_transactions
    transaction = returned[0] if kind == "dispute_return" else withdrawal
    return store.get(BalanceTransaction, transaction).created
