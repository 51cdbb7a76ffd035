"""Faults on demand: rules, each for some operations, a number of times, and with a probability
drawn from a seed.
"""

import random
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec
from msgspec import Meta

from tools.stripe_sandbox.books import Books
from tools.stripe_sandbox.records import new_id

__all__ = [
    "AFTER",
    "BEFORE",
    "HANG_SECONDS",
    "LONGEST_SECONDS",
    "Fault",
    "Rule",
    "add",
    "clear",
    "rules",
    "strike",
]

# How long an answer that never comes keeps its connection, where the rule does not say.
HANG_SECONDS = 60.0
LONGEST_SECONDS = 10_000_000


class Fault(StrEnum):
    """What goes wrong. `lost`: before anything was done; `done`: after it was done and written
    down.
    """

    TIMEOUT_LOST = "timeout_lost"
    TIMEOUT_DONE = "timeout_done"
    ERROR_LOST = "500_lost"
    ERROR_DONE = "500_done"
    RESET_LOST = "reset_lost"
    RESET_DONE = "reset_done"
    RATE_LIMIT = "429"
    CONFLICT = "409"
    SLOW = "slow"
    STALE = "stale"
    # Of webhooks, whose operations are called `webhooks.` and the event's type. They have no
    # others.
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
    """A rule: `operation` is a pattern such as `payment_intents.*`; no `times` is for ever.

    `seconds` is how long it hangs, waits, lags behind or is wrong (a `shift` may be negative), and
    for a 429 what Retry-After says.
    """

    operation: str
    fault: Fault
    id: str = msgspec.field(default_factory=lambda: new_id("fault"))
    times: Annotated[int, Meta(ge=0)] | None = 1
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    seed: int = 0
    seconds: Annotated[float, Meta(ge=-LONGEST_SECONDS, le=LONGEST_SECONDS)] | None = None
    seen: int = 0
    struck: int = 0

    def is_for(self, operation: str) -> bool:
        """Say whether the rule is for an operation, and has not yet struck as often as it was
        to.
        """
        over = self.times is not None and self.struck >= self.times
        of_its_kind = (self.fault in OF_WEBHOOKS) == operation.startswith("webhooks.")
        return not over and of_its_kind and fnmatchcase(operation, self.operation)

    @property
    def span(self) -> float:
        """The seconds that the rule gives, or what is usual for its fault."""
        return DEFAULT_SECONDS.get(self.fault, 0.0) if self.seconds is None else self.seconds

    def draw(self) -> bool:
        """Say whether this call is struck. The same seed strikes the same calls, in the order in
        which they come.
        """
        self.seen += 1
        hit = random.Random(f"{self.seed}:{self.seen}").random() < self.probability
        self.struck += hit
        return hit


def add(books: Books, rule: Rule) -> None:
    """Make a rule hold from now on, in place of one with its id."""
    with books.transaction():
        books.execute(
            "INSERT OR REPLACE INTO rule (id, body) VALUES (?, ?)",
            [rule.id, msgspec.json.encode(rule).decode()],
        )


def rules(books: Books) -> list[Rule]:
    """Return all rules, with how many calls each has seen and struck."""
    return [
        msgspec.json.decode(body, type=Rule)
        for (body,) in books.execute("SELECT body FROM rule ORDER BY rowid")
    ]


def clear(books: Books) -> None:
    """Forget all rules."""
    with books.transaction():
        books.execute("DELETE FROM rule")


def strike(books: Books, operation: str) -> Rule | None:
    """Return the first rule that strikes this call, having counted it; None is the ordinary
    case. In a transaction.
    """
    for rule in rules(books):
        if not rule.is_for(operation):
            continue
        hit = rule.draw()
        books.execute(
            "UPDATE rule SET body = ? WHERE id = ?", [msgspec.json.encode(rule).decode(), rule.id]
        )
        if hit:
            return rule
    return None
