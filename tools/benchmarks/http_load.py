"""Place orders over HTTP from a separate process, with little CPU: it uses only `http.client`.

`python -m tools.benchmarks.http_load URL TOKEN` sends orders for a time, at a fixed rate or as fast
as the API answers. It prints JSON: for each accepted order its id, the Unix time of the request,
and the seconds until the answer.
"""

import argparse
import http.client
import json
import queue
import threading
import time
from urllib.parse import urlsplit
from uuid import uuid4

from tools.benchmarks.order_data import SKUS, body

__all__ = ["main"]


class LoadThread(threading.Thread):
    """A connection that places an order at each time from the queue `due`, until it gets None."""

    def __init__(self, url: str, token: str, due: "queue.Queue[float | None]") -> None:
        """Send to `url` at the times in `due`."""
        super().__init__(daemon=True)
        self.address = urlsplit(url)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.due = due
        self.answers: list[tuple[str, float, float]] = []
        self.refused = 0

    def run(self) -> None:
        """Place the orders."""
        connection = http.client.HTTPConnection(
            str(self.address.hostname), self.address.port, timeout=30
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
        connection.request("POST", self.address.path, json.dumps(body(sku)), headers)
        response = connection.getresponse()
        answer = response.read()

        if response.status == http.client.CREATED:
            self.answers.append((json.loads(answer)["id"], sent, time.time() - sent))
        else:
            self.refused += 1


class FullSpeedThread(LoadThread):
    """A connection that places the next order as soon as it is answered, until a moment."""

    until = 0.0

    def run(self) -> None:
        """Place the orders."""
        connection = http.client.HTTPConnection(
            str(self.address.hostname), self.address.port, timeout=30
        )
        number = 0

        while time.time() < self.until:
            self.send(connection, SKUS[number % len(SKUS)])
            number += 1


def main() -> None:
    """Place the orders, and print the answers."""
    options = _arguments()
    due: queue.Queue[float | None] = queue.Queue()
    kind = LoadThread if options.rate else FullSpeedThread
    customers = [kind(options.url, options.token, due) for _ in range(options.connections)]
    start = time.time() + 0.2
    FullSpeedThread.until = start + options.seconds
    for customer in customers:
        customer.start()

    for number in range(int(options.rate * options.seconds)):
        due.put(start + number / options.rate)

    for _ in customers:
        due.put(None)

    for customer in customers:
        customer.join()

    answers = [answer for customer in customers for answer in customer.answers]
    print(
        json.dumps({"answers": answers, "refused": sum(customer.refused for customer in customers)})
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.benchmarks.http_load")
    parser.add_argument("url")
    parser.add_argument("token")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument(
        "--rate",
        type=float,
        default=0.0,
        help="orders per second (default: as fast as the API answers)",
    )
    parser.add_argument("--connections", type=int, default=8)

    return parser.parse_args()


if __name__ == "__main__":
    main()
