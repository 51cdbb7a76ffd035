"""The OpenAPI descriptions of the operations on stock."""

from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view

from api.openapi import SKU, problems
from api.problems.problem_types import FORBIDDEN
from inventory.api.problem_types import STOCK_TOO_LOW
from inventory.api.requests import NewAdjustment
from inventory.api.serializers import AdjustmentSerializer

__all__ = ["adjustments_view", "stock_item_view", "stock_view"]

DELIVERY = {"quantity": 10, "reason": "first delivery"}
STOCK = OpenApiExample(
    "In stock",
    {"sku": "MUG", "on_hand": 8, "reserved": 2, "available": 8, "shipped": 3, "returned": 1},
    response_only=True,
)
MADE = OpenApiExample(
    "A delivery",
    {"id": 1, "sku": "MUG", **DELIVERY, "by": "admin", "at": "2026-03-01T09:00:00.000001Z"},
    response_only=True,
)

stock_view = extend_schema_view(
    get=extend_schema(
        operation_id="list_stock",
        summary="List stock",
        description="The stock items by SKU. Staff need `inventory.view_stockitem`.",
        examples=[STOCK],
        extensions=problems(FORBIDDEN),
    )
)

stock_item_view = extend_schema_view(
    get=extend_schema(
        operation_id="get_stock",
        summary="Read the stock of a SKU",
        description="The stock of one SKU. Staff need `inventory.view_stockitem`.",
        parameters=[SKU],
        examples=[STOCK],
        extensions=problems(FORBIDDEN),
    )
)

adjustments_view = extend_schema_view(
    get=extend_schema(
        operation_id="list_adjustments",
        summary="List the adjustments of a SKU",
        description="The pieces added and taken out, the newest first. Staff need "
        "`inventory.view_stockadjustment`.",
        parameters=[SKU],
        examples=[MADE],
        extensions=problems(FORBIDDEN),
    ),
    post=extend_schema(
        operation_id="adjust_stock",
        summary="Adjust the stock of a SKU",
        parameters=[SKU],
        request=NewAdjustment,
        responses={201: AdjustmentSerializer},
        examples=[OpenApiExample("First delivery", DELIVERY, request_only=True), MADE],
        extensions=problems(FORBIDDEN, STOCK_TOO_LOW),
    ),
)
