"""Queries that are taken at their word: what a list does not know is an error, never all of the
list.
"""

from collections.abc import Collection, Iterator

from rest_framework.request import Request

from api.problems.exceptions import FieldError, InvalidInput

__all__ = ["check_query"]


def check_query(request: Request, known: Collection[str]) -> None:
    """Refuse parameters that are not known, or given twice. Raises `InvalidInput`."""
    if errors := list(_errors(request, known)):
        raise InvalidInput(*errors)


def _errors(request: Request, known: Collection[str]) -> Iterator[FieldError]:
    for name, values in request.query_params.lists():
        if name not in known:
            yield FieldError(name, "unknown", f"Known here: {', '.join(sorted(known)) or 'none'}.")
        elif len(values) > 1:
            yield FieldError(name, "repeated", "Once at most.")
