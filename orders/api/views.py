"""The REST views of orders and products. Views parse and answer; services commit."""

import logging
from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from django.db import Error
from django.db.models import QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.cache import patch_vary_headers, set_response_etag
from rest_framework import generics
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from api.auth.authentication import authenticated_user
from api.auth.permissions import IsStaffOrReads
from api.auth.roles import reads_everything
from api.problems.exceptions import Problem
from api.requests.parsing import parse
from api.requests.prefer import preferred_wait
from api.requests.strict_query import check_query
from api.responses.etag import CACHED_PRIVATELY, add_etag, compare_etag
from api.responses.event_stream import EventStreamRenderer, event_stream
from api.responses.long_poller import TooManyWaiters, disconnect_check
from orders import catalogue, selectors, services
from orders.api import openapi
from orders.api.filters import OrderFilters
from orders.api.problem_types import (
    AMOUNT_CHANGED,
    KEY_IN_FLIGHT,
    KEY_REUSED,
    NOT_CHARGEABLE,
    ORDER_FULFILLED,
    SKU_TAKEN,
    TOO_MANY_WAITING,
)
from orders.api.requests import NewProduct, ProductChanges, idempotency_key, new_order
from orders.api.serializers import OrderSerializer, ProductSerializer, TimelineEventSerializer
from orders.api.timeline_stream import event_resumed_after, stream_events
from orders.idempotency import KeyInFlight, KeyReused
from orders.long_polling import LONG_POLLER, order_version, wait_until_decided
from orders.models import Order, Product, TimelineEvent
from orders.payment_summaries import read_payments
from orders.status import Status

__all__ = ["CancelView", "OrderView", "OrdersView", "ProductView", "ProductsView", "TimelineView"]

logger = logging.getLogger(__name__)

# Seconds after which a client should try again if all slots are taken.
FULL_RETRY_AFTER = "5"


@openapi.orders_view
class OrdersView(generics.ListAPIView[Order]):
    """Lists and places orders."""

    serializer_class = OrderSerializer
    filterset_class = OrderFilters
    rate_limits: ClassVar = {"POST": "orders"}
    orderings: ClassVar = {"-created_at": ("-id",), "created_at": ("id",)}

    def get_queryset(self) -> QuerySet[Order]:
        """Return the orders that the user may see."""
        return selectors.visible_orders(self.request.user)

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List orders; for staff, with their payments."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        context = _payments_for(request, page)
        return self.get_paginated_response(OrderSerializer(page, many=True, context=context).data)

    def post(self, request: Request) -> HttpResponse:
        """Place an order. Once this is answered, the order is stored; `GET` shows its progress.

        With `Prefer: wait` the answer shows the order after the wait, also for a reused key.
        Without it, a reused key gets the original answer, byte for byte.

        With `expected_amount` or `expected_currency` the order is placed only as the customer
        agreed. Both belong to the order that a key is bound to.
        """
        key, new = idempotency_key(request), new_order(request)
        try:
            placed = services.place_order(
                user_id=authenticated_user(request).id, key=key, new=new, render=_render
            )
        except KeyInFlight as error:
            raise Problem(KEY_IN_FLIGHT, headers={"Retry-After": "1"}) from error
        except KeyReused as error:
            raise Problem(KEY_REUSED) from error
        except catalogue.NotChargeable as error:
            raise Problem(NOT_CHARGEABLE, f"{error} Nothing was placed.") from error
        except services.AmountChanged as error:
            present = {"amount": error.amount, "currency": error.currency}
            raise Problem(AMOUNT_CHANGED, members=present) from error
        return _created(placed, *_answer_after_wait(request, placed))


@openapi.order_view
class OrderView(generics.RetrieveAPIView[Order]):
    """Reads one order."""

    serializer_class = OrderSerializer

    def get_queryset(self) -> QuerySet[Order]:
        """Return the orders that the user may see."""
        return selectors.visible_orders(self.request.user)

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Get one order; with `Prefer: wait`, once it is fulfilled or cancelled.

        `If-None-Match` is compared after the wait.
        """
        order = self.get_object()
        seconds = _wait_as_preferred(request, order.id)
        if seconds:
            order = self.get_object()
        shown = OrderSerializer(order, context=_payments_for(request, [order]))
        response = Response(shown.data, headers=_applied(seconds))
        patch_vary_headers(response, ["Prefer"])
        return compare_etag(request, response)


@openapi.timeline_view
class TimelineView(generics.ListAPIView[TimelineEvent]):
    """Lists or streams the events of an order."""

    serializer_class = TimelineEventSerializer
    renderer_classes = (JSONRenderer, EventStreamRenderer)
    ordering: ClassVar = ("at", "seq", "id")
    queryset = TimelineEvent.objects.none()  # for the schema

    def get_queryset(self) -> QuerySet[TimelineEvent]:
        """Return the order's events, if the user may see the order."""
        orders = selectors.visible_orders(self.request.user).prefetch_related(None)
        order = generics.get_object_or_404(orders.only("id"), pk=self.kwargs["pk"])
        return selectors.timeline_of(order.id)

    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        """Get the events of an order, oldest first; or, as `text/event-stream`, until it has ended.

        The stream has the same items, in the order of recording. It ends with the order, or after
        ten minutes: then resume with `Last-Event-ID`. 204 means that no events are left.
        """
        if isinstance(request.accepted_renderer, EventStreamRenderer):
            return self._stream(request)
        return self.list(request, *args, **kwargs)

    def _stream(self, request: Request) -> HttpResponseBase:
        check_query(request, ())
        self.get_queryset()  # raises Http404 for an order that the user may not see
        order: UUID = self.kwargs["pk"]
        last = event_resumed_after(request, order)
        if last and _nothing_left(order, last):
            return Response(status=204)
        if request.method == "HEAD":
            return event_stream(iter(()), closing=lambda: None)
        try:
            slot = LONG_POLLER.acquire(disconnect_check(request))
        except TooManyWaiters as error:
            raise Problem(TOO_MANY_WAITING, headers={"Retry-After": FULL_RETRY_AFTER}) from error
        return event_stream(stream_events(order, after=last, slot=slot), closing=slot.release)


