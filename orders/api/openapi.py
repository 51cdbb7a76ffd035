"""The OpenAPI descriptions of the operations on orders and products."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)

from api.openapi import SKU, answer_header, problems
from api.problems.problem_types import FORBIDDEN, PRECONDITION_FAILED
from api.responses.event_stream import MEDIA_TYPE as EVENT_STREAM
from orders.api.problem_types import (
    AMOUNT_CHANGED,
    KEY_IN_FLIGHT,
    KEY_REUSED,
    NOT_CHARGEABLE,
    ORDER_FULFILLED,
    SKU_TAKEN,
    TOO_MANY_WAITING,
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

KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    required=True,
    pattern=r"^[\x21-\x7e]{1,255}$",
    description="A key that you generate: 1 to 255 visible ASCII characters, kept for at least 24 "
    "hours. The same key with the same order gets the same answer, with "
    "`Idempotency-Replayed: true`.",
    examples=[OpenApiExample("A UUID", "5f0c1c4e-6d2b-4f0e-9a55-3f1f3c6f1a10")],
)
REPLAYED = answer_header(
    "Idempotency-Replayed",
    201,
    required=False,
    description="`true` if the key was used before: no new order was placed.",
)
PREFER = OpenApiParameter(
    "Prefer",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="`wait=N` (RFC 7240): answer once the order is fulfilled or cancelled, or after N "
    "seconds. N is 0 to 30; more counts as 30. Ignored if too many requests are waiting.",
    examples=[OpenApiExample("Ten seconds", "wait=10")],
)
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="The ETags that you have, or `*`. Compared after the wait, if any.",
)
LAST_EVENT_ID = OpenApiParameter(
    "Last-Event-ID",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="For a stream: the `id` of the last event that you have. Later events are sent.",
)
APPLIED = "`wait=N`, if the wait was applied."
ETAG = "Changes whenever the order does."
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
ID = OpenApiParameter(
    "id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="The id of the order."
)

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


def _sent(name: str, value: object) -> OpenApiExample:
    return OpenApiExample(name, value, request_only=True)


def _answered(name: str, value: object, *statuses: str) -> OpenApiExample:
    return OpenApiExample(name, value, response_only=True, status_codes=list(statuses) or None)


orders_view = extend_schema_view(
    get=extend_schema(
        operation_id="list_orders",
        summary="List orders",
        description="Your own orders, the newest first; for staff, all orders with their payments.",
        parameters=FILTERS,
        examples=[
            _answered("Fulfilled", FULFILLED),
            _answered("Fulfilled, for staff", FULFILLED | {"payment": PAID}),
        ],
    ),
    post=extend_schema(
        operation_id="place_order",
        summary="Place an order",
        parameters=[
            KEY,
            PREFER,
            answer_header("Location", 201, description="The path of the order."),
            answer_header("ETag", 201, description=ETAG),
            answer_header("Preference-Applied", 201, required=False, description=APPLIED),
            REPLAYED,
        ],
        request=NewOrder,
        responses={201: OrderSerializer},
        filters=False,
        examples=[
            _sent(
                "Two mugs",
                {"lines": [{"sku": "MUG", "quantity": 2}], "payment_method": "pm_card_visa"},
            ),
            _sent(
                "Two mugs for 25.00 EUR",
                {
                    "lines": [{"sku": "MUG", "quantity": 2}],
                    "payment_method": "pm_card_visa",
                    "expected_amount": 2500,
                    "expected_currency": "eur",
                },
            ),
            _answered("Placed", PLACED, "201"),
        ],
        extensions=problems(FORBIDDEN, AMOUNT_CHANGED, KEY_IN_FLIGHT, KEY_REUSED, NOT_CHARGEABLE),
    ),
)

order_view = extend_schema_view(
    get=extend_schema(
        operation_id="get_order",
        summary="Read an order",
        description="The current order; with `Prefer: wait`, once it is fulfilled or cancelled. "
        "Orders of other users are not found. Staff also get the order's payment.",
        parameters=[
            ID,
            PREFER,
            IF_NONE_MATCH,
            answer_header("ETag", 200, 304, description=ETAG),
            answer_header("Preference-Applied", 200, 304, required=False, description=APPLIED),
        ],
        responses={
            200: OrderSerializer,
            304: OpenApiResponse(description="The order matches `If-None-Match`."),
        },
        extensions=problems(PRECONDITION_FAILED),
        examples=[_answered("Fulfilled", FULFILLED), _answered("Cancelled", CANCELLED)],
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
        parameters=[ID, LAST_EVENT_ID],
        responses={
            (200, "application/json"): TimelineEventSerializer(many=True),
            (200, EVENT_STREAM): OpenApiTypes.STR,
            204: OpenApiResponse(
                description="The order has ended, and `Last-Event-ID` is its last event."
            ),
        },
        extensions=problems(TOO_MANY_WAITING),
        examples=[
            _answered("Paid", EVENT),
            OpenApiExample(
                "The first event", STREAMED, media_type=EVENT_STREAM, response_only=True
            ),
        ],
    )
)

cancel_view = extend_schema_view(
    post=extend_schema(
        operation_id="cancel_order",
        summary="Cancel an order",
        parameters=[
            ID,
            answer_header("Content-Location", 200, 202, description="The path of the order."),
            answer_header("ETag", 200, 202, description=ETAG),
        ],
        request=None,
        responses={200: OrderSerializer, 202: OrderSerializer},
        examples=[
            _answered("Cancelled already", CANCELLED, "200"),
            _answered("Being cancelled", CANCELLING, "202"),
        ],
        extensions=problems(FORBIDDEN, ORDER_FULFILLED),
    )
)

products_view = extend_schema_view(
    get=extend_schema(
        operation_id="list_products",
        summary="List products",
        description="The catalogue by SKU, including inactive products.",
        examples=[_answered("A mug", PRODUCT)],
    ),
    post=extend_schema(
        operation_id="add_product",
        summary="Add a product",
        parameters=[answer_header("Location", 201, description="The path of the product.")],
        request=NewProduct,
        responses={201: ProductSerializer},
        examples=[_sent("A new mug", PRODUCT), _answered("Added", PRODUCT, "201")],
        extensions=problems(FORBIDDEN, NOT_CHARGEABLE, SKU_TAKEN),
    ),
)

product_view = extend_schema_view(
    get=extend_schema(
        operation_id="get_product",
        summary="Read a product",
        description="One product, even if it is inactive.",
        parameters=[SKU],
        examples=[_answered("A mug", PRODUCT)],
    ),
    patch=extend_schema(
        operation_id="change_product",
        summary="Change a product",
        parameters=[SKU],
        request=ProductChanges,
        responses=ProductSerializer,
        examples=[
            _sent("Another price", {"unit_amount": 1400}),
            _answered("Changed", PRODUCT | {"unit_amount": 1400}, "200"),
        ],
        extensions=problems(FORBIDDEN, NOT_CHARGEABLE),
    ),
)
