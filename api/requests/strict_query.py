"""Strict query parameters: an unknown parameter is an error, because ignoring it would return
the whole list.
"""

from collections.abc import Collection, Iterator

from rest_framework.request import Request

from api.problems.exceptions import FieldError, InvalidInput

__all__ = ["check_query"]


def check_query(request: Request, known: Collection[str]) -> None:
    """Reject unknown and repeated parameters. Raises `InvalidInput`."""
    if errors := list(_errors(request, known)):
        raise InvalidInput(*errors)


def _errors(request: Request, known: Collection[str]) -> Iterator[FieldError]:
    names = ", ".join(sorted(known)) or "none"
    for name, values in request.query_params.lists():
        if name not in known:
            yield FieldError(name, "unknown", f"Unknown parameter. Known parameters: {names}.")
        elif len(values) > 1:
            yield FieldError(name, "repeated", "This parameter may be given only once.")
