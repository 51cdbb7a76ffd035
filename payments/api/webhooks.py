"""The webhook endpoint for Stripe. Stripe signs its requests, so they need no token.

Signed requests have no rate limit, because Stripe sends many events of one incident at once.
"""

from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.auth.throttling import count_stranger
from api.problems.exceptions import Problem
from api.problems.problem_types import BODY_TOO_LARGE
from api.requests.parsing import MAX_BODY
from payments.api import openapi
from payments.api.problem_types import NO_EVENT
from payments.webhooks import InvalidEvent, receive, verify
from sagas.failpoints import Point, reach

__all__ = ["StripeWebhookView"]


@openapi.stripe_webhook_view
class StripeWebhookView(APIView):
    """Events from Stripe."""

    authentication_classes = ()
    permission_classes = ()
    rate_limits: ClassVar = {"POST": None}  # `post` counts the requests that are not signed

    def post(self, request: Request) -> Response:
        """Receive an event that Stripe has signed within the last five minutes. A repeated event
        changes nothing.
        """
        if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BODY:
            count_stranger(request)
            raise Problem(BODY_TOO_LARGE, f"The body is larger than {MAX_BODY} bytes.")
        try:
            event = verify(request._request.body, request.headers.get("Stripe-Signature", ""))
        except InvalidEvent as error:
            count_stranger(request)
            raise Problem(NO_EVENT, str(error)) from error
        receive(event)
        reach(Point.NOT_ACKNOWLEDGED, event.type)
        return Response({"received": True})
