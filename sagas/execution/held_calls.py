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
from sagas.storage import destination_holds, hold_probes, inbox
from sagas.storage.destination_holds import DestinationHolds
from sagas.storage.registry import Service

__all__ = ["CallsOnHold", "calls_on_hold", "store_held"]


class CallsOnHold(Exception):
    """Some messages were claimed whose destination is on hold. The transaction is rolled back.

    `messages`: these messages by destination. `probes`: the sagas among them that were sent to try
    another destination, each with the destination at which it waits from now on.
    """

    def __init__(self, messages: Mapping[str, Sequence[Message]], holds: DestinationHolds) -> None:
        self.messages = messages
        self.probes = {
            message.saga: destination
            for destination, members in messages.items()
            for message in members
            if holds.is_probe(message.saga)
        }
        self.sagas = {message.saga for members in messages.values() for message in members}
        super().__init__(f"{len(self.sagas)} messages wait at a hold of their destination")


def calls_on_hold(
    service: Service, step: str, claimed: Sequence[Claimed], holds: DestinationHolds
) -> CallsOnHold | None:
    """Return the claimed messages that a hold of their destination stops; None if there is none.

    Runs inside the transaction of the claim. It costs a statement only if a probe is claimed, or if
    more destinations are on hold than the claim lists.
    """
    if not holds.complete:
        calls = {item.saga: item.destination for item in claimed}
        holds = destination_holds.among(service, step, calls)

    stopped = [item for item in claimed if holds.stops(item.saga, item.destination)]
    probes = {
        item.saga: item.destination or ""
        for item in claimed
        if holds.lets_pass(item.saga, item.destination)
    }
    if probes and not stopped:
        calling = hold_probes.begin_calls(service, step, probes)
        stopped = [item for item in claimed if item.saga in probes.keys() - calling]

    messages: dict[str, list[Message]] = defaultdict(list)
    for item in stopped:
        messages[item.destination or ""].append(item.message)
    return CallsOnHold(messages, holds) if messages else None


def store_held(service: Service, step: str, plan: Plan, stopped: CallsOnHold) -> int:
    """Keep messages as held rows, with a due outbox row each that tells the timeline.

    Return how many are held now. A message that was held already writes no event. A probe that
    waits at another destination is no probe of the first one any more.
    """
    if stopped.probes:
        hold_probes.end_probes(service, step, stopped.probes)

    sagas = inbox.hold_calls(service, step, plan, stopped.messages)
    held = [
        message
        for members in stopped.messages.values()
        for message in members
        if message.saga in sagas
    ]
    instrumentation.record_skipped(service.alias, step, duplicates=0, held=len(held))
    write_on_hold(service, step, plan, held)
    return len(held)
