"""Orders and products over REST: views parse and answer, services commit."""

from typing import Any, ClassVar
from uuid import UUID

import msgspec
from django.db.models import QuerySet
from django.http import HttpResponse
from django.urls import reverse
from rest_framework import generics
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from api.authentication import user_of
from api.parsing import parse
from api.permissions import IsStaffOrReads
from api.problems import Problem
from orders import catalogue, selectors, services
from orders.api import openapi
from orders.api.filters import OrderFilters
from orders.api.kinds import KEY_IN_FLIGHT, KEY_REUSED, ORDER_FULFILLED, SKU_TAKEN
from orders.api.requests import NewProduct, ProductChanges, idempotency_key, new_order
from orders.api.serializers import OrderSerializer, ProductSerializer, TimelineEventSerializer
from orders.idempotency import KeyInFlight, KeyReused
from orders.models import Order, Product, TimelineEvent
from orders.status import Status

__all__ = ["CancelView", "OrderView", "OrdersView", "ProductView", "ProductsView", "TimelineView"]


@openapi.orders_view
class OrdersView(generics.ListAPIView[Order]):
    """Orders."""

    serializer_class = OrderSerializer
    filterset_class = OrderFilters
    rate_limits: ClassVar = {"POST": "orders"}

    def get_queryset(self) -> QuerySet[Order]:
        """Return the orders that the user may see."""
        return selectors.orders_of(self.request.user)

    def post(self, request: Request) -> HttpResponse:
        """Place an order. It is safe once this is answered; how it goes on, `GET orders/{id}/` says."""
        key, new = idempotency_key(request), new_order(request)
        try:
            placed = services.place_order(user_id=user_of(request).id, key=key, new=new, render=_render)
        except KeyInFlight as error:
            raise Problem(KEY_IN_FLIGHT, headers={"Retry-After": "1"}) from error
        except KeyReused as error:
            raise Problem(KEY_REUSED) from error
        return _created(placed)


@openapi.order_view
class OrderView(generics.RetrieveAPIView[Order]):
    """One order."""

    serializer_class = OrderSerializer

    def get_queryset(self) -> QuerySet[Order]:
        """Return the orders that the user may see: another's is not found."""
        return selectors.orders_of(self.request.user)


@openapi.timeline_view
class TimelineView(generics.ListAPIView[TimelineEvent]):
    """What happened to an order, oldest first."""

    serializer_class = TimelineEventSerializer
    ordering: ClassVar = ("at", "seq", "id")
    queryset = TimelineEvent.objects.none()  # for the schema

    def get_queryset(self) -> QuerySet[TimelineEvent]:
        """Return the order's events, if the user may see the order."""
        orders = selectors.orders_of(self.request.user).prefetch_related(None)
        order = generics.get_object_or_404(orders.only("id"), pk=self.kwargs["pk"])
        return selectors.timeline_of(order.id)


@openapi.cancel_view
class CancelView(generics.GenericAPIView[Order]):
    """Cancelling an order."""

    serializer_class = OrderSerializer
    queryset = Order.objects.none()  # for the schema

    def post(self, request: Request, pk: UUID) -> Response:
        """Cancel an order while it is not fulfilled: 202, then it is undone; 200 if it is cancelled already."""
        order = generics.get_object_or_404(selectors.orders_of(request.user), pk=pk)
        try:
            order = services.cancel_order(order)
        except services.OrderFulfilledError as error:
            raise Problem(ORDER_FULFILLED) from error
        return Response(OrderSerializer(order).data, 200 if order.status == Status.CANCELLED else 202)


@openapi.products_view
class ProductsView(generics.ListAPIView[Product]):
    """The catalogue."""

    serializer_class = ProductSerializer
    permission_classes = (IsStaffOrReads,)
    ordering: ClassVar = ("sku",)
    queryset = selectors.products()

    def post(self, request: Request) -> Response:
        """Add a product. Staff only."""
        new = parse(request, NewProduct)
        try:
            product = catalogue.add_product(msgspec.to_builtins(new))
        except catalogue.SkuTaken as error:
            raise Problem(SKU_TAKEN, f"There is a product {new.sku} already.") from error
        location = reverse("product-detail", args=[product.sku])
        return Response(ProductSerializer(product).data, 201, headers={"Location": location})


@openapi.product_view
class ProductView(generics.RetrieveAPIView[Product]):
    """One product."""

    serializer_class = ProductSerializer
    permission_classes = (IsStaffOrReads,)
    lookup_field = "sku"
    queryset = selectors.products()

    def patch(self, request: Request, sku: str) -> Response:
        """Change a product, for the orders to come. Staff only."""
        changes: dict[str, Any] = msgspec.to_builtins(parse(request, ProductChanges))
        catalogue.change_product(sku, changes)
        return Response(ProductSerializer(self.get_object()).data)


def _render(order: Order) -> str:
    return JSONRenderer().render(OrderSerializer(order).data).decode()


def _created(placed: services.Placed) -> HttpResponse:
    """Answer with the very bytes that are kept with the key."""
    headers = {"Location": reverse("order-detail", args=[placed.order_id])}
    if placed.replayed:
        headers["Idempotency-Replayed"] = "true"
    return HttpResponse(placed.body, status=201, content_type="application/json", headers=headers)
