"""Functions of other apps that a service must not import: settings name them by dotted path."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

__all__ = ["chosen_function"]


def chosen_function(setting: str) -> Any:
    """Return the function whose dotted path a setting has. Raises ImproperlyConfigured if none."""
    path = getattr(settings, setting)
    try:
        function = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(
            f"{setting} is {path!r}, which cannot be imported: {error}."
        ) from error
    if not callable(function):
        raise ImproperlyConfigured(f"{setting} is {path!r}, which is not a function.")
    return function
