"""The REST API as the demo's staff and customer use it."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx

from tools.local.demo.script import Product, Wish
from tools.local.errors import LocalError
from tools.local.processes import moments

__all__ = ["Client", "DemoFailed", "Json"]

Json = dict[str, Any]
RETRY_SECONDS = 20.0


class DemoFailed(LocalError):
    """The API gave an answer that the demo cannot go on with."""


class Client:
    """A user of the API, with a token."""

    def __init__(self, api: str, *, username: str, password: str) -> None:
        """Log in; raise DemoFailed where name and password are not accepted."""
        # trust_env: a proxy has no business between two programs of one machine.
        self._http = httpx.Client(base_url=f"{api}/api/v1/", timeout=10, trust_env=False)
        token = self._post("auth/token/", {"username": username, "password": password})["token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def add_product(self, product: Product, *, sku: str) -> None:
        """Put a product into the catalogue under `sku`, and its pieces into the stock."""
        price = {"unit_amount": product.unit_amount, "currency": "eur"}
        self._post("products/", {"sku": sku, "name": product.name, **price})
        if product.stock:
            self._post(
                f"stock/{sku}/adjustments/", {"quantity": product.stock, "reason": "delivery"}
            )

    def place(self, wish: Wish, *, skus: dict[str, str]) -> Json:
        """Place an order and return it. Whatever happens on the way, its key makes it one order."""
        lines = [{"sku": skus[sku], "quantity": wish.quantity} for sku in wish.skus]
        body = {"lines": lines, "payment_method": wish.payment_method}
        return self._post("orders/", body, headers={"Idempotency-Key": str(uuid4())})

    def cancel(self, order: Json) -> Json:
        """Cancel an order."""
        return self._post(f"orders/{order['id']}/cancel/")

    def orders_since(self, moment: str) -> Iterator[Json]:
        """Yield the user's orders placed after a moment."""
        return self._pages("orders/", {"created_after": moment, "limit": "100"})

    def timeline(self, order: Json) -> list[Json]:
        """Return what happened to an order, oldest first."""
        return list(self._pages(f"orders/{order['id']}/timeline/", {"limit": "100"}))

    def stock(self, sku: str) -> Json | None:
        """Return a SKU's stock, or None where it never had any."""
        answer = self._request("GET", f"stock/{sku}/")
        return None if answer.status_code == 404 else _json(answer)

    def _pages(self, url: str | None, params: dict[str, str]) -> Iterator[Json]:
        while url:
            page = _json(self._request("GET", url, params=params))
            yield from page["results"]
            url, params = page["next"], {}

    def _post(
        self, url: str, body: Json | None = None, *, headers: dict[str, str] | None = None
    ) -> Json:
        return _json(self._request("POST", url, json=body, headers=headers))

    def _request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send a request, again where the answer may be another one the next time."""
        if "params" in options and not options["params"]:
            del options[
                "params"
            ]  # they would take those away that stand in the address of a next page
        trouble = ""
        for _ in moments(RETRY_SECONDS, pause=0.2):
            try:
                answer = self._http.request(method, url, **options)
            except httpx.TransportError as error:
                trouble = repr(error)
                continue
            if answer.status_code < 500:
                return answer
            trouble = answer.text
        raise DemoFailed(
            f"{method} {url} has not been answered for {RETRY_SECONDS:.0f} s: {trouble}"
        )


def _json(answer: httpx.Response) -> Json:
    if answer.is_success:
        return dict(answer.json())
    raise DemoFailed(
        f"{answer.request.method} {answer.request.url} was answered {answer.status_code}: {answer.text}"
    )
