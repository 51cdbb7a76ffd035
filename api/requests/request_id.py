"""The request id: the client's `X-Request-ID`, or a new one. It is on every log line and in the
response.

django-structlog's middleware was tried: it accepts any client value, sends no response header, and
unbinds the id before Django logs a rejected request.
"""

import re
from collections.abc import Callable
from typing import Any

from django.core.signals import request_finished
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from structlog.contextvars import bind_contextvars, clear_contextvars

from sagas.ids import uuid7

__all__ = ["HEADER", "RequestIdMiddleware"]

HEADER = "X-Request-ID"

# The id is written to log lines, an outbox row and a header, so it must not contain special
# characters of any of them.
VALID = re.compile(r"[A-Za-z0-9._~:+/=@-]{1,128}")


class RequestIdMiddleware:
    """Binds the request id to the log context. Must be first, for the logs of other middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Handle a request with its id bound."""
        given = request.headers.get(HEADER, "")
        request_id = given if VALID.fullmatch(given) else str(uuid7())

        clear_contextvars()
        bind_contextvars(request_id=request_id)
        response = self.get_response(request)
        response[HEADER] = request_id
        return response


@receiver(request_finished)
def _unbind(**_: Any) -> None:
    """Unbind the id, only now because Django logs rejected requests after all middleware."""
    clear_contextvars()
