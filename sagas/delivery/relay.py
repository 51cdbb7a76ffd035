"""The relay: takes what is due from a service's outbox and inbox, and sends it as Celery chains.

    chain( run_step(step, plan, messages, told) .on_error( fail_step() ),  flush(service) )

A step that has sent all it wrote takes the flush behind it out of the chain. Claim, commit, send
with no transaction open, mark. A relay that dies in between leaves a lease that runs out; two
relays on one row send it twice, which the receiver's inbox makes harmless. Order does not matter.
"""

import logging
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from celery import chain, current_app
from celery.canvas import Signature
from django.conf import settings
from django.db import connections
from msgspec.structs import replace

from sagas.definition.messages import Message, OutboxRow, TimelineEntry
from sagas.definition.plan import Plan, service_name
from sagas.delivery import queues
from sagas.observability import instrumentation
from sagas.storage import inbox, outbox, timeline
from sagas.storage.registry import Service, get_home
from sagas.testing.failpoints import Point, reach, reach_each

__all__ = ["batch_size", "flush", "publish", "signature"]

logger = logging.getLogger(__name__)

# One flush ends after so many full batches, so that a backlog is shared by all who flush.
ROUNDS = 50

# Messages in a queue above which a flush adds no second batch: seconds of work, and little of the
# broker's memory.
CONGESTED = 50
SHARE_OF_THE_NEWEST = 0.5

# Sagas of a batch that are named in logs and in the list of failures.
SHOWN = 20


class OutgoingMessage(NamedTuple):
    """A message, and what happened that its saga's home must be told of, where the message goes
    there.
    """

    message: Message
    news: TimelineEntry | None = None


class SendGroup(NamedTuple):
    """Messages that go to one step under one plan, in batches of at most `size`."""

    step: str
    plan: Plan
    size: int
    messages: list[OutgoingMessage]


def flush(service: Service) -> int:
    """Send what is due in a service's outbox, and the open steps of its inbox whose time has come;
    return how many.

    A backlog stays in the outbox rather than in the broker: it leaves as the workers take it. And
    so that it holds up no order that comes now, each round takes either the oldest rows or the
    newest.
    """
    sent = 0
    destinations: set[str] = set()
    for left in reversed(range(ROUNDS)):
        waiting = (
            queues.waiting(destinations) if destinations else 0
        )  # asked before anything is leased: it may fail
        if waiting >= CONGESTED:
            break
        newest = random.random() < SHARE_OF_THE_NEWEST  # noqa: S311  no secret
        envelopes = outbox.claim(service, limit=settings.OUTBOX_BATCH_SIZE, newest=newest)
        reach_each(Point.LEASED, envelopes)
        more = len(envelopes) == settings.OUTBOX_BATCH_SIZE
        publish(service, envelopes, and_then_flush=more and (not left or waiting + 1 >= CONGESTED))
        due = inbox.claim_due(service, limit=settings.OUTBOX_BATCH_SIZE)
        _send_again(service, due)
        sent += len(envelopes) + len(due)
        destinations = {service_name(row.target or row.plan.home) for row in envelopes}
        if not more and len(due) < settings.OUTBOX_BATCH_SIZE:
            break
    return sent


def publish(
    service: Service,
    envelopes: Sequence[OutboxRow],
    *,
    told: Sequence[TimelineEntry] = (),
    and_then_flush: bool = False,
) -> None:
    """Send leased rows of an outbox, on to their next steps and to the timeline, and mark them.

    `told`: what others sent along for the timeline that is kept here. A broker that fails gives the
    rows back to the outbox and raises what it raised.
    """
    news = _news(service, envelopes)
    if told:
        news.setdefault(service.name, []).extend(told)
    try:
        with instrumentation.publishing(service.name, envelopes):
            behind = service if and_then_flush else None
            for consignment in _onward(service, envelopes):
                _send(consignment, behind)
                behind = None
            for home, entries in news.items():
                _tell(service, home, entries)
            reach_each(Point.SENT, envelopes)
    except Exception as error:
        outbox.release(service, envelopes, error=repr(error))
        raise
    outbox.mark_published(service, envelopes)


def _tell(service: Service, home: str, entries: Sequence[TimelineEntry]) -> None:
    """Tell the home of some sagas what happened: a message for all; at home itself it is recorded
    at once.

    What cannot be recorded now comes back as a message: it delays the picture, never the saga.
    """
    if home == service.name:
        try:
            timeline.record(get_home(home), entries)
        except Exception as error:
            logger.warning(
                "%d events of %s could not be recorded yet: %r", len(entries), home, error
            )
            connections[service.alias].close_if_unusable_or_obsolete()
        else:
            return
    shown = f"{len(entries)} events"
    signature(
        "record", home, msgspec.to_builtins(entries), queue=home, argsrepr=shown
    ).apply_async()


