"""The saga is switched while orders flow: each ends under the one it was placed with, and every
invariant holds.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from threading import Event
from typing import Any

import httpx
import pytest

from api.auth.tokens import issue_token
from orders.models import Order, TimelineEvent
from payments.models import Payment
from tests.processes import api, until
from tests.system.harness import QUICK, assert_sound, ended, order_body, shop, system

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

__all__ = ["shop"]

AT_ONCE = 3
METHODS = (
    "pm_card_visa",
    "pm_card_visa",
    "pm_sim_timeout_charged",
    "pm_card_chargeDeclined",
    "pm_sim_500_charged",
)

# The steps that only one of the two has.
OF_SAGA = {
    "place_order": {"payments.charge", "payments.refund"},
    "authorize_first": {
        "payments.authorize",
        "payments.void",
        "payments.capture",
        "payments.withhold",
    },
}


class Crowd:
    """Customers who order without a pause, wherever the API is, and cancel every fourth order."""

    def __init__(self, token: str) -> None:
        self.headers = {"Authorization": f"Bearer {token}"}
        self.numbers = count()
        self.closed = Event()
        self.address = ""
        self.cancelled: list[str] = []

    def order_until_closed(self) -> None:
        """Place orders until the shop closes; what is not answered is asked for again, under its
        key.
        """
        while not self.closed.is_set():
            number = next(self.numbers)
            placed = self._until_answered(number)
            if placed and number % 4 == 0:
                answer = self._post(f"/api/v1/orders/{placed}/cancel/", {}, None)
                self.cancelled += (
                    [placed] if answer is not None and answer.status_code == 202 else []
                )

    def _until_answered(self, number: int) -> str:
        wanted = order_body(
            sku="RARE" if number % 7 == 0 else "MUG", method=METHODS[number % len(METHODS)]
        )
        while True:
            answer = self._post("/api/v1/orders/", {"Idempotency-Key": f"key-{number}"}, wanted)
            if answer is not None and answer.status_code == 201:
                return str(answer.json()["id"])
            if answer is not None and answer.status_code not in (409, 503):
                raise AssertionError(f"{answer.status_code} {answer.text}")
            if self.closed.is_set():
                return ""

    def _post(self, path: str, headers: dict[str, str], body: Any) -> httpx.Response | None:
        try:
            url = f"{self.address}{path}"
            return httpx.post(
                url, json=body, headers=self.headers | headers, timeout=20, trust_env=False
            )
        except httpx.TransportError:
            return None


@contextmanager
def ordering(crowd: Crowd) -> Iterator[None]:
    """Have customers order while the block runs."""
    with ThreadPoolExecutor(AT_ONCE) as customers:
        busy = [customers.submit(crowd.order_until_closed) for _ in range(AT_ONCE)]
        try:
            yield
        finally:
            crowd.closed.set()
    for customer in busy:
        customer.result()


def there_are(enough: int) -> bool:
    """Tell whether so many orders were placed."""
    return Order.objects.count() >= enough


def test_orders_end_under_the_saga_they_were_placed_with(shop):
    crowd = Crowd(issue_token(shop))
    with system() as workers, ExitStack() as serving:
        for number, saga in enumerate(("charge_first", "authorize_first", "charge_first"), start=1):
            enough = Order.objects.count() + 25
            with ExitStack() as apis:
                crowd.address, process = apis.enter_context(
                    api(environ={**QUICK, "ORDER_SAGA": saga})
                )
                if number == 1:
                    serving.enter_context(ordering(crowd))
                until(partial(there_are, enough), "orders flow", process=process)
        crowd.closed.set()
        serving.close()
        placed = [str(order) for order in Order.objects.values_list("id", flat=True)]
        until(
            lambda: ended(*placed), "all orders have ended", process=workers["payments"], limit=200
        )
    assert_sound()
    sagas = dict(Order.objects.values_list("id", "plan__saga"))
    assert set(sagas.values()) == set(OF_SAGA)
    for order, step in TimelineEvent.objects.values_list("saga", "step"):
        assert all(step not in steps for saga, steps in OF_SAGA.items() if saga != sagas[order])
    assert {status for status, _ in Order.objects.values_list("status", "id")} == {
        "fulfilled",
        "cancelled",
    }
    assert not Payment.objects.filter(status__in=("pending", "authorized")).exists()
    assert Order.objects.filter(id__in=crowd.cancelled).exists()
