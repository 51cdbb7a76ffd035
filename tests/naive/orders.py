"""Placing an order. Its chain of tasks is sent after the transaction commits."""

from datetime import timedelta

import msgspec
from celery import chain
from django.db import transaction
from django.db.models.functions import Now

from orders.catalogue import Priced, price
from orders.models import IdempotencyKey, Order, OrderLine
from orders.placing import lookup
from orders.saga import PLACE_ORDER
from orders.services import NewOrder
from tests.naive.tasks import charge, fulfil, reserve


def place(user: int, key: str, new: NewOrder) -> Order:
    """Place an order, or return the earlier order with the same key."""
    with transaction.atomic():
        found = lookup(user, key, [line.sku for line in new.lines])
        if found.stored:
            return Order.objects.get(id=found.stored.resource)

        return _create(user, key, new, price(new.lines, found.prices))


def _create(user: int, key: str, new: NewOrder, priced: Priced) -> Order:
    order = Order.objects.create(
        user_id=user,
        amount=priced.amount,
        currency=priced.currency,
        payment_method=new.payment_method or "",
        plan=msgspec.to_builtins(PLACE_ORDER.plan),
        rescue_at=Now() + timedelta(days=1),
    )
    OrderLine.objects.bulk_create(
        OrderLine(order=order, **msgspec.structs.asdict(line)) for line in priced.lines
    )
    IdempotencyKey.objects.create(
        user_id=user, key=key, fingerprint=new.fingerprint(), order=order, body="{}"
    )
    steps = chain(*[step.si(str(order.id)) for step in (charge, reserve, fulfil)])
    transaction.on_commit(steps.delay)

    return order
