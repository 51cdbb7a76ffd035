"""Operators, orders that are stuck, and runs over them."""

from django.contrib.auth.models import Group

from console import runs
from orders.status import Status
from payments.models import Inbox
from tests.integration.orders import shop

FAR = "2099-01-01T00:00:00Z"


def member(name, *groups):
    person = shop.user(name, is_staff=True)
    person.groups.set(Group.objects.filter(name__in=groups))
    return person


def stuck(**fields):
    """Write an order whose charge waits for its next try, which is far away."""
    order = shop.order(Status.PENDING, needs_attention=True, **fields)
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


def confirmed(action, *orders, by, reason="The gateway is back."):
    run = runs.begin(action, [order.id for order in orders], by=by)
    return runs.confirm(run.id, by=by, reason=reason, seen=runs.radius_now(run).fingerprint)


def work():
    """Work everything off."""
    while runs.work_once():
        pass
