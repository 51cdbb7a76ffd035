"""Messages whose calls this process cannot start soon: they wait as rows, without a claim.

The destination of a message is known once its request is prepared. If a destination takes fewer
calls than were claimed for it, the transaction is rolled back, and its surplus is postponed. A
postponed message keeps its destination, so the next run knows it before the claim.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from sagas.definition.handlers import ExternalStep
from sagas.definition.messages import Message
from sagas.definition.plan import Plan
from sagas.execution import in_flight
from sagas.storage import inbox
from sagas.storage.registry import Service

__all__ = ["Surplus", "find", "postpone", "without"]

# Seconds until another worker gets the messages of a process that stops.
SOON = 0.2


class Surplus(Exception):
    """More messages were claimed than some destinations take now. The transaction is rolled back.

    `messages` name their destination.
    """

    def __init__(self, messages: Sequence[Message]) -> None:
        super().__init__(f"{len(messages)} messages find no room")
        self.messages = list(messages)


def find(
    service: Service,
    step: str,
    handler: ExternalStep[Any, Any, Any],
    messages: Iterable[tuple[Message, str | None]],
) -> list[Message]:
    """Return the messages beyond the room of their destinations; each names its destination."""
    if in_flight.refuses(step):
        return [
            replace(message, destination=destination or "") for message, destination in messages
        ]

    by_destination: dict[str, list[Message]] = defaultdict(list)
    for message, destination in messages:
        if destination:
            by_destination[destination].append(replace(message, destination=destination))

    counts = {name: len(members) for name, members in by_destination.items()}
    rooms = in_flight.rooms(service, step, handler, counts)
    return [
        message
        for destination, members in by_destination.items()
        for message in members[rooms[destination] :]
    ]


def _due_times(
    service: Service,
    step: str,
    handler: ExternalStep[Any, Any, Any],
    messages: Sequence[Message],
) -> dict[UUID, float]:
    """Return the seconds after which each of these messages is due again."""
    counts: dict[str, int] = defaultdict(int)
    for message in messages:
        if message.destination:
            counts[message.destination] += 1
    places: Mapping[str, float] = (
        {} if in_flight.refuses(step) else in_flight.places(service, step, handler, counts)
    )
    return {message.saga: places.get(message.destination, SOON) for message in messages}


def without(messages: Sequence[Message], surplus: Sequence[Message]) -> list[Message]:
    """Return the messages that are not in a surplus."""
    sagas = {message.saga for message in surplus}
    return [message for message in messages if message.saga not in sagas]


def postpone(
    service: Service,
    step: str,
    plan: Plan,
    handler: ExternalStep[Any, Any, Any],
    messages: Sequence[Message],
    transact: Callable[[Callable[[], Any]], Any],
) -> None:
    """Keep messages as rows that are due when their destination has room again, uncounted."""
    due_in = _due_times(service, step, handler, messages)
    transact(lambda: inbox.postpone(service, step, plan, messages, due_in=due_in))
