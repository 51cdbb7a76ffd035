"""If the saga is switched under load, each order ends under the saga it was placed with."""

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

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.faults,
]

__all__ = ["shop"]

AT_ONCE = 3
METHODS = (
    "pm_card_visa",
    "pm_card_visa",
    "pm_sim_timeout_charged",
    "pm_card_chargeDeclined",
    "pm_sim_500_charged",
)

# The steps that are in only one of the two sagas.
ONLY_IN_SAGA = {
    "place_order": {"payments.charge", "payments.refund"},
    "authorize_first": {
        "payments.authorize",
        "payments.void",
        "payments.capture",
        "payments.withhold",
    },
}


class LoadGenerator:
    """Customers who place orders without a pause and cancel every fourth order.

    Their requests go to the current `address` of the API.
    """

    def __init__(self, token: str) -> None:
        self.headers = {"Authorization": f"Bearer {token}"}
        self.numbers = count()
        self.closed = Event()
        self.address = ""
        self.cancelled: list[str] = []

    def place_orders(self) -> None:
        """Place orders until `closed` is set. Repeat an unanswered request with the same key."""
        while not self.closed.is_set():
            number = next(self.numbers)
            placed = self._place(number)
            if placed and number % 4 == 0:
                answer = self._post(f"/api/v1/orders/{placed}/cancel/", {}, None)
                self.cancelled += (
                    [placed] if answer is not None and answer.status_code == 202 else []
                )

    def _place(self, number: int) -> str:
        body = order_body(
            sku="RARE" if number % 7 == 0 else "MUG", method=METHODS[number % len(METHODS)]
        )
        while True:
            answer = self._post("/api/v1/orders/", {"Idempotency-Key": f"key-{number}"}, body)
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
def generating(load: LoadGenerator) -> Iterator[None]:
    """Generate load while the context lasts."""
    with ThreadPoolExecutor(AT_ONCE) as customers:
        running = [customers.submit(load.place_orders) for _ in range(AT_ONCE)]
        try:
            yield
        finally:
            load.closed.set()
    for customer in running:
        customer.result()


def are_placed(number: int) -> bool:
    """Return whether at least `number` orders are placed."""
    return Order.objects.count() >= number


def test_orders_end_under_the_saga_they_were_placed_with(shop):
    load = LoadGenerator(issue_token(shop))
    with system() as workers, ExitStack() as serving:
        for number, saga in enumerate(("charge_first", "authorize_first", "charge_first"), start=1):
            enough = Order.objects.count() + 25
            with ExitStack() as apis:
                load.address, process = apis.enter_context(
                    api(environ={**QUICK, "ORDER_SAGA": saga})
                )
                if number == 1:
                    serving.enter_context(generating(load))
                until(partial(are_placed, enough), "25 more orders are placed", process=process)
        load.closed.set()
        serving.close()
        placed = [str(order) for order in Order.objects.values_list("id", flat=True)]
        until(
            lambda: ended(*placed), "all orders have ended", process=workers["payments"], limit=200
        )
    assert_sound()
    sagas = dict(Order.objects.values_list("id", "plan__saga"))
    assert set(sagas.values()) == set(ONLY_IN_SAGA)
    for order, step in TimelineEvent.objects.values_list("saga", "step"):
        assert all(
            step not in steps for saga, steps in ONLY_IN_SAGA.items() if saga != sagas[order]
        )
    assert {status for status, _ in Order.objects.values_list("status", "id")} == {
        "fulfilled",
        "cancelled",
    }
    assert not Payment.objects.filter(status__in=("pending", "authorized")).exists()
    assert Order.objects.filter(id__in=load.cancelled).exists()
