"""Customers, products and orders, created over HTTP or directly in the tables."""

from typing import Any
from uuid import UUID, uuid4

import msgspec
from django.contrib.auth.models import Group, User
from django.db.models.functions import Now
from django.test import Client

from api.auth.tokens import issue_token
from orders.models import Inbox, Order, OrderLine, Product
from orders.saga import PLACE_ORDER
from orders.status import Status

ORDERS = "/api/v1/orders/"
PRODUCTS = "/api/v1/products/"
JSON = "application/json"

# The groups of a member of staff with every call of the API.
STAFF = ("viewer", "operator", "catalogue")


def user(username: str, *groups: str, is_staff: bool = False) -> User:
    """Return the user of a name: a member of staff, if groups are given."""
    staff = is_staff or bool(groups)
    found, _ = User.objects.get_or_create(username=username, defaults={"is_staff": staff})
    if groups:
        found.groups.set(Group.objects.filter(name__in=groups))
    return found


def client_of(username: str, *groups: str, is_staff: bool = False) -> Client:
    """Return a client with a token of a user, which shows an error of the server as a 500."""
    token = issue_token(user(username, *groups, is_staff=is_staff))
    return Client(headers={"Authorization": f"Bearer {token}"}, raise_request_exception=False)


def stocked(
    sku: str = "MUG", *, unit_amount: int = 1250, currency: str = "eur", active: bool = True
) -> Product:
    """Put a product into the catalogue."""
    return Product.objects.create(
        sku=sku, name=sku.title(), unit_amount=unit_amount, currency=currency, active=active
    )


def body_for(*lines: tuple[str, int], payment_method: str = "pm_card_visa") -> dict[str, Any]:
    """Return the body of a request for some lines of (SKU, quantity)."""
    wanted = [{"sku": sku, "quantity": quantity} for sku, quantity in lines or [("MUG", 1)]]
    return {"lines": wanted, "payment_method": payment_method}


def place(client: Client, body: Any = None, *, key: str | None = None) -> Any:
    """Place an order, with a new key unless one is given."""
    headers = {"Idempotency-Key": key or str(uuid4())}
    return client.post(
        ORDERS, body_for() if body is None else body, content_type=JSON, headers=headers
    )


def order(status: Status = Status.PENDING, *, of: str = "ada", **fields: Any) -> Order:
    """Insert an order of 2 mugs at 1250 with a status."""
    ended = (
        {"ended_at": Now(), "failure_code": "out_of_stock"} if status is Status.CANCELLED else {}
    )
    usual = {
        "amount": 2500,
        "currency": "eur",
        "payment_method": "pm_card_visa",
        "plan": msgspec.to_builtins(PLACE_ORDER.plan),
    }
    made = Order.objects.create(
        user=user(of),
        status=status,
        **(usual | ended | fields),
    )
    OrderLine.objects.create(order=made, sku="MUG", quantity=2, unit_amount=1250)
    return made


def pivot(of: Order, state: str) -> Inbox:
    """Write the inbox row of an order's pivot."""
    return Inbox.objects.create(
        saga=of.id, saga_started_at=of.created_at, step="orders.fulfil", state=state
    )


def path(of: Order | UUID | str, rest: str = "") -> str:
    """Return the path of an order."""
    return f"{ORDERS}{of.id if isinstance(of, Order) else of}/{rest}"


def fields(response: Any) -> dict[str, str]:
    """Return the fields that a problem names, with their codes."""
    assert response.headers["Content-Type"] == "application/problem+json"
    return {error["field"]: error["code"] for error in response.json().get("errors", ())}
