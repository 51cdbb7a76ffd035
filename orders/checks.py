"""Checks settings when a process starts, so that no request fails on them."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from api.chosen_function import chosen_function
from orders.saga import chosen_saga

__all__ = ["check_choices"]

# Functions that read a choice from a setting, by the id of the error if the choice is wrong.
CHOICES: dict[str, Callable[[], object]] = {
    "orders.E001": chosen_saga,
    "orders.E002": partial(chosen_function, "PRICE_CHECK"),
    "orders.E003": partial(chosen_function, "PAYMENT_SUMMARIES"),
    "orders.E004": partial(chosen_function, "STAFF_CANCEL"),
}


@register
def check_choices(**kwargs: Any) -> list[CheckMessage]:
    """Report each setting that names no saga or no function."""
    return [fault for number, choose in CHOICES.items() for fault in _faults(number, choose)]


def _faults(number: str, choose: Callable[[], object]) -> list[CheckMessage]:
    try:
        choose()
    except ImproperlyConfigured as wrong:
        return [Error(str(wrong), id=number)]
    return []
