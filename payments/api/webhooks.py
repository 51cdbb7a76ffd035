"""Where Stripe tells us what happened: signed by it, so without a token."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.problems import Problem
from payments.models import WebhookEvent
from payments.webhooks import Forged, read, receive
from sagas.failpoints import Point, reach
from sagas.nudge import nudge

__all__ = ["StripeWebhookView"]

SIGNATURE = OpenApiParameter("Stripe-Signature", OpenApiTypes.STR, OpenApiParameter.HEADER, required=True)
RECEIVED = inline_serializer("WebhookReceived", {"received": serializers.BooleanField()})


class StripeWebhookView(APIView):
    """Events of Stripe's."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        operation_id="stripe_webhook", parameters=[SIGNATURE], request=OpenApiTypes.OBJECT, responses=RECEIVED
    )
    def post(self, request: Request) -> Response:
        """Take an event that Stripe has signed within the last five minutes. Told again, it changes nothing."""
        try:
            event = read(request._request.body, request.headers.get("Stripe-Signature", ""))
        except Forged as error:
            raise Problem(
                status=400, type="urn:problem:webhook", title="Not an event of Stripe's", detail=str(error)
            ) from error
        if receive(event) is WebhookEvent.Effect.WOKE:
            nudge("payments")
        reach(Point.NOT_ACKNOWLEDGED, event.type)
        return Response({"received": True})
