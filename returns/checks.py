"""Checks the setting of returns when a process starts, so that no request fails on it."""

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from api.chosen_function import chosen_function
from returns.returnable_orders import SETTING

__all__ = ["check_choices"]


@register
def check_choices(**kwargs: Any) -> list[CheckMessage]:
    """Report a setting that names no function."""
    try:
        chosen_function(SETTING)
    except ImproperlyConfigured as wrong:
        return [Error(str(wrong), id="returns.E001")]
    return []
