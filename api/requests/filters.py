"""Filter sets that reject an empty value instead of ignoring it."""

from datetime import UTC, datetime
from typing import Any

import django_filters
from django.core.exceptions import ValidationError
from django_filters.fields import IsoDateTimeField

from api.problems.exceptions import FieldError, InvalidInput

__all__ = ["DateTimeFilter", "StrictFilterSet"]


class UtcDateTimeField(IsoDateTimeField):
    """A time, converted to UTC, because PostgreSQL rejects offsets of 16 hours or more."""

    def to_python(self, value: Any) -> datetime | None:
        """Return the time. Raises ValidationError outside of the years 1 to 9999 in UTC."""
        time = super().to_python(value)
        try:
            return time.astimezone(UTC) if time else None
        except OverflowError as error:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from error


class DateTimeFilter(django_filters.IsoDateTimeFilter):
    """A filter by a time in ISO 8601."""

    field_class = UtcDateTimeField


class StrictFilterSet(django_filters.FilterSet):
    """Filters that need a value: `?status=` is an error, which django-filter would ignore."""

    def is_valid(self) -> bool:
        """Tell whether the filters are valid. Raises `InvalidInput` for filters without a value."""
        empty = [name for name in self.filters if self.data.get(name) == ""]
        if empty:
            detail = "The value is empty: give one, or leave the filter out."
            raise InvalidInput(*(FieldError(name, "invalid", detail) for name in empty))
        return bool(super().is_valid())
