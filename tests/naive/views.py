"""Views that place and cancel orders in the naive way."""

from uuid import UUID

from django.shortcuts import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.auth.authentication import authenticated_user
from api.requests.parsing import parse
from api.resources.creation import idempotency_key
from orders.models import Order
from orders.services import NewOrder
from tests.naive.orders import place
from tests.naive.tasks import cancel


class NaiveOrdersView(APIView):
    """Orders. Idempotency keys are supported, because the load generator sends them."""

    def post(self, request: Request) -> Response:
        """Place an order."""
        order = place(
            authenticated_user(request).id,
            idempotency_key(request, noun="order"),
            parse(request, NewOrder),
        )
        return Response({"id": str(order.id)}, 201)


class NaiveCancelView(APIView):
    """Cancels of orders."""

    def post(self, request: Request, pk: UUID) -> Response:
        """Cancel an open order. The payment is not refunded."""
        order = get_object_or_404(Order, pk=pk)
        cancel(order, "cancelled_by_customer")
        order.refresh_from_db()
        return Response({}, 200 if order.status == "cancelled" else 409)
