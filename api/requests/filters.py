"""Filters of lists that never take nothing for everything."""

from datetime import UTC, datetime
from typing import Any

import django_filters
from django.core.exceptions import ValidationError
from django_filters.fields import IsoDateTimeField

from api.problems.exceptions import FieldError, InvalidInput

__all__ = ["MomentFilter", "StrictFilterSet"]


class MomentField(IsoDateTimeField):
    """A moment in UTC: PostgreSQL takes no offset of 16 hours or more, which ISO 8601 allows."""

    def to_python(self, value: Any) -> datetime | None:
        """Return the moment. Raises ValidationError for what is none, or before year 1 or after
        9999 in UTC.
        """
        moment = super().to_python(value)
        try:
            return moment.astimezone(UTC) if moment else None
        except OverflowError as error:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from error


class MomentFilter(django_filters.IsoDateTimeFilter):
    """A filter by a moment, in ISO 8601."""

    field_class = MomentField


class StrictFilterSet(django_filters.FilterSet):
    """Filters that have a value where they are given: `?status=` is an error, which
    django-filter would leave out.
    """

    def is_valid(self) -> bool:
        """Tell whether the filters make sense. Raises `InvalidInput` for those without a value."""
        if empty := [name for name in self.filters if self.data.get(name) == ""]:
            raise InvalidInput(
                *(FieldError(name, "invalid", "Not empty: leave it out instead.") for name in empty)
            )
        return bool(super().is_valid())
