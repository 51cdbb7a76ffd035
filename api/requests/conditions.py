"""Refuses conditional headers (RFC 9110, section 13) of requests that change data.

No such request compares them. A client that sends `If-Match` asks for no change in another case, so
the request must not be carried out as if the condition held.
"""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from api.problems.exceptions import Problem, problem_response
from api.problems.problem_types import CONDITION_NOT_SUPPORTED

__all__ = ["CONDITIONS", "SAFE_METHODS", "RefuseConditions"]

# RFC 9110, section 9.2.1. These methods change nothing.
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

# RFC 9110, section 13.1, and the condition of WebDAV (RFC 4918, section 10.4).
CONDITIONS = (
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "If-Range",
    "If",
)


class RefuseConditions:
    """Answers a change with a condition by a problem, before its view runs. A middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Pass a request on."""
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        """Return the problem, if any. A method that the view does not support is answered by it."""
        if not _is_change(request, view):
            return None
        found = next((name for name in CONDITIONS if name in request.headers), None)
        if found is None:
            return None
        detail = f"The API compares {found} only when it reads. Nothing was changed."
        return problem_response(Problem(CONDITION_NOT_SUPPORTED, detail))


def _is_change(request: HttpRequest, view: Callable[..., Any]) -> bool:
    method = request.method or ""
    api_view = getattr(view, "cls", None)
    return method not in SAFE_METHODS and hasattr(api_view, method.lower())
