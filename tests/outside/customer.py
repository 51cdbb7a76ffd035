"""The API in a separate process, and customers who order over HTTP and repeat requests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from itertools import count
from typing import Any

import httpx

from tests import processes
from tests.processes import until
from tests.system.harness import order_body

__all__ = ["Customer", "api"]


@contextmanager
def api(**environ: str) -> Iterator[str]:
    """Run the API in a separate process; yield its address."""
    with processes.api(environ=environ) as (address, _):
        yield address


class Customer:
    """A customer. `placed` maps keys to order ids; `refusals` lists all other statuses."""

    def __init__(self, address: str, token: str) -> None:
        self.address = address
        self.headers = {"Authorization": f"Bearer {token}"}
        self.placed: dict[str, str] = {}
        self.refusals: list[int] = []

    def get(self, path: str) -> httpx.Response:
        """Send a GET request."""
        return httpx.get(
            f"{self.address}/api/v1/{path}", headers=self.headers, timeout=30, trust_env=False
        )

    def order(self, key: str, **wanted: Any) -> int | None:
        """Send an order once; return the status, or None if the connection broke."""
        headers = {**self.headers, "Idempotency-Key": key}
        url = f"{self.address}/api/v1/orders/"

        try:
            answer = httpx.post(
                url, json=order_body(**wanted), headers=headers, timeout=30, trust_env=False
            )
        except httpx.TransportError:
            return None

        if answer.status_code == HTTPStatus.CREATED:
            assert self.placed.setdefault(key, answer.json()["id"]) == answer.json()["id"]
        else:
            self.refusals.append(answer.status_code)

        return answer.status_code

    def order_until_placed(self, key: str, **wanted: Any) -> None:
        """Repeat an order with the same key until it is placed."""
        until(lambda: self.order(key, **wanted) == HTTPStatus.CREATED, f"{key} is placed")

    @contextmanager
    def ordering(self) -> Iterator[None]:
        """Place one order after another while the context lasts."""
        stop = threading.Event()
        thread = threading.Thread(target=self._place_orders, args=(stop,))
        thread.start()

        try:
            yield
        finally:
            stop.set()
            thread.join()

    def wait_for_orders(self, orders: int) -> None:
        """Wait until `orders` more orders are placed."""
        wanted = len(self.placed) + orders
        until(lambda: len(self.placed) >= wanted, f"{orders} more orders are placed")

    def _place_orders(self, stop: threading.Event) -> None:
        for number in count():
            if stop.is_set():
                return
            self.order_until_placed(f"order-{number}")
