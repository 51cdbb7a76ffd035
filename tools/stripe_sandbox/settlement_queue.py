"""The queue of settlements. Each is due at a time of the sandbox's clock, or on request."""

from typing import NamedTuple

from tools.stripe_sandbox.store import Store

__all__ = ["Settlement", "due", "remove", "settle_later"]


class Settlement(NamedTuple):
    """The later outcome of an intent, a refund or a dispute: `succeeded` or `failed`."""

    id: str
    outcome: str


def settle_later(store: Store, id: str, outcome: str, *, at: float | None = None) -> None:
    """Schedule that an intent or a refund ends as `succeeded` or `failed`, at a time of the clock.

    By default, it ends after the store's `settle_seconds`.
    """
    row = [id, outcome, store.now() + store.settle_seconds if at is None else at]
    store.execute("INSERT OR REPLACE INTO settlement (id, outcome, due_at) VALUES (?, ?, ?)", row)


def due(store: Store) -> list[Settlement]:
    """Return the settlements that are due, at most 100."""
    rows = store.execute(
        "SELECT id, outcome FROM settlement WHERE due_at <= ? LIMIT 100", [store.now()]
    )
    return [Settlement(*row) for row in rows]


def remove(store: Store, id: str) -> None:
    """Remove a settlement from the queue."""
    store.execute("DELETE FROM settlement WHERE id = ?", [id])
