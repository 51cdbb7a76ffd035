"""Errors as RFC 9457 problems: `application/problem+json` with type, title, status, detail, and
errors of input.

The kinds of problem, with their types, titles and statuses, are in `api.problems.problem_types` and beside the views
of each service.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from django.http import HttpResponse
from rest_framework import exceptions

from api.problems.problem_types import INVALID_INPUT, ProblemType

__all__ = [
    "FieldError",
    "InvalidInput",
    "Problem",
    "problem_response",
]

MEDIA_TYPE = "application/problem+json"

# Seconds after which a client should try again when a database is away: a restart takes about as
# long.
RETRY_AFTER = 2


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field of the input. `field` is its path, like `lines[0].quantity`;
    empty for the whole.
    """

    field: str
    code: str
    detail: str


class Problem(exceptions.APIException):
    """An error to be answered as it stands. Its kind is for programs; `detail` for people, if
    there is more to say.
    """

    def __init__(
        self,
        kind: ProblemType,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.status_code = kind.status
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        super().__init__(detail or kind.meaning)

    def body(self) -> dict[str, Any]:
        """Return the members of the problem."""
        kind = self.kind
        body = {
            "type": kind.type,
            "title": kind.title,
            "status": kind.status,
            "detail": str(self.detail),
        }
        return body | ({"errors": msgspec.to_builtins(self.errors)} if self.errors else {})


class InvalidInput(Problem):
    """What the client sent cannot be used; `errors` says field by field why."""

    def __init__(self, *errors: FieldError) -> None:
        detail = "; ".join(
            f"{error.field}: {error.detail}" if error.field else error.detail
            for error in errors[:3]
        )
        super().__init__(INVALID_INPUT, detail, errors=errors)


def problem_response(problem: Problem) -> HttpResponse:
    """Return a problem as a response, where REST framework is not there to do it."""
    body = msgspec.json.encode(problem.body())
    return HttpResponse(
        body, status=problem.status_code, content_type=MEDIA_TYPE, headers=problem.headers
    )
