"""How orders, products and timelines look from outside."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from orders.models import Order, OrderLine, Product, TimelineEvent
from orders.status import Status

__all__ = ["STATUSES", "OrderSerializer", "ProductSerializer", "TimelineEventSerializer"]

# What each status means to a customer, for the schema.
STATUSES = (
    (Status.PENDING.value, "placed; the payment is under way"),
    (Status.PAID.value, "the money is captured; the stock is being reserved"),
    (Status.RESERVED.value, "the stock is held for it"),
    (Status.FULFILLED.value, "paid, and on its way: it cannot be cancelled any more"),
    (
        Status.CANCELLING.value,
        "it was called off, or cannot be fulfilled: what was done for it is being undone. Where it is authorized "
        "first, a cancel can come too late: then it is fulfilled",
    ),
    (
        Status.CANCELLED.value,
        "nothing of it is left: the money is back and the stock is free; `failure` says why",
    ),
)


class LineSerializer(serializers.ModelSerializer[OrderLine]):
    """A line of an order, at the price it was placed for."""

    class Meta:
        model = OrderLine
        fields = ("sku", "quantity", "unit_amount")
        read_only_fields = fields


class FailureSerializer(serializers.Serializer[Order]):
    """Why an order was cancelled, or is being cancelled."""

    code = serializers.CharField(
        source="failure_code",
        help_text="For programs: `payment_declined`, `out_of_stock`, `cancelled_by_customer`, `internal_error`, and "
        "more as steps are added.",
    )
    detail = serializers.CharField(source="failure_detail", help_text="For people.")


class NextActionSerializer(serializers.Serializer[dict[str, Any]]):
    """What the customer must do for the payment to go on: open `url`, as for 3-D Secure, before
    it expires.
    """

    type = serializers.ChoiceField(choices=["redirect"])
    url = serializers.URLField()
    expires_at = serializers.DateTimeField()


class OrderSerializer(serializers.ModelSerializer[Order]):
    """An order. Amounts are in minor units of `currency`."""

    status = serializers.ChoiceField(choices=STATUSES, read_only=True)
    lines = LineSerializer(source="placed_lines", many=True, read_only=True)
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
    """Something that happened to an order, in the service that says so."""

    step = serializers.CharField(
        read_only=True, help_text="The step of the saga; empty for what was no step."
    )
    attempt = serializers.IntegerField(
        read_only=True, help_text="Which try of the step it was, from 1."
    )
    detail = serializers.DictField(
        read_only=True, help_text="What else there is to say; its members differ by `type`."
    )

    class Meta:
        model = TimelineEvent
        fields = ("type", "service", "at", "step", "attempt", "detail")
        read_only_fields = fields
