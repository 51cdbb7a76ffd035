"""The waiting calls of one step to one destination: they share all limits."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from sagas.definition.handlers import ExternalStep
from sagas.definition.limits import Limit, Limits, keys_of
from sagas.execution.in_flight.calls import Call
from sagas.storage.registry import Service

__all__ = ["Lane", "most_at_once", "most_per_second"]


class Lane:
    """A lane of a destination. It is not safe for threads: the executor has the lock."""

    def __init__(
        self, service: Service, step: str, destination: str, handler: ExternalStep[Any, Any, Any]
    ) -> None:
        self.service = service
        self.step = step
        self.destination = destination
        self.keys = keys_of(step, destination)
        self.waiting: deque[Call] = deque()
        self.permitted_at = 0.0  # the start of its last permit, by the database's clock
        self._handler = handler

    def limits(self, table: Limits) -> dict[str, Limit]:
        """Return the limits of the lane's keys. A key without a limit is left out."""
        found = {key: table.of(key, self._handler.limit) for key in self.keys}
        return {key: limit for key, limit in found.items() if limit}


def most_per_second(limits: Mapping[str, Limit]) -> int | None:
    """Return the lowest limit of calls per second, or None."""
    return min((each.per_second for each in limits.values() if each.per_second), default=None)


def most_at_once(limits: Mapping[str, Limit]) -> int | None:
    """Return the lowest limit of calls at once, or None."""
    return min((each.at_once for each in limits.values() if each.at_once), default=None)