@openapi.cancel_view
class CancelView(generics.GenericAPIView[Order]):
    """Cancels an order."""

    serializer_class = OrderSerializer
    queryset = Order.objects.none()  # for the schema

    def post(self, request: Request, pk: UUID) -> Response:
        """Cancel an order that is not fulfilled.

        202 means that its steps will be undone; 200 means that it was cancelled before.
        If payments are authorized first, 202 means that the cancel was requested. It comes too late
        for a payment that is being captured: then the order goes from `cancelling` to `fulfilled`.
        """
        order = generics.get_object_or_404(selectors.visible_orders(request.user), pk=pk)
        try:
            order = services.cancel_order(order)
        except services.OrderFulfilledError as error:
            raise Problem(ORDER_FULFILLED) from error
        location = {"Content-Location": reverse("order-detail", args=[order.id])}
        status = 200 if order.status == Status.CANCELLED else 202
        return add_etag(Response(OrderSerializer(order).data, status, headers=location))


@openapi.products_view
class ProductsView(generics.ListAPIView[Product]):
    """Lists and adds products."""

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
            raise Problem(SKU_TAKEN, f"A product with the SKU {new.sku} already exists.") from error
        except catalogue.NotChargeable as error:
            raise Problem(NOT_CHARGEABLE, str(error)) from error
        location = reverse("product-detail", args=[product.sku])
        return Response(ProductSerializer(product).data, 201, headers={"Location": location})


@openapi.product_view
class ProductView(generics.RetrieveAPIView[Product]):
    """Reads and changes one product."""

    serializer_class = ProductSerializer
    permission_classes = (IsStaffOrReads,)
    lookup_field = "sku"
    queryset = selectors.products()

    def patch(self, request: Request, sku: str) -> Response:
        """Change a product for future orders. Staff only."""
        changes: dict[str, Any] = msgspec.to_builtins(parse(request, ProductChanges))
        try:
            catalogue.change_product(sku, changes)
        except catalogue.NotChargeable as error:
            raise Problem(NOT_CHARGEABLE, str(error)) from error
        return Response(ProductSerializer(self.get_object()).data)


def _payments_for(request: Request, orders: Sequence[Order]) -> dict[str, Any]:
    """Return the serializer's context: the payments of some orders, for users who read all."""
    if not reads_everything(request.user):
        return {}
    return {"payments": read_payments([order.id for order in orders])}


def _render(order: Order) -> str:
    return JSONRenderer().render(OrderSerializer(order).data).decode()


def _answer_after_wait(request: Request, placed: services.Placed) -> tuple[str, int | None]:
    """Wait as the client prefers; return the answer and the seconds of the wait, if any.

    The order is already placed, so a database error after that must not look like a failure.
    """
    order = UUID(placed.order_id)
    try:
        seconds = _wait_as_preferred(request, order)
        if seconds is None:
            return placed.body, None
        return _render(selectors.visible_orders(request.user).get(id=order)), seconds
    except Error as error:
        logger.warning(
            "Order %s is placed; a database error ended the wait for its outcome: %r", order, error
        )
        return placed.body, None


def _wait_as_preferred(request: Request, order: UUID) -> int | None:
    """Wait as the client prefers; return the limit in seconds, or None if it did not wait."""
    seconds = preferred_wait(request)
    if seconds is not None:
        try:
            wait_until_decided(order, seconds=seconds, disconnected=disconnect_check(request))
        except TooManyWaiters:
            return None
    return seconds


def _applied(seconds: int | None) -> dict[str, str]:
    return {} if seconds is None else {"Preference-Applied": f"wait={seconds}"}


def _created(placed: services.Placed, body: str, waited: int | None) -> HttpResponse:
    """Answer with the bytes that are stored with the key, unless the client preferred to wait."""
    location = {"Location": reverse("order-detail", args=[placed.order_id])}
    headers = location | {"Cache-Control": CACHED_PRIVATELY} | _applied(waited)
    if placed.replayed:
        headers["Idempotency-Replayed"] = "true"
    response = HttpResponse(body, status=201, content_type="application/json", headers=headers)
    set_response_etag(response)
    return response


def _nothing_left(order: UUID, last: TimelineEvent) -> bool:
    version = order_version(order)
    return (version is None or version.ended) and not selectors.events_recorded_after(
        order, after=last
    ).exists()
