"""The webhook endpoint for Stripe. Stripe signs its requests, so they need no token."""

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.problems.exceptions import Problem
from payments.api import openapi
from payments.api.problem_types import NO_EVENT
from payments.models import WebhookEvent
from payments.webhooks import InvalidEvent, receive, verify
from sagas.delivery.wakeup import request_flush
from sagas.testing.failpoints import Point, reach

__all__ = ["StripeWebhookView"]


@openapi.stripe_webhook_view
class StripeWebhookView(APIView):
    """Events from Stripe."""

    authentication_classes = ()
    permission_classes = ()

    def post(self, request: Request) -> Response:
        """Receive an event that Stripe has signed within the last five minutes. A repeated event
        changes nothing.
        """
        try:
            event = verify(request._request.body, request.headers.get("Stripe-Signature", ""))
        except InvalidEvent as error:
            raise Problem(NO_EVENT, str(error)) from error
        if receive(event) is WebhookEvent.Effect.WOKE:
            request_flush("payments")
        reach(Point.NOT_ACKNOWLEDGED, event.type)
        return Response({"received": True})