def _send_again(service: Service, due: Sequence[inbox.DueRow]) -> None:
    """Send open steps to the service itself; a broker that fails gives them back at once, and
    raises.
    """
    try:
        for consignment in _again(due):
            reach(Point.LEASED, consignment.step, [item.message for item in consignment.messages])
            _send(consignment)
    except Exception:
        inbox.release_due(service, due)
        raise


def batch_size(attempts: int) -> int:
    """Return how many messages may share a batch after so many counted tries.

    A quarter with each: a message that kills its worker every time is soon alone, and the others go
    on.
    """
    size: int = settings.OUTBOX_BATCH_SIZE
    return max(1, size >> (2 * attempts))


def signature(name: str, *args: Any, queue: str, argsrepr: str | None = None) -> Signature:
    """Return an immutable signature of one of the engine's tasks, for a service's queue.

    `argsrepr`: what operators see of its arguments, where these are long; Celery would look through
    all of them for it.
    """
    shown = {"argsrepr": argsrepr} if argsrepr else {}
    return current_app.signature(f"sagas.{name}", args=args, queue=queue, immutable=True, **shown)


def _goes_home(service: Service, row: OutboxRow) -> bool:
    """Tell whether a row's message leads to the home of its saga, from elsewhere: what happened
    is told on the way.
    """
    return row.target is not None and service_name(row.target) == row.plan.home != service.name


def _onward(service: Service, envelopes: Iterable[OutboxRow]) -> Iterator[SendGroup]:
    return _grouped(
        (
            row.target,
            row.plan,
            batch_size(row.attempts - 1),
            OutgoingMessage(
                row.message(), row.entry(service.name) if _goes_home(service, row) else None
            ),
        )
        for row in envelopes
        if row.target
    )


def _news(service: Service, envelopes: Iterable[OutboxRow]) -> dict[str, list[TimelineEntry]]:
    """Return what the homes of these rows' sagas must be told apart from the rows' own messages."""
    news: dict[str, list[TimelineEntry]] = {}
    for row in envelopes:
        if not row.begins and not _goes_home(service, row):
            news.setdefault(row.plan.home, []).append(row.entry(service.name))
    return news


def _again(due: Iterable[inbox.DueRow]) -> Iterator[SendGroup]:
    return _grouped(
        (
            row.step,
            row.stored.plan,
            batch_size(row.attempts),
            OutgoingMessage(replace(row.stored.message, attempt=row.attempts)),
        )
        for row in due
    )


def _grouped(rows: Iterable[tuple[str, Plan, int, OutgoingMessage]]) -> Iterator[SendGroup]:
    groups: dict[tuple[str, Plan, int], list[OutgoingMessage]] = {}
    for step, plan, size, message in rows:
        groups.setdefault((step, plan, size), []).append(message)
    return (SendGroup(*key, messages) for key, messages in groups.items())


def _send(consignment: SendGroup, behind: Service | None = None) -> None:
    """Send the messages of a consignment, each batch as a chain: the step, and a flush of its
    service behind it.

    `behind` the first of them the sender is flushed as well: it has more to send, once the step has
    come that far.
    """
    step, queue = consignment.step, service_name(consignment.step)
    plan = msgspec.to_builtins(consignment.plan)
    for start in range(0, len(consignment.messages), consignment.size):
        batch = consignment.messages[start : start + consignment.size]
        messages = msgspec.to_builtins([item.message for item in batch])
        news = msgspec.to_builtins([item.news for item in batch if item.news])
        run = signature(
            "run_step", step, plan, messages, news, queue=queue, argsrepr=_shown(step, batch)
        )
        # On the step alone: chain.on_error would put it on the flush as well. Its arguments are
        # those of the step that failed (see `sagas.celery.result_backend`); carried along, they
        # would double it.
        run.link_error(signature("fail_step", queue=queue))
        flushed, behind = (queue, behind.name) if behind else (queue,), None
        chain(run, *(signature("flush", name, queue=name) for name in flushed)).apply_async()


def _shown(step: str, batch: Sequence[OutgoingMessage]) -> str:
    first = ", ".join(str(item.message.saga) for item in batch[:SHOWN])
    return f"{step} for {first}" + (f" and {len(batch) - SHOWN} more" if len(batch) > SHOWN else "")
