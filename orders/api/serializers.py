"""The JSON of orders, products and timelines."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import SkipField

from api.resources.relatives import WithRelatives
from api.resources.timeline import EventSerializer
from orders.models import Order, OrderLine, Product
from orders.payment_summaries import UNKNOWN
from orders.status import Status

__all__ = [
    "PAYMENT_STATUSES",
    "STATUSES",
    "OrderSerializer",
    "ProductSerializer",
    "TimelineEventSerializer",
]

# The meaning of each status for the customer, shown in the schema.
STATUSES = (
    (Status.PENDING.value, "placed; the payment is in progress"),
    (
        Status.PAID.value,
        "the money is captured; the stock is being reserved. A free order skips it",
    ),
    (Status.RESERVED.value, "the stock is reserved"),
    (Status.FULFILLED.value, "paid or free, and being shipped; it can no longer be cancelled"),
    (
        Status.CANCELLING.value,
        "cancelled, or impossible to fulfil: its steps are being undone. If payments are "
        "authorized first, a cancel can come too late: then the order is fulfilled",
    ),
    (
        Status.CANCELLED.value,
        "all steps are undone: the money, if any, is refunded and the stock is released; `failure` "
        "has the reason",
    ),
)

# The statuses of payments, and one for payments that could not be read.
PAYMENT_STATUSES = (
    ("pending", "the gateway's answer is not known yet"),
    ("authorized", "the gateway holds the money on the customer's card"),
    ("captured", "the money was taken"),
    ("declined", "the gateway refused"),
    ("refunded", "the captured money was given back"),
    ("void", "nothing was captured, and nothing will be"),
    ("unknown", "the payment could not be read: all other members are null"),
)


class LineSerializer(serializers.ModelSerializer[OrderLine]):
    """A line of an order, with the price per piece at the time of the order."""

    class Meta:
        model = OrderLine
        fields = ("sku", "quantity", "unit_amount")
        read_only_fields = fields


class FailureSerializer(serializers.Serializer[Order]):
    """The reason why an order was cancelled, or is being cancelled."""

    code = serializers.CharField(
        source="failure_code",
        help_text="For programs: `payment_declined`, `out_of_stock`, `cancelled_by_customer`, "
        "`internal_error`, `deadline`, and others as steps are added.",
    )
    detail = serializers.CharField(source="failure_detail", help_text="For people.")


class NextActionSerializer(serializers.Serializer[dict[str, Any]]):
    """The customer's required action: open `url` before `expires_at`.

    The page asks for a confirmation, as with 3-D Secure, or shows a voucher or the details of a
    bank transfer to pay.
    """

    type = serializers.ChoiceField(choices=["redirect"])
    url = serializers.URLField(
        allow_null=True, help_text="Null for staff: only the customer gets the address."
    )
    expires_at = serializers.DateTimeField()
    method = serializers.CharField(
        allow_null=True,
        help_text="The kind of the payment method, such as `card` or `boleto`; null if not known.",
    )


class PaymentSummarySerializer(serializers.Serializer[dict[str, Any]]):
    """The payment of an order, for staff. Amounts are in minor units of the order's currency.

    Null if the order has no payment yet, and for a free order, which never has one: its `amount` is
    0. `captured_amount` and `owed_amount` are null while they
    are not known.
    """

    status = serializers.ChoiceField(choices=PAYMENT_STATUSES)
    amount = serializers.IntegerField(allow_null=True)
    captured_amount = serializers.IntegerField(allow_null=True)
    refunded_amount = serializers.IntegerField(allow_null=True)
    owed_amount = serializers.IntegerField(
        allow_null=True,
        help_text="The amount that the customer is to get back and has not, although the order "
        "has ended.",
    )
    paid_otherwise_amount = serializers.IntegerField(
        allow_null=True,
        help_text="The amount that a person has paid to the customer outside of the gateway.",
    )
    disputed = serializers.BooleanField(
        allow_null=True, help_text="Whether an open or a lost dispute has withdrawn money."
    )

    def get_attribute(self, instance: Any) -> Any:
        """Return the order's payment. The member is left out if the view has not read payments."""
        payments = self.context.get("payments")
        if payments is None:
            raise SkipField
        payment = payments.get(instance.id)
        # A free order is known to have none, also if payments do not answer.
        return None if instance.amount == 0 and payment is UNKNOWN else payment


class OrderSerializer(WithRelatives, serializers.ModelSerializer[Order]):
    """An order. Amounts are in minor units of `currency`. Staff also get the payment."""

    status = serializers.ChoiceField(choices=STATUSES, read_only=True)
    lines = LineSerializer(source="placed_lines", many=True, read_only=True)
    failure = serializers.SerializerMethodField()
    next_action = serializers.SerializerMethodField()
    payment = PaymentSummarySerializer(allow_null=True, required=False)

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
            "payment",
            "needs_attention",
            "created_at",
            "updated_at",
            "parent_saga",
            "child_sagas",
        )
        read_only_fields = fields

    @extend_schema_field(NextActionSerializer(allow_null=True))
    def get_next_action(self, order: Order) -> dict[str, Any] | None:
        """Return the action; without its address, unless the context's reader is the customer."""
        action = order.next_action
        if action is None:
            return None
        is_customer = self.context.get("reader") == order.user_id
        shown = action if is_customer else {**action, "url": None}
        return dict(NextActionSerializer(shown).data)

    @extend_schema_field(FailureSerializer(allow_null=True))
    def get_failure(self, order: Order) -> dict[str, Any] | None:
        """Return the reason, if any."""
        return dict(FailureSerializer(order).data) if order.failure_code else None


class ProductSerializer(serializers.ModelSerializer[Product]):
    """A product. `unit_amount` is in minor units of `currency`."""

    class Meta:
        model = Product
        fields = ("sku", "name", "unit_amount", "currency", "active")
        read_only_fields = fields


class TimelineEventSerializer(EventSerializer):
    """An event of an order, with the service that reported it."""

    owners_only = frozenset({"url"})  # the customer's address at the gateway
