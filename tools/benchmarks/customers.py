"""Customers over HTTP, in a process of their own, as lean as the standard library allows: each
keeps its connection.

`python -m tools.benchmarks.customers URL TOKEN` sends for a time, either at a fixed rate, whatever the
answers take, or as fast as they come. It prints, as JSON, each accepted order's id, when it was
sent (Unix time) and how long its answer took.
"""

import argparse
import http.client
import json
import queue
import threading
import time
from urllib.parse import urlsplit
from uuid import uuid4

from tools.benchmarks.shop import SKUS, body

__all__ = ["main"]


class Customer(threading.Thread):
    """One connection, which sends whenever `due` holds a moment, until it holds None."""

    def __init__(self, url: str, token: str, due: "queue.Queue[float | None]") -> None:
        """Take where to send to, and when."""
        super().__init__(daemon=True)
        self.place = urlsplit(url)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.due = due
        self.answers: list[tuple[str, float, float]] = []
        self.refused = 0

    def run(self) -> None:
        """Send."""
        connection = http.client.HTTPConnection(
            str(self.place.hostname), self.place.port, timeout=30
        )
        connection.connect()
        number = 0
        while (moment := self.due.get()) is not None:
            time.sleep(max(0.0, moment - time.time()))
            self.send(connection, SKUS[number % len(SKUS)])
            number += 1

    def send(self, connection: http.client.HTTPConnection, sku: str) -> None:
        """Place one order."""
        sent = time.time()
        headers = self.headers | {"Idempotency-Key": str(uuid4())}
        connection.request("POST", self.place.path, json.dumps(body(sku)), headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status == http.client.CREATED:
            self.answers.append((json.loads(answer)["id"], sent, time.time() - sent))
        else:
            self.refused += 1


class Hurry(Customer):
    """A customer who sends again as soon as he is answered, until a moment."""

    until = 0.0

    def run(self) -> None:
        """Send."""
        connection = http.client.HTTPConnection(
            str(self.place.hostname), self.place.port, timeout=30
        )
        number = 0
        while time.time() < self.until:
            self.send(connection, SKUS[number % len(SKUS)])
            number += 1


def main() -> None:
    """Send, and tell what was answered."""
    given = _arguments()
    due: queue.Queue[float | None] = queue.Queue()
    kind = Customer if given.rate else Hurry
    customers = [kind(given.url, given.token, due) for _ in range(given.connections)]
    start = time.time() + 0.2
    Hurry.until = start + given.seconds
    for customer in customers:
        customer.start()
    for number in range(int(given.rate * given.seconds)):
        due.put(start + number / given.rate)
    for _ in customers:
        due.put(None)
    for customer in customers:
        customer.join()
    answers = [answer for customer in customers for answer in customer.answers]
    print(
        json.dumps({"answers": answers, "refused": sum(customer.refused for customer in customers)})
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.benchmarks.customers")
    parser.add_argument("url")
    parser.add_argument("token")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument(
        "--rate",
        type=float,
        default=0.0,
        help="orders per second; without it, as fast as they come",
    )
    parser.add_argument("--connections", type=int, default=8)
    return parser.parse_args()


if __name__ == "__main__":
    main()
