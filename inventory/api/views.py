"""The REST views of stock, for staff."""

from typing import ClassVar

from django.db.models import QuerySet
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from api.auth.authentication import authenticated_user
from api.auth.permissions import AsStaffMay
from api.problems.exceptions import Problem
from inventory.api import openapi
from inventory.api.problem_types import STOCK_TOO_LOW
from inventory.api.requests import adjustment_of
from inventory.api.serializers import AdjustmentSerializer, StockItemSerializer
from inventory.models import StockAdjustment, StockItem
from inventory.services import StockTooLow, adjust_stock_as_staff

__all__ = ["AdjustmentsView", "StockItemView", "StockView"]

READ_STOCK = "inventory.view_stockitem"


@openapi.stock_view
class StockView(generics.ListAPIView[StockItem]):
    """Lists the stock items."""

    serializer_class = StockItemSerializer
    permission_classes = (AsStaffMay,)
    read_permission = READ_STOCK
    ordering: ClassVar = ("sku",)
    queryset = StockItem.objects.all()


@openapi.stock_item_view
class StockItemView(generics.RetrieveAPIView[StockItem]):
    """Reads the stock of one SKU."""

    serializer_class = StockItemSerializer
    permission_classes = (AsStaffMay,)
    read_permission = READ_STOCK
    lookup_field = "sku"
    queryset = StockItem.objects.all()


@openapi.adjustments_view
class AdjustmentsView(generics.ListAPIView[StockAdjustment]):
    """Lists and adds adjustments of one SKU."""

    serializer_class = AdjustmentSerializer
    permission_classes = (AsStaffMay,)
    read_permission = "inventory.view_stockadjustment"
    write_actions: ClassVar = {"POST": "adjust_stock"}
    queryset = StockAdjustment.objects.none()  # for the schema

    def get_queryset(self) -> QuerySet[StockAdjustment]:
        """Return the SKU's adjustments, the newest first."""
        item = generics.get_object_or_404(StockItem, sku=self.kwargs["sku"])
        return item.adjustments.all()

    def post(self, request: Request, sku: str) -> Response:
        """Add pieces, or take some out. A new SKU gets its stock item.

        Each request counts: an `Idempotency-Key` is refused.
        """
        new = adjustment_of(request)
        try:
            made = adjust_stock_as_staff(
                authenticated_user(request),
                via="api",
                sku=sku,
                quantity=new.quantity,
                reason=new.reason,
            )
        except StockTooLow as error:
            raise Problem(STOCK_TOO_LOW, str(error)) from error
        return Response(AdjustmentSerializer(made).data, 201)
