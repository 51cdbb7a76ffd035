"""Asking the services' databases, for one page: whoever does not answer is named, and the rest
is shown.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

from django.db import Error

__all__ = ["Asking"]

T = TypeVar("T")


class Asking:
    """The questions of one page. `unreachable` names the services whose database did not answer."""

    def __init__(self) -> None:
        self.unreachable: list[str] = []

    def ask(self, service: str, question: Callable[[], Iterable[T]]) -> list[T]:
        """Return what a service answers; nothing, and no second question, where its database
        does not.
        """
        if service in self.unreachable:
            return []
        try:
            return list(question())
        except Error:
            self.unreachable.append(service)
            return []
