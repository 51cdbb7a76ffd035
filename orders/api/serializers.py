"""How orders, products and timelines look from outside."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from orders.models import Order, OrderLine, Product, TimelineEvent

__all__ = ["OrderSerializer", "ProductSerializer", "TimelineEventSerializer"]


class LineSerializer(serializers.ModelSerializer[OrderLine]):
    """A line of an order."""

    class Meta:
        model = OrderLine
        fields = ("sku", "quantity", "unit_amount")


class FailureSerializer(serializers.Serializer[Order]):
    """Why an order was cancelled, or is being cancelled."""

    code = serializers.CharField(source="failure_code")
    detail = serializers.CharField(source="failure_detail")


class NextActionSerializer(serializers.Serializer[dict[str, Any]]):
    """What the customer must do for the payment to go on: open `url`, as for 3-D Secure, before it expires."""

    type = serializers.ChoiceField(choices=["redirect"])
    url = serializers.URLField()
    expires_at = serializers.DateTimeField()


class OrderSerializer(serializers.ModelSerializer[Order]):
    """An order. Amounts are in minor units of `currency`."""

    lines = LineSerializer(source="placed_lines", many=True)
    failure = serializers.SerializerMethodField()
    next_action = NextActionSerializer(allow_null=True, read_only=True)

    class Meta:
        model = Order
        fields = (
            "id",
            "status",
            "amount",
            "currency",
            "lines",
            "failure",
            "next_action",
            "needs_attention",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields

    @extend_schema_field(FailureSerializer(allow_null=True))
    def get_failure(self, order: Order) -> dict[str, Any] | None:
        """Return the reason, once there is one."""
        return dict(FailureSerializer(order).data) if order.failure_code else None


class ProductSerializer(serializers.ModelSerializer[Product]):
    """A product. `unit_amount` is in minor units of `currency`."""

    class Meta:
        model = Product
        fields = ("sku", "name", "unit_amount", "currency", "active")
        read_only_fields = fields


class TimelineEventSerializer(serializers.ModelSerializer[TimelineEvent]):
    """Something that happened to an order."""

    class Meta:
        model = TimelineEvent
        fields = ("type", "service", "at", "step", "attempt", "detail")
        read_only_fields = fields
