"""The customers' own record of what they were answered. What is checked in the end is held
against this.
"""

import threading
from collections import Counter
from dataclasses import dataclass, field

from tools.chaos.errands import Wish

__all__ = ["Purchase", "Record"]


@dataclass(kw_only=True)
class Purchase:
    """What a customer knows of one order: every id it was ever answered with, and the answer to
    its cancellation.
    """

    wish: Wish
    ids: set[str] = field(default_factory=set)
    cancel_asked: bool = False
    cancel_answer: int | None = None
    over: threading.Event = field(default_factory=threading.Event)


class Record:
    """Everything all customers were answered."""

    def __init__(self, wishes: list[Wish]) -> None:
        """Begin with one purchase for each wish, none of them answered. `ended`: as was last
        heard from the books.
        """
        self.purchases = {wish.key: Purchase(wish=wish) for wish in wishes}
        self.answers: Counter[str] = Counter()
        self.oddities: list[str] = []
        self.placed = 0
        self.ended = 0
        self._lock = threading.Lock()

    def heard(self, answer: str) -> None:
        """Count an answer, or what came in place of one."""
        with self._lock:
            self.answers[answer] += 1

    def odd(self, what: str) -> None:
        """Keep an answer that nobody should ever get."""
        with self._lock:
            self.oddities.append(what)

    def confirmed(self, key: str, order: str) -> None:
        """Note the order that a key was answered with."""
        with self._lock:
            self.purchases[key].ids.add(order)

    def place_over(self, key: str) -> None:
        """Note that a customer is through with placing an order, answered or not."""
        with self._lock:
            self.placed += 1
        self.purchases[key].over.set()
