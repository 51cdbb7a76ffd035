"""Filters of lists that never take nothing for everything."""

import django_filters

from api.problems import FieldError, InvalidInput

__all__ = ["StrictFilterSet"]


class StrictFilterSet(django_filters.FilterSet):
    """Filters that have a value where they are given: `?status=` is an error, which django-filter would leave out."""

    def is_valid(self) -> bool:
        """Tell whether the filters make sense. Raises `InvalidInput` for those without a value."""
        if empty := [name for name in self.filters if self.data.get(name) == ""]:
            raise InvalidInput(*(FieldError(name, "invalid", "Not empty: leave it out instead.") for name in empty))
        return bool(super().is_valid())
