"""Messages whose destination is on hold: they wait as held rows, and do not call.

The destination of a message is known once its request is prepared. A destination that was stored
with an earlier attempt may be stale, so it decides nothing. If some requests go to destinations on
hold, the transaction of the claim is rolled back, and their messages become held rows. The other
messages are claimed again.

A hold that is released meanwhile leaves held rows without a hold, which beat makes due.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sagas.definition.messages import Message
from sagas.definition.plan import Plan
from sagas.execution.claiming import Claimed, write_on_hold
from sagas.observability import instrumentation
from sagas.storage import inbox
from sagas.storage.destination_holds import HeldDestinations
from sagas.storage.registry import Service

__all__ = ["CallsOnHold", "find", "keep"]


class CallsOnHold(Exception):
    """Some messages were claimed whose destination is on hold. The transaction is rolled back."""

    def __init__(self, messages: Mapping[str, Sequence[Message]]) -> None:
        self.messages = messages
        self.sagas = {message.saga for members in messages.values() for message in members}
        super().__init__(f"{len(self.sagas)} messages wait at a hold of their destination")


def find(claimed: Sequence[Claimed], held: HeldDestinations) -> dict[str, list[Message]]:
    """Return the claimed messages that a hold of their destination stops, by destination."""
    found: dict[str, list[Message]] = defaultdict(list)
    for item in claimed:
        destination = item.destination
        if destination and destination in held and item.saga not in held[destination]:
            found[destination].append(item.message)
    return dict(found)


def keep(service: Service, step: str, plan: Plan, messages: Mapping[str, Sequence[Message]]) -> int:
    """Keep messages as held rows, with a due outbox row each that tells the timeline.

    Return how many are held now. A message that was held already writes no event.
    """
    sagas = inbox.hold_calls(service, step, plan, messages)
    held = [
        message for members in messages.values() for message in members if message.saga in sagas
    ]
    instrumentation.record_skipped(service.alias, step, duplicates=0, held=len(held))
    write_on_hold(service, step, plan, held)
    return len(held)
