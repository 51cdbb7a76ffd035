"""The rows of a saga as the export has them."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Model

__all__ = ["exported_row"]

# Columns that repeat in every row of a saga.
REPEATED = frozenset({"saga", "saga_started_at"})


def exported_row(row: Model, *, without: Iterable[str] = ()) -> dict[str, Any]:
    """Return the columns of a row, besides the ones that repeat and `without`."""
    left_out = REPEATED | set(without)
    return {
        field.name: field.value_from_object(row)
        for field in row._meta.fields
        if field.name not in left_out
    }
