"""Answers to exceptions and to Django's own errors: problems below /api/, pages elsewhere."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.db.utils import Error as DatabaseError
from django.http import Http404, HttpRequest, HttpResponse
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.response import Response

from api.problems.exceptions import (
    MEDIA_TYPE,
    FieldError,
    InvalidInput,
    Problem,
    problem_response,
)
from api.problems.problem_types import (
    ACTION_REJECTED,
    BAD_REQUEST,
    FORBIDDEN,
    INTERNAL_ERROR,
    NOT_FOUND,
    UNAVAILABLE,
    problem_type_for_status,
)
from sagas.sql import is_transient
from staff.policy import NotPermitted
from staff.writes import Rejected

__all__ = [
    "bad_request",
    "exception_handler",
    "not_found",
    "permission_denied",
    "server_error",
    "unknown_path",
]

# Seconds that a client should wait while a database is unavailable: about as long as a restart.
RETRY_AFTER = 2


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Answer an exception of a view. None passes it on to Django, which logs it and answers 500."""
    problem = _problem_of(error)
    if problem is None:
        return None
    return Response(
        problem.body(), problem.status_code, headers=problem.headers, content_type=MEDIA_TYPE
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django itself rejected."""
    if _is_api(request):
        return problem_response(Problem(BAD_REQUEST))
    return defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that was denied outside of REST framework."""
    if _is_api(request):
        return problem_response(Problem(FORBIDDEN))
    return defaults.permission_denied(request, exception)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer a path that does not exist."""
    if not _is_api(request):
        return defaults.page_not_found(request, exception or Http404())
    slash = "" if request.path.endswith("/") else " All paths end with a slash."
    return problem_response(Problem(NOT_FOUND, f"There is nothing at this path.{slash}"))


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer an internal error, which Django has logged."""
    if _is_api(request):
        return problem_response(Problem(INTERNAL_ERROR))
    return defaults.server_error(request)


@csrf_exempt
def unknown_path(request: HttpRequest, **_: str) -> HttpResponse:
    """Answer an unknown path below /api/ with a problem, even where Django shows debug pages."""
    return not_found(request)


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def _problem_of(error: Exception) -> Problem | None:
    match error:
        case exceptions.APIException():
            return _rest_problem(error)
        case Http404():
            return Problem(NOT_FOUND)
        case PermissionDenied() | NotPermitted() | Rejected():
            return _refusal(error)
        case DatabaseError() if _is_unavailable(error):
            return Problem(UNAVAILABLE, headers={"Retry-After": str(RETRY_AFTER)})
    return None


def _refusal(error: Exception) -> Problem:
    if isinstance(error, Rejected):
        return Problem(ACTION_REJECTED, str(error))
    return Problem(FORBIDDEN, str(error) if isinstance(error, NotPermitted) else "")


def _is_unavailable(error: DatabaseError) -> bool:
    return is_transient(error) or isinstance(error, OperationalError | InterfaceError)


def _rest_problem(error: exceptions.APIException) -> Problem:
    match error:
        case Problem():
            return error
        case exceptions.ValidationError():
            return InvalidInput(*_field_errors(error.get_full_details()))
    problem_type = problem_type_for_status(error.status_code)
    return Problem(problem_type, str(error.detail), headers=_headers_of(error))


def _headers_of(error: exceptions.APIException) -> dict[str, str]:
    headers = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = f"{wait:.0f}"
    return headers


def _field_errors(details: Any, path: str = "") -> Iterator[FieldError]:
    """Flatten REST framework's nested errors into paths. A number is an index of a list."""
    if isinstance(details, list):
        for item in details:
            yield from _field_errors(item, path)
    elif isinstance(details.get("message"), str):
        yield FieldError(path, str(details["code"]), str(details["message"]))
    else:
        for name, nested in details.items():
            yield from _field_errors(nested, _join(path, name))


def _join(path: str, name: str | int) -> str:
    if name == "non_field_errors":
        return path
    return f"{path}[{name}]" if isinstance(name, int) else f"{path}.{name}".lstrip(".")
