"""Placing and cancelling: the order commits, and on commit its chain is sent. What could be more natural?"""

from datetime import timedelta
from uuid import UUID

import msgspec
from celery import chain
from django.db import transaction
from django.db.models.functions import Now
from django.shortcuts import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.authentication import user_of
from api.parsing import parse
from orders import idempotency
from orders.api.requests import idempotency_key
from orders.catalogue import price
from orders.models import Order, OrderLine
from orders.saga import PLACE_ORDER
from orders.services import NewOrder
from tests.naive.tasks import cancel, charge, fulfil, reserve


class NaiveOrdersView(APIView):
    """Orders. With idempotency keys, for the customers who compare the two shops are the same."""

    def post(self, request: Request) -> Response:
        """Place an order."""
        user, key, new = user_of(request).id, idempotency_key(request), parse(request, NewOrder)
        with transaction.atomic():
            idempotency.hold(user, key)
            known = idempotency.recall(user, key, new.fingerprint())
            order = known.order if known else _create(user, key, new)
        return Response({"id": str(order.id)}, 201)


class NaiveCancelView(APIView):
    """Cancelling."""

    def post(self, request: Request, pk: UUID) -> Response:
        """Cancel an order that is still open; nobody gives the money back."""
        order = get_object_or_404(Order, pk=pk)
        cancel(order, "cancelled_by_customer")
        order.refresh_from_db()
        return Response({}, 200 if order.status == "cancelled" else 409)


def _create(user: int, key: str, new: NewOrder) -> Order:
    priced = price(new.lines)
    order = Order.objects.create(
        user_id=user,
        amount=priced.amount,
        currency=priced.currency,
        payment_method=new.payment_method,
        plan=msgspec.to_builtins(PLACE_ORDER.plan),
        rescue_at=Now() + timedelta(days=1),
    )
    OrderLine.objects.bulk_create(OrderLine(order=order, **msgspec.structs.asdict(line)) for line in priced.lines)
    idempotency.remember(key=key, fingerprint=new.fingerprint(), order=order, body="{}")
    steps = chain(*[step.si(str(order.id)) for step in (charge, reserve, fulfil)])
    transaction.on_commit(steps.delay)
    return order
