"""Problems as exceptions, and their bodies (RFC 9457): `application/problem+json`.

The problem types are in `api.problems.problem_types` and beside the views of each service.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from django.http import HttpResponse
from rest_framework import exceptions

from api.problems.problem_types import INVALID_INPUT, ProblemType

__all__ = ["MEDIA_TYPE", "FieldError", "InvalidInput", "Problem", "problem_response"]

MEDIA_TYPE = "application/problem+json"

# The number of fields that the detail of invalid input names; `errors` has all of them.
FIELDS_IN_DETAIL = 3


class FieldError(msgspec.Struct, frozen=True):
    """An error in one field of the input.

    `field` is its path, like `lines[0].quantity`; empty for the body as a whole.
    """

    field: str
    code: str
    detail: str

    def __str__(self) -> str:
        return f"{self.field}: {self.detail}" if self.field else self.detail


class Problem(exceptions.APIException):
    """An error that is answered as it is. `detail` defaults to the meaning of the problem type.

    `members` are the extension members of its type.
    """

    def __init__(
        self,
        problem_type: ProblemType,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        self.problem_type = problem_type
        self.status_code = problem_type.status
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.members = dict(members or {})
        super().__init__(detail or problem_type.meaning)

    def body(self) -> dict[str, Any]:
        """Return the members of the problem."""
        body: dict[str, Any] = {
            "type": self.problem_type.type,
            "title": self.problem_type.title,
            "status": self.problem_type.status,
            "detail": str(self.detail),
        }
        if self.errors:
            body["errors"] = msgspec.to_builtins(self.errors)
        return body | self.members


class InvalidInput(Problem):
    """The client's input is not valid; `errors` names each field and the reason."""

    def __init__(self, *errors: FieldError) -> None:
        detail = "; ".join(str(error) for error in errors[:FIELDS_IN_DETAIL])
        super().__init__(INVALID_INPUT, detail, errors=errors)


def problem_response(problem: Problem) -> HttpResponse:
    """Return a problem as a response, for code that runs outside of REST framework."""
    return HttpResponse(
        msgspec.json.encode(problem.body()),
        status=problem.status_code,
        content_type=MEDIA_TYPE,
        headers=problem.headers,
    )
