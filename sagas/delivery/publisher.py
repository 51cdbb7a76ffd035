"""Send leased outbox and inbox rows as Celery chains.

    chain(run_step(step, plan, messages, timeline_entries).on_error(fail_step()), flush(service))

A step that has sent all rows it wrote removes the flush behind it from the chain. No transaction is
open while a chain is sent. A publisher that dies between sending and marking leaves a lease that
expires. The rows are then sent again, and the receiver's inbox ignores the second copy. The order
of messages does not matter.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import msgspec
from celery import chain
from celery.canvas import Signature
from django.db import connections
from msgspec.structs import replace

from sagas.conf import settings
from sagas.definition import handlers
from sagas.definition.messages import Message, OutboxRow, TimelineEntry
from sagas.definition.plan import Plan, service_name
from sagas.definition.sizes import split_by_size
from sagas.delivery import admission
from sagas.delivery.task_signatures import task_signature
from sagas.failpoints import Point, reach, reach_each
from sagas.observability import instrumentation
from sagas.storage import inbox, outbox, timeline
from sagas.storage.registry import Service, get_home

__all__ = ["batch_size", "publish", "resend"]

logger = logging.getLogger(__name__)

_encoder = msgspec.json.Encoder()

# The most sagas of a batch that logs and the list of failed tasks name.
MOST_SAGAS_SHOWN = 20


class SendGroup(NamedTuple):
    """Messages that may share a batch: same step, same plan, at most `batch_size` in each batch.

    Large messages are fewer in a batch: see `sagas.definition.sizes`.
    """

    step: str
    plan: Plan
    batch_size: int


class OutgoingMessage(NamedTuple):
    """A message to a step, and the timeline entry that travels with it to the saga's home."""

    message: Message
    timeline_entry: TimelineEntry | None = None


class Batch(NamedTuple):
    """The content of one chain."""

    step: str
    plan: Plan
    messages: list[OutgoingMessage]

    @property
    def queue(self) -> str:
        """The queue of the service that runs the step."""
        return service_name(self.step)


def publish(
    service: Service,
    rows: Sequence[OutboxRow],
    *,
    timeline_entries: Sequence[TimelineEntry] = (),
    and_then_flush: bool = False,
    gathers: bool = False,
) -> int:
    """Send leased outbox rows to their next steps and to the timelines, then mark them as sent.

    Rows for a long queue are not sent: they become due again. Return how many these are. With
    `gathers`, a small batch counts a queue as long sooner (`admission.crowded_queues`).

    `timeline_entries` came with messages from other services and belong to the timeline kept here.
    With `and_then_flush`, the first chain also ends with a flush of this service. If the broker
    fails, the rows become due again and its error is raised.
    """
    try:
        admitted = _admit(service, rows, gathers=gathers)
        with instrumentation.observe_publishing(service.name, admitted):
            _send_all(service, admitted, timeline_entries, and_then_flush=and_then_flush)
            reach_each(Point.SENT, admitted)
    except Exception as error:
        outbox.release(service, rows, error=repr(error))
        raise

    outbox.mark_published(service, admitted)
    return len(rows) - len(admitted)


def _send_all(
    service: Service,
    rows: Sequence[OutboxRow],
    timeline_entries: Sequence[TimelineEntry],
    *,
    and_then_flush: bool,
) -> None:
    entries_by_home = _entries_by_home(service, rows)
    if timeline_entries:
        entries_by_home.setdefault(service.name, []).extend(timeline_entries)

    flush_behind_first = service.name if and_then_flush else None
    for batch in _outbox_batches(service, rows):
        _send(batch, flush_behind_first)
        flush_behind_first = None

    for home, entries in entries_by_home.items():
        _record_or_send(service, home, entries)


def resend(service: Service, due: Sequence[inbox.DueRow]) -> None:
    """Send leased open steps to the service itself. If the broker fails, they become due again and
    its error is raised.
    """
    try:
        for batch in _inbox_batches(due):
            reach(Point.LEASED, batch.step, [outgoing.message for outgoing in batch.messages])
            _send(batch)
    except Exception:
        inbox.release_due(service, due)
        raise


def batch_size(step: str, losses: int) -> int:
    """Return how many messages of a step may share a batch after some processes were lost with
    them.

    A process that does not know the step uses the engine's setting; the worker then splits the
    batch. The size is divided by four with each loss. A message that kills its worker every time is
    soon alone in its batch, and the others succeed. Other failures do not make batches smaller.
    """
    return max(1, handlers.policy_of(step).batch_size >> (2 * losses))


def _admit(service: Service, rows: Sequence[OutboxRow], *, gathers: bool) -> Sequence[OutboxRow]:
    """Return the rows that go to no long queue, and make the others due again."""
    queues = {row.id: admission.queues_of(service.name, row) for row in rows}
    with instrumentation.observe_failures_to_publish(service.name):
        long = (
            admission.crowded_queues(_batches_by_queue(service, rows))
            if gathers
            else admission.full_queues(set[str]().union(*queues.values()))
        )
    if not long:
        return rows

    kept_back = [row for row in rows if queues[row.id] & long]
    outbox.release(service, kept_back, error="")
    return [row for row in rows if not queues[row.id] & long]


