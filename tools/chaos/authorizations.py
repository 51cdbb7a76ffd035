"""The authorizations at the payment sandbox that wait for their capture."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx

__all__ = ["Authorization", "Authorizations"]

# Only the newest intents are listed, because most authorizations are captured within moments.
NEWEST = 100


class Authorization(NamedTuple):
    """An authorized payment intent. `amount` is in minor units."""

    intent: str
    order: str
    amount: int


class Authorizations:
    """Reads authorizations through the sandbox's API, each of them once."""

    def __init__(self, http: httpx.Client, api_key: str) -> None:
        """Read through a client whose base is the address of the sandbox."""
        self._http = http
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._seen: set[str] = set()

    def new_ones(self) -> Iterator[Authorization]:
        """Yield the authorizations that were not yielded before, oldest first."""
        for intent in reversed(self._newest()):
            if intent["status"] == "requires_capture" and intent["id"] not in self._seen:
                self._seen.add(intent["id"])
                yield Authorization(intent["id"], intent["metadata"]["order_id"], intent["amount"])

    def _newest(self) -> list[dict[str, Any]]:
        """Return the newest intents; none if a fault rule hits this call, too."""
        path, params = "/v1/payment_intents", {"limit": NEWEST}
        try:
            answer = self._http.get(path, params=params, headers=self._headers)
        except httpx.TransportError:
            return []
        return list(answer.json()["data"]) if answer.is_success else []
