"""The request's id: the client's own in `X-Request-ID`, or one made here; on every log line, and
in the answer.
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

# It goes into log lines, into a row of the outbox and back into a header: nothing in it may mean
# anything there.
SANE = re.compile(r"[A-Za-z0-9._~:+/=@-]{1,128}")


class RequestIdMiddleware:
    """Bind the id for the time of the request. The first middleware, so that the lines of the
    others have it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Handle a request under its id."""
        given = request.headers.get(HEADER, "")
        request_id = given if SANE.fullmatch(given) else str(uuid7())
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        response = self.get_response(request)
        response[HEADER] = request_id
        return response


@receiver(request_finished)
def _forget(**_: Any) -> None:
    """Unbind the id. Not sooner: Django logs a refusal when all middleware is done."""
    clear_contextvars()
