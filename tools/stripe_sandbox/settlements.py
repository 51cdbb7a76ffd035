"""What a bank answers later: each settlement is due at a time of the sandbox's clock, or when
the control says so.
"""

from tools.stripe_sandbox.books import Books

__all__ = ["due", "settle_later", "settled"]


def settle_later(books: Books, id: str, outcome: str) -> None:
    """Note that an intent or a refund will end as `succeeded` or `failed`."""
    row = [id, outcome, books.now() + books.settle_seconds]
    books.execute("INSERT OR REPLACE INTO settlement (id, outcome, due_at) VALUES (?, ?, ?)", row)


def due(books: Books) -> list[tuple[str, str]]:
    """Return what is to be settled now: ids and outcomes."""
    rows = books.execute(
        "SELECT id, outcome FROM settlement WHERE due_at <= ? LIMIT 100", [books.now()]
    )
    return [(id, outcome) for id, outcome in rows]


def settled(books: Books, id: str) -> None:
    """Cross a settlement off."""
    books.execute("DELETE FROM settlement WHERE id = ?", [id])
