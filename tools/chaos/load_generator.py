"""Simulated customers: place and return orders over HTTP, and record each answer.

A customer repeats an unanswered request with the same idempotency key.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from tools.chaos.client_record import ClientRecord, CustomerOrder
from tools.chaos.workload import Operation
from tools.local.processes import poll

__all__ = ["LoadGenerator"]

CUSTOMERS = 8
# How long a customer repeats a request, or waits to place one. Longer than any outage.
PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 0.1
BROKEN = "connection broken"


def is_in_flight(answer: httpx.Response) -> bool:
    """Tell whether the API is still handling the request whose connection broke."""
    if answer.status_code != httpx.codes.CONFLICT:
        return False
    problem = str(answer.json().get("type"))
    return problem.endswith("/idempotency-key-in-flight")


class LoadGenerator:
    """Runs a list of operations with several customers that share one account."""

    def __init__(self, api: str, token: str, record: ClientRecord, *, most_open: int) -> None:
        """Send requests to `api` with `token`, and write the answers to `record`.

        Customers wait while `most_open` orders are open. Otherwise all faults would be injected
        before the workers had processed any order.
        """
        self.record = record
        self.most_open = most_open
        # trust_env: no proxy between two programs on one machine.
        self._http = httpx.Client(
            base_url=f"{api}/api/v1/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
            trust_env=False,
        )

    def run(self, operations: Sequence[Operation]) -> None:
        """Run all operations, several at once, in roughly this order."""
        with ThreadPoolExecutor(CUSTOMERS, thread_name_prefix="customer") as customers:
            for _ in customers.map(self._do, operations):
                pass

    def _do(self, operation: Operation) -> None:
        customer_order = self.record.orders[operation.request.key]
        if operation.verb == "place":
            self._wait_for_capacity()
            self._place(customer_order)
            self.record.placing_finished(operation.request.key)
            return

        # The placing of this order started earlier, so it finishes.
        customer_order.placed.wait()
        if operation.verb == "again":
            self._place(customer_order)
        elif operation.verb == "return" and customer_order.ids:
            self._return(customer_order)
        elif customer_order.ids:
            self._cancel(customer_order)

    def _wait_for_capacity(self) -> None:
        for _ in poll(PATIENCE_SECONDS, pause=PAUSE_SECONDS):
            if self.record.placed - self.record.ended < self.most_open:
                return

    def _place(self, customer_order: CustomerOrder) -> None:
        key = customer_order.request.key
        answer = self._send_until_answered(
            "orders/",
            headers={"Idempotency-Key": key},
            json=customer_order.request.body,
        )
        if answer is not None and answer.status_code == 201:
            self.record.record_order(key, answer.json()["id"])
        elif answer is not None:
            self.record.add_unexpected(
                f"Order {key} was answered {answer.status_code}: {answer.text[:200]}"
            )

    def _cancel(self, customer_order: CustomerOrder) -> None:
        customer_order.cancel_asked = True
        order = min(customer_order.ids)
        answer = self._send_until_answered(f"orders/{order}/cancel/")
        if answer is not None:
            customer_order.cancel_answer = answer.status_code

        if answer is not None and answer.status_code not in {200, 202, 409}:
            self.record.add_unexpected(
                f"The cancel of {order} was answered {answer.status_code}: {answer.text[:200]}"
            )

    def _return(self, customer_order: CustomerOrder) -> None:
        """Return all pieces of an order. Staff receive them, and write off one of each two."""
        request, order = customer_order.request, min(customer_order.ids)
        wanted = [{"sku": sku, "quantity": request.quantity} for sku in request.skus]
        answer = self._send_until_answered(
            f"orders/{order}/returns/",
            headers={"Idempotency-Key": f"return-{request.key}"},
            json={"lines": wanted, "reason": "It does not fit."},
        )
        if answer is None or answer.status_code == 409:  # not fulfilled, or not yet
            return
        if answer.status_code != 201:
            self.record.add_unexpected(
                f"The return of {order} was answered {answer.status_code}: {answer.text[:200]}"
            )
            return

        returned = answer.json()["id"]
        customer_order.returns.add(returned)
        written_off = request.quantity - 1
        self._receive(
            returned,
            [
                {"sku": sku, "restock": request.quantity - written_off, "write_off": written_off}
                for sku in request.skus
            ],
        )

    def _receive(self, returned: str, lines: list[dict[str, object]]) -> None:
        answer = self._send_until_answered(
            f"sagas/{returned}/signals/returns.receive/",
            json={
                "type": "return.goods_received",
                "data": {"lines": lines},
                "reason": "Counted at the ramp.",
            },
        )
        if answer is not None and answer.status_code not in {200, 202}:
            self.record.add_unexpected(
                f"The goods of {returned} were answered {answer.status_code}: {answer.text[:200]}"
            )

    def _send_until_answered(self, url: str, **options: object) -> httpx.Response | None:
        """Repeat a request until it is answered; return None after PATIENCE_SECONDS."""
        for _ in poll(PATIENCE_SECONDS, pause=PAUSE_SECONDS):
            answer = self._send(url, options)
            if answer is not None and answer.status_code < 500 and not is_in_flight(answer):
                return answer

        self.record.add_unexpected(f"POST {url} was not answered for {PATIENCE_SECONDS:.0f} s")
        return None

    def _send(self, url: str, options: dict[str, object]) -> httpx.Response | None:
        try:
            answer = self._http.post(url, **options)  # type: ignore[arg-type]
        except httpx.TransportError:
            self.record.count_answer(BROKEN)
            return None

        self.record.count_answer(str(answer.status_code))
        if answer.status_code >= 500 and answer.status_code != 503:
            self.record.add_unexpected(
                f"POST {url} was answered {answer.status_code}, but a fault must be answered 503"
            )

        return answer
