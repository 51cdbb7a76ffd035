"""Operators, orders for them to act on, and the outcomes of their runs."""

from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from console.bulk_actions import runs, worker
from console.models import Run
from orders.models import Order
from orders.status import Status
from payments.models import Inbox, Payment
from sagas.models import TrackedSaga
from tests.integration.audit import harness as walked
from tests.integration.orders import harness

FAR = "2099-01-01T00:00:00Z"
LIST = "/admin/orders/order/"


def member(name: str, *groups: str) -> User:
    """Return a member of staff who is in these groups."""
    return harness.user(name, *groups, is_staff=True)


def stuck(**fields: Any) -> Order:
    """Write an order whose charge waits for its next attempt, which is far away."""
    order = harness.order(Status.PENDING, needs_attention=True, **fields)
    Inbox.objects.create(
        saga=order.id,
        saga_started_at=order.created_at,
        step="payments.charge",
        state="waiting",
        attempts=3,
        error="no luck",
        due_at=FAR,
        send_at=FAR,
    )
    return order


def paid(amount: int = 2500) -> Order:
    """Place an order for real, and have it charged; the amount is as payments has it."""
    walked.open_shop()
    order = walked.place("MUG")
    walked.deliver("payments.charge", order)
    Payment.objects.filter(order_id=order).update(amount=amount, captured_amount=amount)
    return Order.objects.get(id=order)


def confirmed(
    action: str, *orders: TrackedSaga, by: User, reason: str = "The gateway is back."
) -> Run:
    """Have an operator make a run over these orders, and confirm it as it is shown."""
    run = runs.draft(action, [order.pk for order in orders], by=by)
    return runs.confirm(run.id, by=by, reason=reason, fingerprint=runs.preview(run).fingerprint)


def work() -> None:
    """Work everything off."""
    while worker.work_once():
        pass


def outcomes(run: Run) -> list[tuple[str, str]]:
    """Return what came of each order of a run."""
    return list(run.items.order_by("id").values_list("state", "outcome"))


def select(client: Client, action: str, *orders: Order) -> Any:
    """Choose an action for these orders in the list, and return the page that follows."""
    data = {"action": action, "_selected_action": [str(order.id) for order in orders]}
    return client.post(LIST, data, follow=True)
