"""The outbox of webhooks: which event to send, when, and with which fault.

Events are sent at least once and in no fixed order.
"""

from typing import Any

import msgspec

from tools.stripe_sandbox.fault_rules import Fault, Rule, next_fault
from tools.stripe_sandbox.records import Event
from tools.stripe_sandbox.store import Store

__all__ = ["Delivery", "deliver_again", "due", "failed", "newest", "schedule", "succeeded"]

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 600.0
# Stripe stops after the same time.
GIVE_UP_SECONDS = 3 * 24 * 3600.0


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery of an event.

    A `forged` delivery is signed with a wrong secret. `shift` is added to the signed time.
    """

    seq: int
    event: str
    attempts: int
    forged: bool
    shift: int


def schedule(store: Store, event: Event) -> None:
    """Schedule the delivery of an event, if there is an endpoint.

    A fault rule for `webhooks.<type>` may change the delivery.
    """
    if not store.has_endpoint:
        return

    rule = next_fault(store, f"webhooks.{event.type}")
    copies = 2 if rule and rule.fault == Fault.DUPLICATE else 1
    deliver_again(
        store,
        event.id,
        copies=copies,
        delay=rule.duration if rule and rule.fault == Fault.DELAY else 0.0,
        forged=bool(rule and rule.fault == Fault.FORGE),
        shift=_shift(rule),
        dropped=bool(rule and rule.fault == Fault.DROP),
    )


def deliver_again(  # noqa: PLR0913  # each argument is a separate fault
    store: Store,
    event: str,
    *,
    copies: int = 1,
    delay: float = 0.0,
    forged: bool = False,
    shift: int = 0,
    dropped: bool = False,
) -> None:
    """Schedule `copies` deliveries of an event after `delay` seconds. Call it in a transaction."""
    row = [event, store.now() + delay, forged, shift, "dropped" if dropped else "due"]
    for _ in range(copies):
        store.execute(
            "INSERT INTO delivery (event, due_at, forged, shift, state) VALUES (?, ?, ?, ?, ?)", row
        )


def due(store: Store, most: int) -> list[Delivery]:
    """Return up to `most` due deliveries."""
    rows = store.execute(
        "SELECT seq, event, attempts, forged, shift FROM delivery"
        " WHERE state = 'due' AND due_at <= ? ORDER BY due_at LIMIT ?",
        [store.now(), most],
    )
    return [
        Delivery(seq=seq, event=event, attempts=attempts, forged=bool(forged), shift=shift)
        for seq, event, attempts, forged, shift in rows
    ]


def newest(store: Store, most: int) -> list[dict[str, Any]]:
    """Return the newest deliveries, as the control API shows them."""
    names = ("seq", "event", "state", "attempts", "answer", "due_at", "forged", "shift")
    rows = store.execute(
        f"SELECT {', '.join(names)} FROM delivery ORDER BY seq DESC LIMIT ?",  # noqa: S608
        [most],
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def succeeded(store: Store, delivery: Delivery, answer: str) -> None:
    """Record that the endpoint accepted a delivery."""
    _record_attempt(store, delivery, "delivered", answer, 0.0)


def failed(store: Store, delivery: Delivery, answer: str) -> None:
    """Record that the endpoint did not accept a delivery.

    The pause before the next attempt doubles. The sandbox gives up after three days.
    """
    pause = min(FIRST_PAUSE_SECONDS * 2 ** min(delivery.attempts, 20), LONGEST_PAUSE_SECONDS)
    spent = delivery.attempts * LONGEST_PAUSE_SECONDS
    _record_attempt(
        store, delivery, "given_up" if spent > GIVE_UP_SECONDS else "due", answer, pause
    )


def _record_attempt(
    store: Store, delivery: Delivery, state: str, answer: str, pause: float
) -> None:
    with store.transaction():
        store.execute(
            "UPDATE delivery SET state = ?, answer = ?, due_at = ?, attempts = attempts + 1"
            " WHERE seq = ?",
            [state, answer, store.now() + pause, delivery.seq],
        )


def _shift(rule: Rule | None) -> int:
    return int(rule.duration) if rule and rule.fault == Fault.SHIFT else 0
