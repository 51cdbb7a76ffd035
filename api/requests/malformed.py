"""Rejects, before any view runs, requests that readers could interpret in different ways."""

from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.http import parse_header_parameters

from api.problems.exceptions import Problem, problem_response
from api.problems.problem_types import BAD_REQUEST, LENGTH_REQUIRED, UNSUPPORTED_MEDIA_TYPE

__all__ = ["refuse_malformed"]

UTF8 = frozenset({"utf-8", "utf8"})

Handler = Callable[[HttpRequest], HttpResponseBase]


def refuse_malformed(get_response: Handler) -> Handler:
    """Answer a malformed request with a problem. A middleware."""

    def handle(request: HttpRequest) -> HttpResponseBase:
        problem = _problem_of(request)
        if problem is None:
            return get_response(request)
        if request.path.startswith("/api/"):
            return problem_response(problem)
        return HttpResponse(
            str(problem.detail),
            status=problem.status_code,
            content_type="text/plain; charset=utf-8",
        )

    return handle


def _problem_of(request: HttpRequest) -> Problem | None:
    if "HTTP_TRANSFER_ENCODING" in request.META and not request.META.get("CONTENT_LENGTH"):
        return Problem(LENGTH_REQUIRED)
    if not _is_utf8(request.META.get("CONTENT_TYPE", "")):
        return Problem(UNSUPPORTED_MEDIA_TYPE, "The API accepts only text in UTF-8.")
    if not _is_text(request.META.get("QUERY_STRING", "")):
        return Problem(BAD_REQUEST, "The query string is not UTF-8, or contains a NUL.")
    return None


def _is_utf8(content_type: str) -> bool:
    """Tell whether a content type names UTF-8 or no charset.

    Django would decode the query string with the charset of the body as well.
    """
    if "charset" not in content_type.lower():
        return True
    try:
        _, parameters = parse_header_parameters(content_type)
    except ValueError:
        return False
    return parameters.get("charset", "utf-8").lower() in UTF8


def _is_text(query: str) -> bool:
    if "%" not in query and query.isascii():
        return "\0" not in query
    try:
        return "\0" not in unquote_to_bytes(query.encode("latin-1")).decode("utf-8")
    except UnicodeError:
        return False
