"""The answers that the customers got. The checks at the end compare the database with them."""

import threading
from collections import Counter
from dataclasses import dataclass, field

from tools.chaos.workload import OrderRequest

__all__ = ["ClientRecord", "CustomerOrder"]


@dataclass(kw_only=True)
class CustomerOrder:
    """One order as its customer sees it.

    `ids` holds every order id that the API returned for its key. `placed` is set once the customer
    has stopped placing it, answered or not. `returns` holds the ids of its returns.
    """

    request: OrderRequest
    ids: set[str] = field(default_factory=set)
    returns: set[str] = field(default_factory=set)
    cancel_asked: bool = False
    cancel_answer: int | None = None
    placed: threading.Event = field(default_factory=threading.Event)


class ClientRecord:
    """All answers to all customers."""

    def __init__(self, order_requests: list[OrderRequest]) -> None:
        """Start with one unanswered order for each request.

        `ended` is the number of ended orders, as the soak last read it from the database.
        """
        self.orders = {request.key: CustomerOrder(request=request) for request in order_requests}
        self.answers: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self.placed = 0
        self.ended = 0
        self._lock = threading.Lock()

    def count_answer(self, answer: str) -> None:
        """Count an answer, or a broken connection."""
        with self._lock:
            self.answers[answer] += 1

    def add_unexpected(self, problem: str) -> None:
        """Keep an answer that the API must never give."""
        with self._lock:
            self.unexpected.append(problem)

    def record_order(self, key: str, order: str) -> None:
        """Keep the order id that the API returned for a key."""
        with self._lock:
            self.orders[key].ids.add(order)

    def placing_finished(self, key: str) -> None:
        """Record that a customer stopped placing an order, answered or not."""
        with self._lock:
            self.placed += 1
        self.orders[key].placed.set()
