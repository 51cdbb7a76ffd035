"""The OpenAPI descriptions of the operations on orders and products."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    extend_schema,
    extend_schema_view,
)

from api.openapi import SKU, answer_header, problems
from api.problems.problem_types import FORBIDDEN
from api.resources.openapi import Described, answered, sent
from api.responses.event_stream import MEDIA_TYPE as EVENT_STREAM
from orders.api.problem_types import (
    AMOUNT_CHANGED,
    NOT_CHARGEABLE,
    ORDER_FULFILLED,
    SKU_TAKEN,
)
from orders.api.requests import NewProduct, ProductChanges
from orders.api.serializers import OrderSerializer, ProductSerializer, TimelineEventSerializer
from orders.services import NewOrder

__all__ = [
    "cancel_view",
    "order_view",
    "orders_view",
    "product_view",
    "products_view",
    "timeline_view",
]

ORDER = Described("order", "fulfilled or cancelled", made="placed")
FILTERS = [
    OpenApiParameter(
        "status",
        {"$ref": "#/components/schemas/OrderStatus"},
        description="Only orders with this status.",
    ),
    OpenApiParameter(
        "needs_attention",
        OpenApiTypes.BOOL,
        description="Whether an operator must look at the order.",
    ),
    OpenApiParameter(
        "created_after", OpenApiTypes.DATETIME, description="Excludes the time itself."
    ),
    OpenApiParameter(
        "created_before", OpenApiTypes.DATETIME, description="Excludes the time itself."
    ),
]

PRODUCT = {"sku": "MUG", "name": "A mug", "unit_amount": 1250, "currency": "eur", "active": True}
PLACED = {
    "id": "0192f0c1-7c1e-7d3a-8b1c-2f4e6a8c0d12",
    "status": "pending",
    "amount": 2500,
    "currency": "eur",
    "lines": [{"sku": "MUG", "quantity": 2, "unit_amount": 1250}],
    "failure": None,
    "next_action": None,
    "needs_attention": False,
    "created_at": "2026-03-01T09:30:00.123456Z",
    "updated_at": "2026-03-01T09:30:00.123456Z",
}
PAID = {
    "status": "captured",
    "amount": 2500,
    "captured_amount": 2500,
    "refunded_amount": 0,
    "owed_amount": 0,
    "paid_otherwise_amount": 0,
    "disputed": False,
}
FULFILLED = PLACED | {"status": "fulfilled", "updated_at": "2026-03-01T09:30:00.654321Z"}
CANCELLING = PLACED | {
    "status": "cancelling",
    "failure": {"code": "cancelled_by_customer", "detail": "Cancelled by the customer."},
    "updated_at": "2026-03-01T09:30:00.345678Z",
}
CANCELLED = CANCELLING | {"status": "cancelled", "updated_at": "2026-03-01T09:30:00.987654Z"}
EVENT = {
    "type": "payment.processed",
    "service": "payments",
    "at": "2026-03-01T09:30:00.234567Z",
    "step": "payments.charge",
    "attempt": 1,
    "detail": {"charge_id": "ch_sim_0192f0c1"},
}
# A part of a stream. The data of each event is an item of the list.
STREAMED = (
    "retry: 2000\n\n"
    "id: 0192f0c1-7c1e-7d3a-8b1c-2f4e6a8c0d13\n"
    "event: payment.processed\n"
    'data: {"type":"payment.processed","service":"payments",'
    '"at":"2026-03-01T09:30:00.234567Z", ...}\n\n'
)


orders_view = extend_schema_view(
    get=extend_schema(
        operation_id="list_orders",
        summary="List orders",
        description="Your own orders, the newest first; for staff with the permission "
        "`orders.view_order`, all orders; with `payments.view_payment`, also their payments.",
        parameters=FILTERS,
        examples=[
            answered("Fulfilled", FULFILLED),
            answered("Fulfilled, for staff", FULFILLED | {"payment": PAID}),
        ],
    ),
    post=extend_schema(
        operation_id="place_order",
        summary="Place an order",
        **ORDER.make(AMOUNT_CHANGED, NOT_CHARGEABLE),
        request=NewOrder,
        responses={201: OrderSerializer},
        examples=[
            sent(
                "Two mugs",
                {"lines": [{"sku": "MUG", "quantity": 2}], "payment_method": "pm_card_visa"},
            ),
            sent(
                "Two mugs for 25.00 EUR",
                {
                    "lines": [{"sku": "MUG", "quantity": 2}],
                    "payment_method": "pm_card_visa",
                    "expected_amount": 2500,
                    "expected_currency": "eur",
                },
            ),
            answered("Placed", PLACED, "201"),
        ],
    ),
)

order_view = extend_schema_view(
    get=extend_schema(
        operation_id="get_order",
        summary="Read an order",
        description="The current order; with `Prefer: wait`, once it is fulfilled or cancelled. "
        "Orders of other users are not found, unless staff have `orders.view_order`. With "
        "`payments.view_payment` they also get the order's payment.",
        **ORDER.read(OrderSerializer),
        examples=[answered("Fulfilled", FULFILLED), answered("Cancelled", CANCELLED)],
    )
)

timeline_view = extend_schema_view(
    get=extend_schema(
        operation_id="list_order_events",
        summary="Read the timeline of an order",
        description="The events of an order from all services, oldest first; or, as "
        "`text/event-stream`, until it has ended. The stream has the same items, in the order of "
        "recording. It ends with the order, or after ten minutes: then resume with "
        "`Last-Event-ID`.",
        **ORDER.timeline(TimelineEventSerializer),
        examples=[
            answered("Paid", EVENT),
            OpenApiExample(
                "The first event", STREAMED, media_type=EVENT_STREAM, response_only=True
            ),
        ],
    )
)

_cancelling = ORDER.cancel(OrderSerializer, ORDER_FULFILLED)
_cancelling["parameters"] += [
    answer_header(
        "Awaiting-Approval",
        202,
        required=False,
        description="The id of the run that a second person must approve. Until then the order "
        "stays as it is.",
    )
]
cancel_view = extend_schema_view(
    post=extend_schema(
        operation_id="cancel_order",
        summary="Cancel an order",
        **_cancelling,
        examples=[
            sent("By the shop", {"reason": "The customer called and asked for it."}),
            answered("Cancelled already", CANCELLED, "200"),
            answered("Being cancelled", CANCELLING, "202"),
        ],
    )
)

products_view = extend_schema_view(
    get=extend_schema(
        operation_id="list_products",
        summary="List products",
        description="The catalogue by SKU, including inactive products.",
        examples=[answered("A mug", PRODUCT)],
    ),
    post=extend_schema(
        operation_id="add_product",
        summary="Add a product",
        parameters=[answer_header("Location", 201, description="The path of the product.")],
        request=NewProduct,
        responses={201: ProductSerializer},
        examples=[sent("A new mug", PRODUCT), answered("Added", PRODUCT, "201")],
        extensions=problems(FORBIDDEN, NOT_CHARGEABLE, SKU_TAKEN),
    ),
)

product_view = extend_schema_view(
    get=extend_schema(
        operation_id="get_product",
        summary="Read a product",
        description="One product, even if it is inactive.",
        parameters=[SKU],
        examples=[answered("A mug", PRODUCT)],
    ),
    patch=extend_schema(
        operation_id="change_product",
        summary="Change a product",
        parameters=[SKU],
        request=ProductChanges,
        responses=ProductSerializer,
        examples=[
            sent("Another price", {"unit_amount": 1400, "reason": "The supplier raised it."}),
            answered("Changed", PRODUCT | {"unit_amount": 1400}, "200"),
        ],
        extensions=problems(FORBIDDEN, NOT_CHARGEABLE),
    ),
)
