"""Refuses conditional headers (RFC 9110, section 13) of requests that change data.

No such request compares them. A client that sends `If-Match` asks for no change in another case, so
the request must not be carried out as if the condition held.
"""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

from api.problems.exceptions import Problem, problem_response
from api.problems.problem_types import CONDITION_NOT_SUPPORTED

__all__ = ["CONDITIONS", "SAFE_METHODS", "refuse_conditions"]

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

Handler = Callable[[HttpRequest], HttpResponseBase]


def refuse_conditions(get_response: Handler) -> Handler:
    """Answer a change with a condition by a problem, before any view runs. A middleware."""

    def handle(request: HttpRequest) -> HttpResponseBase:
        if request.method in SAFE_METHODS or not request.path.startswith("/api/"):
            return get_response(request)
        found = next((name for name in CONDITIONS if name in request.headers), None)
        if found is None:
            return get_response(request)
        detail = f"The API compares {found} only when it reads. Nothing was changed."
        return problem_response(Problem(CONDITION_NOT_SUPPORTED, detail))

    return handle
