"""The rows of a project that a person must look at, on the page and in the export of a saga.

An audit, for example, registers its findings. They are read with the rows of the saga.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple
from uuid import UUID

from django.db.models import Model

__all__ = ["Concern", "ConcernSource", "concern_sources", "register_concerns"]


class Concern(NamedTuple):
    """A sentence for the page of a saga, and the row of which it tells."""

    sentence: str
    row: Model


class ConcernSource(NamedTuple):
    """`read` returns the concerns of a saga, from the database of `service`."""

    service: str
    read: Callable[[UUID], Iterable[Concern]]


_sources: dict[str, ConcernSource] = {}


def register_concerns(name: str, service: str, read: Callable[[UUID], Iterable[Concern]]) -> None:
    """Add a source. `name` is the field of the export. Call it when the app is ready."""
    _sources[name] = ConcernSource(service, read)


def concern_sources() -> dict[str, ConcernSource]:
    """Return the sources by name."""
    return dict(_sources)
