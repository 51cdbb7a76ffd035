"""A customer over HTTP. Unanswered requests are repeated with the same key."""

from contextlib import suppress
from uuid import UUID, uuid4

import httpx
from django.contrib.auth.models import User

from api.auth.tokens import issue_token
from tests.faults.full_system import FullSystem

__all__ = ["Customer"]

# Seconds. Longer than any answer takes, and shorter than the freeze of a process.
TIMEOUT_SECONDS = 3


class Customer:
    """A customer of the API at `url`."""

    def __init__(self, system: FullSystem, name: str = "ada", url: str = "") -> None:
        self.system = system
        self.url = url or system.url
        user, _ = User.objects.get_or_create(username=name)
        self.headers = {"Authorization": f"Bearer {issue_token(user)}"}

    def request_order(
        self, key: str, *, sku: str = "MUG", quantity: int = 1, method: str = "pm_card_visa"
    ) -> httpx.Response | None:
        """Send an order once; return None if the connection breaks or no answer comes."""
        wanted = {"lines": [{"sku": sku, "quantity": quantity}], "payment_method": method}
        return self._post("/api/v1/orders/", wanted, {"Idempotency-Key": key})

    def request_cancel(self, order: UUID) -> httpx.Response | None:
        """Send a cancel request once."""
        return self._post(f"/api/v1/orders/{order}/cancel/", None, {})

    def place(self, *, sku: str = "MUG", quantity: int = 1, method: str = "pm_card_visa") -> UUID:
        """Repeat an order until it is answered; return its id."""
        key = str(uuid4())

        def placed() -> UUID | None:
            answer = self.request_order(key, sku=sku, quantity=quantity, method=method)
            return (
                UUID(answer.json()["id"])
                if answer is not None and answer.status_code == 201
                else None
            )

        return self.system.until(placed, "the order is answered") or UUID(int=0)

    def cancel_until_answered(self, order: UUID) -> None:
        """Repeat a cancel request until it is answered."""

        def answered() -> bool:
            answer = self.request_cancel(order)
            return answer is not None and answer.status_code in {200, 202}

        self.system.until(answered, "the cancel is answered")

    def _post(self, path: str, body: object, headers: dict[str, str]) -> httpx.Response | None:
        with suppress(httpx.TransportError):
            url, headers = f"{self.url}{path}", self.headers | headers
            return httpx.post(
                url, json=body, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False
            )

        return None
