"""A client of the REST API for the demo's staff and customer."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx

from tools.local.demo.order_kinds import OrderRequest, Product
from tools.local.errors import LocalError
from tools.local.processes import poll

__all__ = ["Client", "DemoFailed", "Json"]

Json = dict[str, Any]
RETRY_SECONDS = 20.0


class DemoFailed(LocalError):
    """The API gave an answer that stops the demo."""


class Client:
    """A user of the API, with a token."""

    def __init__(self, api: str, *, username: str, password: str) -> None:
        """Log in; raise DemoFailed if the API refuses the name or the password."""
        # trust_env: no proxy between two programs on one machine.
        self._http = httpx.Client(base_url=f"{api}/api/v1/", timeout=10, trust_env=False)
        token = self._post("auth/token/", {"username": username, "password": password})["token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def add_product(self, product: Product, *, sku: str) -> None:
        """Add a product to the catalogue as `sku`, and its pieces to the stock."""
        price = {"unit_amount": product.unit_amount, "currency": "eur"}
        self._post("products/", {"sku": sku, "name": product.name, **price})

        if product.stock:
            self._post(
                f"stock/{sku}/adjustments/", {"quantity": product.stock, "reason": "delivery"}
            )

    def place(self, request: OrderRequest, *, skus: dict[str, str]) -> Json:
        """Place an order and return it. The idempotency key prevents a second order on retries."""
        lines = [{"sku": skus[sku], "quantity": request.quantity} for sku in request.skus]
        body: Json = {"lines": lines}
        if request.payment_method:
            body["payment_method"] = request.payment_method
        return self._post("orders/", body, headers={"Idempotency-Key": str(uuid4())})

    def cancel(self, order: Json) -> Json:
        """Cancel an order."""
        return self._post(f"orders/{order['id']}/cancel/")

    def request_return(self, order: Json) -> Json:
        """Request the return of all pieces of an order, and return it."""
        lines = [{"sku": line["sku"], "quantity": line["quantity"]} for line in order["lines"]]
        body = {"lines": lines, "reason": "It does not fit."}
        headers = {"Idempotency-Key": str(uuid4())}
        return self._post(f"orders/{order['id']}/returns/", body, headers=headers)

    def cancel_return(self, returned: Json) -> Json:
        """Cancel a return."""
        return self._post(f"returns/{returned['id']}/cancel/")

    def receive(self, returned: Json, lines: list[Json]) -> Json:
        """Answer the wait of a return for its goods, as staff."""
        body = {
            "type": "return.goods_received",
            "data": {"lines": lines},
            "reason": "Counted at the ramp.",
        }
        return self._post(f"sagas/{returned['id']}/signals/returns.receive/", body)

    def read_return(self, returned: Json) -> Json:
        """Read a return again."""
        return _json(self._request("GET", f"returns/{returned['id']}/"))

    def orders_since(self, moment: str) -> Iterator[Json]:
        """Yield the user's orders placed after a moment."""
        return self._pages("orders/", {"created_after": moment, "limit": "100"})

    def timeline(self, order: Json) -> list[Json]:
        """Return the timeline of an order, oldest entry first."""
        return list(self._pages(f"orders/{order['id']}/timeline/", {"limit": "100"}))

    def stock(self, sku: str) -> Json | None:
        """Return a SKU's stock, or None if it never had any."""
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
        """Send a request; repeat it after connection errors and server errors."""
        if "params" in options and not options["params"]:
            # Empty parameters would remove the query of a next page's URL.
            del options["params"]

        problem = ""
        for _ in poll(RETRY_SECONDS, pause=0.2):
            try:
                answer = self._http.request(method, url, **options)
            except httpx.TransportError as error:
                problem = repr(error)
                continue

            if answer.status_code < 500:
                return answer

            problem = answer.text

        raise DemoFailed(
            f"The API has not answered {method} {url} for {RETRY_SECONDS:.0f} s. "
            f"The last problem: {problem}"
        )


def _json(answer: httpx.Response) -> Json:
    if answer.is_success:
        return dict(answer.json())

    raise DemoFailed(
        f"The API answered {answer.request.method} {answer.request.url} with status "
        f"{answer.status_code}: {answer.text}"
    )
