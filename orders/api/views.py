"""The REST views of orders. Views parse and answer; services commit."""

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

from django.contrib.auth.models import User
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from api.auth.authentication import authenticated_user
from api.problems.exceptions import Problem
from api.resources.creation import answer_made, idempotency_key, key_problems
from api.resources.records import Made
from api.resources.timeline import SagaTimelineView
from api.resources.views import SagaCancelView, SagaListView, SagaView
from orders import catalogue, services
from orders.api import openapi
from orders.api.filters import OrderFilters
from orders.api.problem_types import AMOUNT_CHANGED, NOT_CHARGEABLE, ORDER_FULFILLED
from orders.api.requests import new_order
from orders.api.resource import ORDERS
from orders.api.serializers import TimelineEventSerializer
from orders.models import Order
from orders.staff_cancel import chosen_staff_cancel
from orders.status import Status

__all__ = ["CancelView", "OrderView", "OrdersView", "TimelineView"]


@openapi.orders_view
class OrdersView(SagaListView):
    """Lists and places orders."""

    resource = ORDERS
    filterset_class = OrderFilters
    rate_limits: ClassVar = {"POST": "orders"}
    orderings: ClassVar = {"-created_at": ("-id",), "created_at": ("id",)}

    def post(self, request: Request) -> HttpResponse:
        """Place an order. Once this is answered, the order is stored; `GET` shows its progress.

        With `Prefer: wait` the answer shows the order after the wait, also for a reused key.
        Without it, a reused key gets the original answer, byte for byte.

        With `expected_amount` or `expected_currency` the order is placed only as the customer
        agreed. Both belong to the order that a key is bound to.
        """
        user = authenticated_user(request).pk
        key, new = idempotency_key(request, noun=ORDERS.noun), new_order(request)
        try:
            with key_problems(ORDERS.noun):
                placed = services.place_order(
                    user_id=user,
                    key=key,
                    new=new,
                    render=lambda order: ORDERS.render(order, reader=user),
                )
        except catalogue.NotChargeable as error:
            raise Problem(NOT_CHARGEABLE, f"{error} Nothing was placed.") from error
        except services.AmountChanged as error:
            present = {"amount": error.amount, "currency": error.currency}
            raise Problem(AMOUNT_CHANGED, members=present) from error
        made = Made(UUID(placed.order_id), placed.body, replayed=placed.replayed)
        return answer_made(request, ORDERS, made)


@openapi.order_view
class OrderView(SagaView):
    """Reads one order."""

    resource = ORDERS


@openapi.timeline_view
class TimelineView(SagaTimelineView):
    """Lists or streams the events of an order."""

    resource = ORDERS
    serializer_class = TimelineEventSerializer


@openapi.cancel_view
class CancelView(SagaCancelView):
    """Cancels an order: one's own as a customer, or another's as the shop."""

    resource = ORDERS

    def post(self, request: Request, pk: UUID) -> Response:
        """Cancel an order that is not fulfilled.

        202 means that its steps will be undone; 200 means that it was cancelled before.
        If payments are authorized first, 202 means that the cancel was requested. It comes too late
        for a payment that is being captured: then the order goes from `cancelling` to `fulfilled`.

        Staff cancel the order of a customer as the shop. They need the permissions
        `console.add_run` and `orders.view_order`, and give a `reason`. If the refund needs a second
        person, the answer is 202 with the header `Awaiting-Approval`, and the order stays as it is
        until that person approves.
        """
        try:
            return super().post(request, pk)
        except services.OrderFulfilledError as error:
            raise Problem(ORDER_FULFILLED) from error

    def is_cancelled(self, row: Order) -> bool:
        """Tell whether the order is cancelled."""
        return row.status == Status.CANCELLED

    def cancel_own(self, row: Order) -> None:
        """Cancel the order for its customer. Raises `OrderFulfilledError`."""
        services.cancel_order(row)

    def cancel_as_staff(self, user: User, row: Order, reason: str) -> Mapping[str, str]:
        """Cancel a customer's order as the shop. The function of the console asks the policy.

        Raises `NotPermitted`, `Rejected` or `OrderFulfilledError`.
        """
        cancelled = chosen_staff_cancel()(row.id, by=user, reason=reason, via="api")
        return {"Awaiting-Approval": str(cancelled.run_id)} if cancelled.awaiting_approval else {}
