"""The OpenAPI descriptions of the operations on payments."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    extend_schema,
    extend_schema_view,
    inline_serializer,
)
from rest_framework import serializers

from api.openapi import problems
from api.problems.problem_types import FORBIDDEN
from payments.api.problem_types import NO_EVENT

__all__ = ["payment_view", "payments_view", "stripe_webhook_view"]

CAPTURED = OpenApiExample(
    "Captured",
    {
        "id": "0192f0c1-7d00-7a11-9c22-5b5d7f9e1a34",
        "order_id": "0192f0c1-7c1e-7d3a-8b1c-2f4e6a8c0d12",
        "status": "captured",
        "amount": 2500,
        "captured_amount": 2500,
        "refunded_amount": 0,
        "owed_amount": 0,
        "paid_otherwise_amount": 0,
        "disputed_amount": 0,
        "dispute_status": None,
        "currency": "eur",
        "charge_id": "ch_sim_0192f0c1",
        "created_at": "2026-03-01T09:30:00.200000Z",
    },
    response_only=True,
)

payments_view = extend_schema_view(
    get=extend_schema(
        operation_id="list_payments",
        summary="List payments",
        description="All payments, newest first. Staff need `payments.view_payment`.",
        parameters=[
            OpenApiParameter(
                "order_id", OpenApiTypes.UUID, description="Only the payment of this order."
            ),
            OpenApiParameter(
                "status",
                {"$ref": "#/components/schemas/PaymentStatus"},
                description="Only payments in this status.",
            ),
            OpenApiParameter(
                "disputed",
                OpenApiTypes.BOOL,
                description="Whether an open or a lost dispute has withdrawn money.",
            ),
            OpenApiParameter(
                "owed",
                OpenApiTypes.BOOL,
                description="Whether the customer is to get money back and has not, although the "
                "order has ended.",
            ),
        ],
        examples=[CAPTURED],
        extensions=problems(FORBIDDEN),
    )
)

payment_view = extend_schema_view(
    get=extend_schema(
        operation_id="get_payment",
        summary="Read a payment",
        description="One payment. Staff need `payments.view_payment`.",
        parameters=[
            OpenApiParameter(
                "id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="The payment's id."
            )
        ],
        examples=[CAPTURED],
        extensions=problems(FORBIDDEN),
    )
)

stripe_webhook_view = extend_schema_view(
    post=extend_schema(
        operation_id="stripe_webhook",
        summary="Receive an event from Stripe",
        description="For Stripe only: an event that Stripe has signed within the last five "
        "minutes. A repeated event changes nothing.",
        parameters=[
            OpenApiParameter(
                "Stripe-Signature",
                OpenApiTypes.STR,
                OpenApiParameter.HEADER,
                required=True,
                description="Stripe's signature of the body, with its time.",
            )
        ],
        request=OpenApiTypes.OBJECT,
        responses=inline_serializer("WebhookReceived", {"received": serializers.BooleanField()}),
        examples=[
            OpenApiExample(
                "A payment has succeeded",
                {
                    "id": "evt_1",
                    "object": "event",
                    "type": "payment_intent.succeeded",
                    "created": 1772357400,
                    "data": {"object": {"id": "pi_1", "object": "payment_intent"}},
                },
                request_only=True,
            ),
            OpenApiExample("Received", {"received": True}, response_only=True),
        ],
        extensions=problems(NO_EVENT),
    )
)
