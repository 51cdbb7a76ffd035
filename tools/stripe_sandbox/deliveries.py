"""The outbox of webhooks: which event is to be told, when, and with which fault. At least once,
in no order.
"""

from typing import Any

import msgspec

from tools.stripe_sandbox.books import Books
from tools.stripe_sandbox.faults import Fault, Rule, strike
from tools.stripe_sandbox.records import Event

__all__ = ["Delivery", "deliver_again", "due", "failed", "newest", "schedule", "succeeded"]

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 600.0
# As long as Stripe goes on trying.
GIVE_UP_SECONDS = 3 * 24 * 3600.0


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One telling of an event. `forged` is signed with a wrong secret, `shift` seconds are added
    to its signed time.
    """

    seq: int
    event: str
    attempts: int
    forged: bool
    shift: int


def schedule(books: Books, event: Event) -> None:
    """Put an event up for delivery, unless nobody listens; a rule for `webhooks.<type>` may
    spoil it.
    """
    if not books.listened_to:
        return
    rule = strike(books, f"webhooks.{event.type}")
    copies = 2 if rule and rule.fault == Fault.DUPLICATE else 1
    deliver_again(
        books,
        event.id,
        copies=copies,
        delay=rule.span if rule and rule.fault == Fault.DELAY else 0.0,
        forged=bool(rule and rule.fault == Fault.FORGE),
        shift=_shift(rule),
        dropped=bool(rule and rule.fault == Fault.DROP),
    )


def deliver_again(  # noqa: PLR0913  # each is a fault of its own
    books: Books,
    event: str,
    *,
    copies: int = 1,
    delay: float = 0.0,
    forged: bool = False,
    shift: int = 0,
    dropped: bool = False,
) -> None:
    """Put an event up for delivery, so many `copies` of it, after so many seconds. In a
    transaction.
    """
    row = [event, books.now() + delay, forged, shift, "dropped" if dropped else "due"]
    for _ in range(copies):
        books.execute(
            "INSERT INTO delivery (event, due_at, forged, shift, state) VALUES (?, ?, ?, ?, ?)", row
        )


def due(books: Books, most: int) -> list[Delivery]:
    """Return deliveries whose time has come."""
    rows = books.execute(
        "SELECT seq, event, attempts, forged, shift FROM delivery"
        " WHERE state = 'due' AND due_at <= ? ORDER BY due_at LIMIT ?",
        [books.now(), most],
    )
    return [
        Delivery(seq=seq, event=event, attempts=attempts, forged=bool(forged), shift=shift)
        for seq, event, attempts, forged, shift in rows
    ]


def newest(books: Books, most: int) -> list[dict[str, Any]]:
    """Return the newest deliveries, as the control shows them."""
    names = ("seq", "event", "state", "attempts", "answer", "due_at", "forged", "shift")
    rows = books.execute(
        f"SELECT {', '.join(names)} FROM delivery ORDER BY seq DESC LIMIT ?",  # noqa: S608
        [most],
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def succeeded(books: Books, delivery: Delivery, answer: str) -> None:
    """Note that the endpoint took it."""
    _note(books, delivery, "delivered", answer, 0.0)


def failed(books: Books, delivery: Delivery, answer: str) -> None:
    """Note that the endpoint did not take it; the pause to the next try doubles, and ends after
    three days.
    """
    pause = min(FIRST_PAUSE_SECONDS * 2 ** min(delivery.attempts, 20), LONGEST_PAUSE_SECONDS)
    spent = delivery.attempts * LONGEST_PAUSE_SECONDS
    _note(books, delivery, "given_up" if spent > GIVE_UP_SECONDS else "due", answer, pause)


def _note(books: Books, delivery: Delivery, state: str, answer: str, pause: float) -> None:
    with books.transaction():
        books.execute(
            "UPDATE delivery SET state = ?, answer = ?, due_at = ?, attempts = attempts + 1 WHERE seq = ?",
            [state, answer, books.now() + pause, delivery.seq],
        )


def _shift(rule: Rule | None) -> int:
    return int(rule.span) if rule and rule.fault == Fault.SHIFT else 0
