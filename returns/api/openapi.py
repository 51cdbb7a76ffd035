"""The OpenAPI descriptions of the operations on returns."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    extend_schema,
    extend_schema_view,
)

from api.resources.openapi import Described, answered, sent
from api.resources.problem_types import NOT_CANCELLABLE
from api.responses.event_stream import MEDIA_TYPE as EVENT_STREAM
from returns.api.problem_types import NOT_RETURNABLE, RETURN_TOO_LARGE
from returns.api.requests import NewGoodwill
from returns.api.serializers import ReturnEventSerializer, ReturnSerializer
from returns.services import NewReturn

__all__ = [
    "cancel_return_view",
    "goodwill_view",
    "order_returns_view",
    "return_timeline_view",
    "return_view",
    "returns_view",
]

RETURN = Described("return", "completed, refused or cancelled")
ORDER_ID = OpenApiParameter(
    "order_id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="The id of the order."
)
FILTERS = [
    OpenApiParameter(
        "order_id", OpenApiTypes.UUID, description="Only returns of the order with this id."
    ),
    OpenApiParameter(
        "kind",
        {"$ref": "#/components/schemas/ReturnKind"},
        description="Only goods, or only goodwill.",
    ),
    OpenApiParameter(
        "status",
        {"$ref": "#/components/schemas/ReturnStatus"},
        description="Only returns with this status.",
    ),
    OpenApiParameter(
        "needs_attention",
        OpenApiTypes.BOOL,
        description="Whether an operator must look at the return.",
    ),
    OpenApiParameter(
        "created_after", OpenApiTypes.DATETIME, description="Excludes the time itself."
    ),
    OpenApiParameter(
        "created_before", OpenApiTypes.DATETIME, description="Excludes the time itself."
    ),
]

LINE = {"sku": "MUG", "quantity": 1, "unit_amount": 1250, "received": None, "resellable": None}
REQUESTED = {
    "id": "0192f0c1-7c1e-7d3a-8b1c-2f4e6a8c0d14",
    "order_id": "0192f0c1-7c1e-7d3a-8b1c-2f4e6a8c0d12",
    "kind": "goods",
    "status": "requested",
    "amount": 1250,
    "currency": "eur",
    "lines": [LINE],
    "reason": "It does not fit.",
    "failure": None,
    "needs_attention": False,
    "created_at": "2026-03-08T09:30:00.123456Z",
    "updated_at": "2026-03-08T09:30:00.123456Z",
}
COMPLETED = REQUESTED | {
    "status": "completed",
    "lines": [LINE | {"received": 1, "resellable": 1}],
    "updated_at": "2026-03-12T10:00:00.654321Z",
}
CLOSING = REQUESTED | {
    "status": "closing",
    "failure": {"code": "cancelled_by_customer", "detail": "Cancelled by the customer."},
    "updated_at": "2026-03-08T10:30:00.345678Z",
}
CANCELLED = CLOSING | {"status": "cancelled", "updated_at": "2026-03-08T10:30:00.987654Z"}
GOODWILL = REQUESTED | {
    "kind": "goodwill",
    "amount": 300,
    "lines": [],
    "reason": "It came two weeks late.",
}
EVENT = {
    "type": "return.accepted",
    "service": "returns",
    "at": "2026-03-12T09:59:59.234567Z",
    "step": "returns.accept",
    "attempt": 1,
    "detail": {
        "amount": 1250,
        "currency": "eur",
        "lines": [{"sku": "MUG", "restock": 1, "write_off": 0}],
    },
}
# A part of a stream. The data of each event is an item of the list.
STREAMED = (
    "retry: 2000\n\n"
    "id: 0192f0c1-7c1e-7d3a-8b1c-2f4e6a8c0d15\n"
    "event: return.accepted\n"
    'data: {"type":"return.accepted","service":"returns",'
    '"at":"2026-03-12T09:59:59.234567Z", ...}\n\n'
)


def _making(**described: Any) -> dict[str, Any]:
    """Add the id of the order to the parameters of an operation that makes a return."""
    found = RETURN.make(NOT_RETURNABLE, RETURN_TOO_LARGE)
    return found | {"parameters": [ORDER_ID, *found["parameters"]]} | described


order_returns_view = extend_schema_view(
    post=extend_schema(
        operation_id="request_return",
        summary="Request a return",
        tags=["returns"],
        **_making(
            request=NewReturn,
            responses={201: ReturnSerializer},
            examples=[
                sent(
                    "One mug",
                    {"lines": [{"sku": "MUG", "quantity": 1}], "reason": "It does not fit."},
                ),
                answered("Requested", REQUESTED, "201"),
            ],
        ),
    )
)

goodwill_view = extend_schema_view(
    post=extend_schema(
        operation_id="give_goodwill",
        summary="Propose goodwill",
        tags=["returns"],
        **_making(
            request=NewGoodwill,
            responses={201: ReturnSerializer},
            examples=[
                sent("Three euros", {"amount": 300, "reason": "It came two weeks late."}),
                answered("Proposed", GOODWILL, "201"),
            ],
        ),
    )
)

returns_view = extend_schema_view(
    get=extend_schema(
        operation_id="list_returns",
        summary="List returns",
        description="Your own returns, the newest first; for staff with the permission "
        "`returns.view_return`, all returns.",
        parameters=FILTERS,
        examples=[answered("Completed", COMPLETED)],
    )
)

return_view = extend_schema_view(
    get=extend_schema(
        operation_id="get_return",
        summary="Read a return",
        description="The current return; with `Prefer: wait`, once it is completed, refused or "
        "cancelled. Returns of other users are not found, unless staff have "
        "`returns.view_return`.",
        **RETURN.read(ReturnSerializer),
        examples=[answered("Completed", COMPLETED), answered("Cancelled", CANCELLED)],
    )
)

return_timeline_view = extend_schema_view(
    get=extend_schema(
        operation_id="list_return_events",
        summary="Read the timeline of a return",
        description="The events of a return from all services, oldest first; or, as "
        "`text/event-stream`, until it has ended. The stream has the same items, in the order of "
        "recording. It ends with the return, or after ten minutes: then resume with "
        "`Last-Event-ID`.",
        **RETURN.timeline(ReturnEventSerializer),
        examples=[
            answered("Accepted", EVENT),
            OpenApiExample("An event", STREAMED, media_type=EVENT_STREAM, response_only=True),
        ],
    )
)

cancel_return_view = extend_schema_view(
    post=extend_schema(
        operation_id="cancel_return",
        summary="Cancel a return",
        **RETURN.cancel(ReturnSerializer, NOT_CANCELLABLE),
        examples=[
            sent("By the shop", {"reason": "The customer called and asked for it."}),
            answered("Cancelled already", CANCELLED, "200"),
            answered("Being cancelled", CLOSING, "202"),
        ],
    )
)