def _batches_by_queue(service: Service, rows: Iterable[OutboxRow]) -> Mapping[str, float]:
    """Return how many full batches the rows are for each queue.

    A step may take fewer messages in a batch than the engine's setting.
    """
    share_of = cache(lambda step: 1 / batch_size(step, 0))
    share_of_timeline = 1 / settings.BATCH_SIZE
    batches: dict[str, float] = defaultdict(float)
    for row in rows:
        for step in row.recipients():
            batches[service_name(step)] += share_of(step)
        if row.plan.home != service.name:
            batches[row.plan.home] += share_of_timeline
    return batches


def _outbox_batches(service: Service, rows: Iterable[OutboxRow]) -> Iterator[Batch]:
    """Yield the batches of the rows. A row to a parallel group is a message to each branch.

    The row is marked as sent after all of them.
    """
    groups: dict[SendGroup, list[OutgoingMessage]] = {}
    size_of = cache(batch_size)
    for row in rows:
        carrier = _carrier_of_entry(service, row)
        for step in row.recipients():
            group = SendGroup(step, row.plan, size_of(step, row.attempts - 1))
            entry = row.entry(service.name) if step == carrier else None
            groups.setdefault(group, []).append(OutgoingMessage(row.message(), entry))

    return _split(groups)


def _inbox_batches(due: Iterable[inbox.DueRow]) -> Iterator[Batch]:
    groups: dict[SendGroup, list[OutgoingMessage]] = {}
    size_of = cache(batch_size)
    for row in due:
        group = SendGroup(row.step, row.stored.plan, size_of(row.step, row.losses))
        message = replace(row.stored.message, attempt=row.attempts)
        groups.setdefault(group, []).append(OutgoingMessage(message))

    return _split(groups)


def _split(groups: dict[SendGroup, list[OutgoingMessage]]) -> Iterator[Batch]:
    for group, messages in groups.items():
        for part in split_by_size(messages, most_items=group.batch_size, size=_json_size):
            yield Batch(group.step, group.plan, part)


def _json_size(item: OutgoingMessage | TimelineEntry) -> int:
    return len(_encoder.encode(item))


def _send(batch: Batch, also_flush: str | None = None) -> None:
    """Send a batch as a chain: the step, a flush of its service, and a flush of `also_flush`."""
    services_to_flush = [batch.queue, also_flush] if also_flush else [batch.queue]
    flushes = [task_signature("flush", name, queue=name) for name in services_to_flush]
    chain(_run_step(batch), *flushes).apply_async()
    admission.note_sent(batch.queue)


def _run_step(batch: Batch) -> Signature:
    plan = msgspec.to_builtins(batch.plan)
    messages = msgspec.to_builtins([outgoing.message for outgoing in batch.messages])
    entries = msgspec.to_builtins(
        [outgoing.timeline_entry for outgoing in batch.messages if outgoing.timeline_entry]
    )
    run_step = task_signature(
        "run_step",
        batch.step,
        plan,
        messages,
        entries,
        queue=batch.queue,
        argsrepr=_summary(batch),
    )

    # The error callback belongs to the step alone, and chain.on_error would add it to the flushes
    # too. It has no arguments, because they would double the message: `sagas.celery.step_request`
    # copies the step's own when the step fails.
    run_step.link_error(task_signature("fail_step", queue=batch.queue))
    return run_step


def _summary(batch: Batch) -> str:
    shown = batch.messages[:MOST_SAGAS_SHOWN]
    sagas = ", ".join(str(outgoing.message.saga) for outgoing in shown)
    hidden = len(batch.messages) - len(shown)
    return f"{batch.step} for {sagas}" + (f" and {hidden} more" if hidden else "")


def _carrier_of_entry(service: Service, row: OutboxRow) -> str | None:
    """Return the step whose message takes the row's timeline entry along to the home, or None."""
    if row.plan.home == service.name:
        return None
    return next((step for step in row.recipients() if service_name(step) == row.plan.home), None)


def _entries_by_home(service: Service, rows: Iterable[OutboxRow]) -> dict[str, list[TimelineEntry]]:
    """Return, by home, the timeline entries that no message carries.

    The first event of a saga is left out, because its start has recorded it.
    """
    entries: dict[str, list[TimelineEntry]] = {}
    for row in rows:
        if not row.begins and _carrier_of_entry(service, row) is None:
            entries.setdefault(row.plan.home, []).append(row.entry(service.name))
    return entries


def _record_or_send(service: Service, home: str, entries: Sequence[TimelineEntry]) -> None:
    """Record timeline entries at once if the home is this service, else send them as messages.

    Entries that cannot be recorded at once are sent as well. They delay the timeline, never a saga.
    """
    if home == service.name:
        entries = _record(service, home, entries)
    if not entries:
        return
    for part in split_by_size(entries, most_items=len(entries), size=_json_size):
        record = task_signature(
            "record",
            home,
            msgspec.to_builtins(part),
            queue=home,
            argsrepr=f"{len(part)} events",
        )
        record.apply_async()
        admission.note_sent(home)


def _record(
    service: Service, home: str, entries: Sequence[TimelineEntry]
) -> Sequence[TimelineEntry]:
    """Record timeline entries; return the entries that could not be recorded now."""
    try:
        timeline.record(get_home(home), entries)
    except timeline.SagasLocked as error:
        return error.entries
    except Exception as error:
        logger.warning(
            "Could not record %d timeline events of %s, first saga %s."
            " They are sent as a message instead: %r",
            len(entries),
            home,
            entries[0].saga,
            error,
        )
        connections[service.alias].close_if_unusable_or_obsolete()
        return entries
    return []
