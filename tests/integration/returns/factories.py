"""Fulfilled orders, and requests to return parts of them, through the real services."""

from itertools import count
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Permission, User
from django.test import override_settings

from orders.models import Order
from orders.saga import PLACE_ORDER
from returns.events import GoodsReceived, LineReceived
from returns.models import Return
from returns.services import LineToReturn, NewReturn, give_goodwill, request_return
from sagas.testing import story
from staff.policy import Shell
from tests.integration.audit.harness import open_free_shop, open_shop, place

ACCEPT, CLOSE, COMPLETE = "returns.accept", "returns.close", "returns.complete"
APPROVE, RECEIVE = "returns.approve", "returns.receive"
REFUND, RESTOCK = "payments.refund_part", "inventory.restock"

numbers = count()


def fulfilled_order(*skus: str) -> Order:
    """Return an order of two pieces of each SKU that is charged and shipped."""
    open_shop()
    told = story(PLACE_ORDER, lambda: place(*skus or ("MUG",), first="charge")).run()
    told.expect(ended="done")
    return Order.objects.get(id=told.saga)


def fulfilled_free_order(*skus: str) -> Order:
    """Return an order of two pieces of each SKU, by default of a gift, in a shop with gifts."""
    open_free_shop()
    with override_settings(FREE_PRODUCTS=True):
        told = story(PLACE_ORDER, lambda: place(*skus or ("GIFT",), first="charge")).run()
    told.expect(ended="done")
    return Order.objects.get(id=told.saga)


def new_return(**pieces: int) -> NewReturn:
    """Return a request of some pieces, by SKU."""
    lines = tuple(LineToReturn(sku, quantity) for sku, quantity in pieces.items())
    return NewReturn(lines, "It does not fit.")


def ask(order: Order, *, key: str = "", **pieces: int) -> UUID:
    """Request a return as the customer of an order does; return its id."""
    requested = request_return(
        user_id=order.user_id,
        order_id=order.id,
        key=key or f"return-{next(numbers)}",
        new=new_return(**pieces),
        render=lambda row: str(row.id),
    )
    return requested.return_id


def propose(order: Order, amount: int) -> UUID:
    """Propose goodwill at a shell; return its id."""
    return give_goodwill(
        Shell("eve"), order_id=order.id, amount=amount, reason="Late.", via="command"
    ).id


def received(**pieces: Any) -> GoodsReceived:
    """Return the answer of staff: by SKU the pieces to restock, or (restock, write off)."""
    lines = []
    for sku, found in pieces.items():
        restock, write_off = found if isinstance(found, tuple) else (found, 0)
        lines.append(LineReceived(sku, restock, write_off))
    return GoodsReceived(lines=tuple(lines))


def state_of(return_id: UUID) -> tuple[str, int, str]:
    """Return the status, the amount and the failure code of a return."""
    row = Return.objects.get(id=return_id)
    return row.status, row.amount, row.failure_code


def staff(name: str, *permissions: str) -> User:
    """Return a member of staff with some permissions of Django."""
    user = User.objects.create_user(name, is_staff=True)
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=app, codename=codename)
        )
    return user
