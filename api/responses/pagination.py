"""Pages of lists: `{results, next, previous}`, by cursor.

With a cursor every page costs the same, and new rows do not shift the pages.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from rest_framework import pagination
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.problems.exceptions import FieldError, InvalidInput
from api.requests.strict_query import check_query

__all__ = ["CursorPagination"]

ORDERING = "ordering"
NOWHERE = pagination.Cursor(offset=0, reverse=False, position=None)


class CursorPagination(pagination.CursorPagination):
    """Pages in a view's `ordering`; by default the newest first, because ids are UUIDv7.

    A view with `orderings` lets the client choose one by its name; the first is the default.
    """

    ordering = "-id"
    page_size = 50
    max_page_size = 100
    page_size_query_param = "limit"
    page_size_query_description = "Results per page, 1 to 100."
    max_digits = 3

    def get_ordering(
        self, request: Request, queryset: QuerySet[Any], view: APIView
    ) -> tuple[str, ...]:
        """Return the fields to order by; the last one is unique.

        Raises `InvalidInput` for an unknown ordering.
        """
        ordering = getattr(view, "ordering", None) or self.ordering
        if orderings := _orderings(view):
            ordering = orderings.get(request.query_params.get(ORDERING, next(iter(orderings))))
            if ordering is None:
                raise InvalidInput(
                    FieldError(ORDERING, "invalid", f"Use one of: {', '.join(orderings)}.")
                )
        return (ordering,) if isinstance(ordering, str) else tuple(ordering)

    def get_page_size(self, request: Request) -> int:
        """Return the limit. Raises `InvalidInput` for an invalid one."""
        given = request.query_params.get(self.page_size_query_param)
        if given is None:
            return self.page_size
        size = (
            int(given)
            if given.isascii() and given.isdigit() and len(given) <= self.max_digits
            else 0
        )
        if not 1 <= size <= self.max_page_size:
            raise InvalidInput(
                FieldError("limit", "invalid", f"Use an integer from 1 to {self.max_page_size}.")
            )
        return size

    def decode_cursor(self, request: Request) -> pagination.Cursor | None:
        """Return the position of the page. Raises NotFound for an empty cursor."""
        cursor = super().decode_cursor(request)
        if cursor == NOWHERE:
            raise NotFound
        return cursor

    def paginate_queryset(
        self, queryset: QuerySet[Any] | Sequence[Any], request: Request, view: APIView | None = None
    ) -> list[Any] | None:
        """Return one page. Raises `InvalidInput` for a foreign cursor or unknown parameters."""
        check_query(request, self._known(view))
        try:
            return super().paginate_queryset(queryset, request, view)
        except (NotFound, ValidationError, ValueError, TypeError) as error:
            raise InvalidInput(
                FieldError("cursor", "invalid", "Use a cursor from `next` or `previous`.")
            ) from error

    def _known(self, view: APIView | None) -> set[str]:
        filters = getattr(getattr(view, "filterset_class", None), "base_filters", ())
        ordering = [ORDERING] if _orderings(view) else []
        return {self.cursor_query_param, self.page_size_query_param, *filters, *ordering}

    def get_paginated_response(self, data: Sequence[Any]) -> Response:
        """Return the page with its links."""
        return Response(
            {"results": data, "next": self.get_next_link(), "previous": self.get_previous_link()}
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the page's JSON schema."""
        link = {"type": ["string", "null"], "format": "uri", "example": None}
        properties = {"results": schema, "next": link, "previous": link}
        return {"type": "object", "required": list(properties), "properties": properties}

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        """Return the query parameters of a list, for the schema."""
        limit = {
            "type": "integer",
            "minimum": 1,
            "maximum": self.max_page_size,
            "default": self.page_size,
        }
        described = [
            (self.page_size_query_param, limit, self.page_size_query_description),
            (
                self.cursor_query_param,
                {"type": "string"},
                "The position of the page: copy it from `next` or `previous`.",
            ),
        ]
        if orderings := _orderings(view):
            names = {"type": "string", "enum": list(orderings), "default": next(iter(orderings))}
            described.append((ORDERING, names, "The field to order by; `-` for descending."))
        return [
            {"name": name, "in": "query", "required": False, "description": text, "schema": schema}
            for name, schema, text in described
        ]


def _orderings(view: APIView | None) -> Mapping[str, Sequence[str]]:
    return getattr(view, "orderings", {})
