"""The customers: they place orders over HTTP, insist with the same key until they are answered,
and write it down.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from tools.chaos.errands import Errand
from tools.chaos.record import Purchase, Record
from tools.local.processes import moments

__all__ = ["Crowd"]

CUSTOMERS = 8
# How long a customer insists, or holds back. Longer than anything may be down.
PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 0.1
BROKEN = "connection broken"


class Crowd:
    """Customers who share an account and an errand list."""

    def __init__(self, api: str, token: str, record: Record, *, most_open: int) -> None:
        """Take the address of the API, a token, and what to write down the answers in.

        With `most_open` orders open, customers hold back: else all faults would strike before
        anything had moved.
        """
        self.record = record
        self.most_open = most_open
        # trust_env: a proxy has no business between two programs of one machine.
        self._http = httpx.Client(
            base_url=f"{api}/api/v1/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
            trust_env=False,
        )

    def run(self, errands: Sequence[Errand]) -> None:
        """Do all errands, several at once, in about this order."""
        with ThreadPoolExecutor(CUSTOMERS, thread_name_prefix="customer") as customers:
            for _ in customers.map(self._do, errands):
                pass

    def _do(self, errand: Errand) -> None:
        purchase = self.record.purchases[errand.wish.key]
        if errand.deed == "place":
            self._hold_back()
            self._place(purchase)
            self.record.place_over(errand.wish.key)
            return
        purchase.over.wait()  # its order was begun before this errand, so this ends
        if errand.deed == "again":
            self._place(purchase)
        elif purchase.ids:
            self._cancel(purchase)

    def _hold_back(self) -> None:
        for _ in moments(PATIENCE_SECONDS, pause=PAUSE_SECONDS):
            if self.record.placed - self.record.ended < self.most_open:
                return

    def _place(self, purchase: Purchase) -> None:
        key = purchase.wish.key
        # 409: the request whose connection broke is still being handled.
        answer = self._insist(
            "orders/", again=(409,), headers={"Idempotency-Key": key}, json=purchase.wish.body
        )
        if answer is not None and answer.status_code == 201:
            self.record.confirmed(key, answer.json()["id"])
        elif answer is not None:
            self.record.odd(f"Order {key} was answered {answer.status_code}: {answer.text[:200]}")

    def _cancel(self, purchase: Purchase) -> None:
        purchase.cancel_asked = True
        order = min(purchase.ids)
        answer = self._insist(f"orders/{order}/cancel/")
        if answer is not None:
            purchase.cancel_answer = answer.status_code
        if answer is not None and answer.status_code not in {200, 202, 409}:
            self.record.odd(
                f"The cancel of {order} was answered {answer.status_code}: {answer.text[:200]}"
            )

    def _insist(
        self, url: str, *, again: tuple[int, ...] = (), **options: object
    ) -> httpx.Response | None:
        """Send a request until it is answered; return None when patience is at its end."""
        for _ in moments(PATIENCE_SECONDS, pause=PAUSE_SECONDS):
            answer = self._send(url, options)
            if answer is not None and answer.status_code < 500 and answer.status_code not in again:
                return answer
        self.record.odd(f"POST {url} was not answered for {PATIENCE_SECONDS:.0f} s")
        return None

    def _send(self, url: str, options: dict[str, object]) -> httpx.Response | None:
        try:
            answer = self._http.post(url, **options)  # type: ignore[arg-type]
        except httpx.TransportError:
            self.record.heard(BROKEN)
            return None
        self.record.heard(str(answer.status_code))
        if answer.status_code >= 500 and answer.status_code != 503:
            self.record.odd(
                f"POST {url} was answered {answer.status_code}, where 503 is the answer to a fault"
            )
        return answer
