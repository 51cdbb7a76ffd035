"""Fault rules: a pattern of operations, a fault, how many times, and a seeded probability."""

import random
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec
from msgspec import Meta

from tools.stripe_sandbox.records import new_id
from tools.stripe_sandbox.store import Store

__all__ = [
    "AFTER",
    "BEFORE",
    "HANG_SECONDS",
    "MAX_SECONDS",
    "Fault",
    "Rule",
    "add",
    "clear",
    "next_fault",
    "rules",
]

# The default time that a connection stays open without an answer.
HANG_SECONDS = 60.0
MAX_SECONDS = 10_000_000


class Fault(StrEnum):
    """A kind of fault. `lost`: the call is not executed. `done`: it is executed and committed.

    `saved`: the call fails without effect, and its error is kept for the key, as at Stripe for
    every call that has begun to execute.
    """

    TIMEOUT_LOST = "timeout_lost"
    TIMEOUT_DONE = "timeout_done"
    ERROR_LOST = "500_lost"
    ERROR_DONE = "500_done"
    RESET_LOST = "reset_lost"
    RESET_DONE = "reset_done"
    ERROR_SAVED = "500_saved"
    REFUSAL_SAVED = "400_saved"
    BALANCE_INSUFFICIENT = "balance_insufficient"
    RATE_LIMIT = "429"
    CONFLICT = "409"
    SLOW = "slow"
    STALE = "stale"
    # Faults of webhooks, whose operations are named `webhooks.<event type>`.
    DROP = "drop"
    DUPLICATE = "duplicate"
    DELAY = "delay"
    FORGE = "forge"
    SHIFT = "shift"


AFTER = {Fault.TIMEOUT_DONE, Fault.ERROR_DONE, Fault.RESET_DONE}
OF_WEBHOOKS = {Fault.DROP, Fault.DUPLICATE, Fault.DELAY, Fault.FORGE, Fault.SHIFT}
BEFORE = {Fault.TIMEOUT_LOST, Fault.ERROR_LOST, Fault.RESET_LOST, Fault.RATE_LIMIT, Fault.CONFLICT}
DEFAULT_SECONDS = {
    Fault.TIMEOUT_LOST: HANG_SECONDS,
    Fault.TIMEOUT_DONE: HANG_SECONDS,
    Fault.RATE_LIMIT: 1.0,
    Fault.SLOW: 2.0,
    Fault.STALE: 60.0,
    Fault.DELAY: 5.0,
    Fault.SHIFT: 3600.0,
}


class Rule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A rule. `operation` is a pattern such as `payment_intents.*`.

    `times` is the number of faults, None is unlimited. `seconds` is the duration of the fault: the
    time to hang, wait, lag or shift (which may be negative), or the Retry-After of a 429.
    """

    operation: str
    fault: Fault
    id: str = msgspec.field(default_factory=lambda: new_id("fault"))
    times: Annotated[int, Meta(ge=0)] | None = 1
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    seed: int = 0
    seconds: Annotated[float, Meta(ge=-MAX_SECONDS, le=MAX_SECONDS)] | None = None
    calls: int = msgspec.field(default=0, name="seen")
    hits: int = msgspec.field(default=0, name="struck")

    def applies_to(self, operation: str) -> bool:
        """Return whether the rule matches an operation and has faults left."""
        used_up = self.times is not None and self.hits >= self.times
        same_kind = (self.fault in OF_WEBHOOKS) == operation.startswith("webhooks.")
        return not used_up and same_kind and fnmatchcase(operation, self.operation)

    @property
    def duration(self) -> float:
        """The rule's `seconds`, or the default of its fault."""
        return DEFAULT_SECONDS.get(self.fault, 0.0) if self.seconds is None else self.seconds

    def draw(self) -> bool:
        """Count a call and return whether it gets the fault.

        The same seed gives the same results for the same sequence of calls.
        """
        self.calls += 1
        hit = random.Random(f"{self.seed}:{self.calls}").random() < self.probability
        self.hits += hit
        return hit


def add(store: Store, rule: Rule) -> None:
    """Add a rule. It replaces a rule with the same id."""
    with store.transaction():
        store.execute(
            "INSERT OR REPLACE INTO rule (id, body) VALUES (?, ?)",
            [rule.id, msgspec.json.encode(rule).decode()],
        )


def rules(store: Store) -> list[Rule]:
    """Return all rules with their counters."""
    return [
        msgspec.json.decode(body, type=Rule)
        for (body,) in store.execute("SELECT body FROM rule ORDER BY rowid")
    ]


def clear(store: Store) -> None:
    """Remove all rules."""
    with store.transaction():
        store.execute("DELETE FROM rule")


def next_fault(store: Store, operation: str) -> Rule | None:
    """Count this call, and return the first rule whose fault it gets, or None.

    Call it in a transaction.
    """
    for rule in rules(store):
        if not rule.applies_to(operation):
            continue

        hit = rule.draw()
        store.execute(
            "UPDATE rule SET body = ? WHERE id = ?", [msgspec.json.encode(rule).decode(), rule.id]
        )
        if hit:
            return rule

    return None
