"""The relay: takes what is due from a service's outbox and inbox, and sends it as Celery chains.

    chain( run_step(step, plan, messages) .on_error( fail_step(step, plan, messages) ),  flush(service) )

Claim, commit, send with no transaction open, mark. A relay that dies in between leaves a lease that runs out; two
relays on one row send it twice, which the receiver's inbox makes harmless. Order does not matter.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from celery import chain, current_app
from celery.canvas import Signature
from django.conf import settings
from msgspec.structs import replace

from sagas import broker, inbox, observe, outbox
from sagas.failpoints import Point, reach, reach_each
from sagas.messages import Entry, Envelope, Message
from sagas.plan import Plan, service_of
from sagas.services import Service

__all__ = ["batch_size", "flush", "publish", "signature"]

# One flush ends after so many full batches, so that a backlog is shared by all who flush.
ROUNDS = 50

# Messages in a queue above which a flush adds no second batch: seconds of work, and little of the broker's memory.
CONGESTED = 50
SHARE_OF_THE_NEWEST = 0.5


class Consignment(NamedTuple):
    """Messages that go to one step under one plan, in chains of at most `size`."""

    step: str
    plan: Plan
    size: int
    messages: list[Message]


def flush(service: Service) -> int:
    """Send what is due in a service's outbox, and the open steps of its inbox whose time has come; return how many.

    A backlog stays in the outbox rather than in the broker: it leaves as the workers take it. And so that it holds up
    no order that comes now, each round takes either the oldest rows or the newest.
    """
    sent = 0
    queues: set[str] = set()
    for _ in range(ROUNDS):
        if queues and broker.waiting(queues) > CONGESTED:
            break
        newest = random.random() < SHARE_OF_THE_NEWEST  # noqa: S311  no secret
        envelopes = outbox.claim(service, limit=settings.OUTBOX_BATCH_SIZE, newest=newest)
        reach_each(Point.LEASED, envelopes)
        publish(service, envelopes)
        due = inbox.claim_due(service, limit=settings.OUTBOX_BATCH_SIZE)
        _send_again(service, due)
        sent += len(envelopes) + len(due)
        queues = {service_of(row.target or row.plan.home) for row in envelopes}
        if max(len(envelopes), len(due)) < settings.OUTBOX_BATCH_SIZE:
            break
    return sent


def publish(service: Service, envelopes: Sequence[Envelope]) -> None:
    """Send leased rows of an outbox, on to their next steps and to the timeline, and mark them.

    A broker that fails gives the rows back to the outbox and raises what it raised.
    """
    if not envelopes:
        return
    try:
        with observe.publishing(service.name, envelopes):
            for consignment in _onward(envelopes):
                _send(consignment)
            _feed(service, envelopes)
            reach_each(Point.SENT, envelopes)
    except Exception as error:
        outbox.release(service, envelopes, error=repr(error))
        raise
    outbox.mark_published(service, envelopes)


def _send_again(service: Service, due: Sequence[inbox.Due]) -> None:
    """Send open steps to the service itself; a broker that fails gives them back at once, and raises."""
    try:
        for consignment in _again(due):
            reach(Point.LEASED, consignment.step, consignment.messages)
            _send(consignment)
    except Exception:
        inbox.release_due(service, due)
        raise


def batch_size(attempts: int) -> int:
    """Return how many messages may share a chain after so many counted tries.

    A quarter with each: a message that kills its worker every time is soon alone, and the others go on.
    """
    size: int = settings.OUTBOX_BATCH_SIZE
    return max(1, size >> (2 * attempts))


def signature(name: str, *args: Any, queue: str) -> Signature:
    """Return an immutable signature of one of the engine's tasks, for a service's queue."""
    return current_app.signature(f"sagas.{name}", args=args, queue=queue, immutable=True)


def _onward(envelopes: Iterable[Envelope]) -> Iterator[Consignment]:
    return _grouped(
        (row.target, row.plan, batch_size(row.attempts - 1), row.message()) for row in envelopes if row.target
    )


def _again(due: Iterable[inbox.Due]) -> Iterator[Consignment]:
    return _grouped(
        (row.step, row.parcel.plan, batch_size(row.attempts), replace(row.parcel.message, attempt=row.attempts))
        for row in due
    )


def _grouped(rows: Iterable[tuple[str, Plan, int, Message]]) -> Iterator[Consignment]:
    groups: dict[tuple[str, Plan, int], list[Message]] = {}
    for step, plan, size, message in rows:
        groups.setdefault((step, plan, size), []).append(message)
    return (Consignment(*key, messages) for key, messages in groups.items())


def _send(consignment: Consignment) -> None:
    step, queue = consignment.step, service_of(consignment.step)
    plan = msgspec.to_builtins(consignment.plan)
    for start in range(0, len(consignment.messages), consignment.size):
        messages = msgspec.to_builtins(consignment.messages[start : start + consignment.size])
        run = signature("run_step", step, plan, messages, queue=queue)
        # On the step alone: chain.on_error would put it on the flush as well.
        run.link_error(signature("fail_step", step, plan, messages, queue=queue))
        chain(run, signature("flush", queue, queue=queue)).apply_async()


def _feed(service: Service, envelopes: Sequence[Envelope]) -> None:
    """Tell the home of each saga what happened: one message for all, off the critical path."""
    by_home: dict[str, list[Entry]] = {}
    for row in envelopes:
        by_home.setdefault(row.plan.home, []).append(row.entry(service.name))
    for home, entries in by_home.items():
        signature("record", home, msgspec.to_builtins(entries), queue=home).apply_async()
