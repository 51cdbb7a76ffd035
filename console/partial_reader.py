"""Reads from several databases for one page, and leaves out a database that does not answer."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from django.db import Error

__all__ = ["PartialReader"]

T = TypeVar("T")


class PartialReader:
    """Reads for one page. `unreachable` names the services whose database did not answer.

    A reader that follows another one starts with the services that the other one could not reach.
    """

    def __init__(self, unreachable: Iterable[str] = ()) -> None:
        self.unreachable = list(unreachable)

    def read(self, service: str, query: Callable[[], Iterable[T]]) -> list[T]:
        """Return the rows of a query; none where the service's database does not answer.

        A service that failed once is not asked again, so a page waits for it only once.
        """
        if service in self.unreachable:
            return []
        try:
            return list(query())
        except Error:
            self.unreachable.append(service)
            return []
