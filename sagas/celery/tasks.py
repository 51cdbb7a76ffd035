"""The engine's Celery tasks. Any task may be lost, repeated or late: database rows decide whether
it has an effect.

Arguments are plain JSON. They only gain defaults, so that this release understands the messages of
the release before.
"""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from celery import Task, shared_task
from django.db import connections

from sagas import backoff, deadlines
from sagas.celery import step_request
from sagas.definition.messages import Message, TimelineEntry, decode_each
from sagas.definition.plan import Plan
from sagas.delivery import publisher, relay
from sagas.delivery.task_signatures import task_signature
from sagas.execution import runner
from sagas.execution.error_blame import Blame
from sagas.execution.failures import Failure, StepFailed, record_failures
from sagas.operations import holds, probing, redrive, retention
from sagas.sql import DATABASE_ERRORS, is_transient
from sagas.storage import inbox, timeline
from sagas.storage.registry import get_home, get_service, service_of_step

__all__ = [
    "fail_step",
    "flush",
    "make_rows_due",
    "note_holds",
    "purge",
    "purge_ended",
    "record",
    "redrive_stalled",
    "release_held",
    "run_step",
]

logger = logging.getLogger(__name__)

# How often a task is retried while a database has a transient error. With pauses from one second to
# thirty, this outlasts ten minutes of trouble. After that, the re-drive sends the sagas again.
MOST_RETRIES = 25
FIRST_PAUSE = 1
LONGEST_PAUSE = 30

# The error of a failure that no step reported.
LOST = "The step ended without a report: its process was lost, or ran out of time."

# The most unreadable items of a task that its log line and its stored failure name.
MOST_SHOWN = 3

Json = dict[str, Any]
T = TypeVar("T")


class UnreadableArguments(Exception):
    """Some messages or rows in a task's arguments cannot be read. The task did the others.

    The sender's rows are intact, and the re-drive sends them again.
    """


# Celery retries a step on its own only after a worker was lost. One retry of the batch is enough:
# then the failure is counted, and the next batch is smaller.
@shared_task(name="sagas.run_step", bind=True, max_retries=1, default_retry_delay=FIRST_PAUSE)
def run_step(
    self: Task,
    step: str,
    plan: Json,
    messages: list[Json],
    timeline_entries: list[Json] | None = None,
) -> None:
    """Run a step for a batch. Each message that fails in isolation goes to the error callback.

    `timeline_entries` belong to the timeline that the step's service keeps. Raises
    `UnreadableArguments` after it has run the messages that can be read.
    """
    step_plan = _decode_plan(plan)
    readable, faults = _decode_messages(messages)
    entries, faults_of_entries = _decode_entries(timeline_entries or [])
    faults += faults_of_entries

    try:
        is_complete = runner.run(step, step_plan, readable, timeline_entries=entries)
    except StepFailed as error:
        failures = msgspec.to_builtins(error.failures)
        step_request.attach_failures(self, failures, callback=fail_step.name)
        raise
    except DATABASE_ERRORS as error:
        if not is_transient(error):
            raise
        _retry_later(self, error)
    else:
        if faults:
            step_request.attach_failures(self, [], callback=fail_step.name)  # no step failed
            _raise_unreadable(faults)
        if is_complete:  # the flush behind the step would find nothing
            step_request.drop_next_task(self)


@shared_task(
    name="sagas.fail_step", default_retry_delay=FIRST_PAUSE, bind=True, max_retries=MOST_RETRIES
)
def fail_step(
    self: Task, step: str, plan: Json, messages: list[Json], reported: list[Json] | None = None
) -> None:
    """Count failed attempts; at the limit, give the step up and start the compensation.

    This is the error callback of every step. With `bind=True` and an immutable signature, Celery
    sends it as a message of its own, which can be retried. Otherwise a callback with several
    arguments runs inline, and Celery swallows its exceptions.
    """
    service = service_of_step(step)
    step_plan = _decode_plan(plan)
    if reported is None:
        decoded, faults = _decode_messages(messages)
        failures = _lost(decoded, isolated=len(messages) == 1)
    else:
        failures, faults = _decode(reported, Failure)

    try:
        rows = record_failures(step_plan, step, failures)
        publisher.publish(service, rows)
        relay.flush(service)  # a step that failed ended its chain before the flush
    except Exception as error:
        _retry_later(self, error)
    if faults:
        _raise_unreadable(faults)


@shared_task(name="sagas.flush", default_retry_delay=FIRST_PAUSE, bind=True)
def flush(self: Task, service: str) -> int:
    """Free the claims of lost processes, and send the due rows of a service.

    Runs after a step that left rows unsent, and periodically from beat.
    """
    try:
        inbox.free_lost(get_service(service))
        return relay.flush(get_service(service))
    except Exception as error:
        _drop_broken_connections()
        logger.warning(
            "Could not flush the outbox of %s; beat's next flush will: %r", service, error
        )
        return 0


@shared_task(
    name="sagas.record", default_retry_delay=FIRST_PAUSE, bind=True, max_retries=MOST_RETRIES
)
def record(self: Task, home: str, entries: list[Json]) -> int:
    """Record timeline entries at the home of their sagas."""
    readable, faults = _decode_entries(entries)
    try:
        recorded = timeline.record(get_home(home), readable)
    except timeline.SagasLocked as error:
        _retry_later(self, error, args=(home, msgspec.to_builtins(error.entries)))
        raise
    except DATABASE_ERRORS as error:
        if is_transient(error):
            _retry_later(self, error)
        raise

    if faults:
        _raise_unreadable(faults)
    return recorded


@shared_task(name="sagas.rescue", default_retry_delay=FIRST_PAUSE)
def redrive_stalled(home: str) -> int:
    """Let the deadlines of a home act that have passed, and re-drive its stalled sagas.

    Beat runs it.
    """
    deadlines.run_once(get_home(home))
    return redrive.run_once(get_home(home))


@shared_task(
    name="sagas.redrive", default_retry_delay=FIRST_PAUSE, bind=True, max_retries=MOST_RETRIES
)
def make_rows_due(self: Task, service: str, sagas: list[str]) -> int:
    """Make a service's outbox rows of these sagas due again."""
    ids, unreadable = decode_each(sagas, UUID)
    try:
        rows = redrive.republish(get_service(service), ids)
    except DATABASE_ERRORS as error:
        _retry_later(self, error)
        raise

    if unreadable:
        _raise_unreadable([fault.reason for fault in unreadable])
    return rows


@shared_task(name="sagas.release_held", default_retry_delay=FIRST_PAUSE)
def release_held(service: str) -> int:
    """Release the automatic holds that a probe has proven, send the next probes, and send the held
    rows whose holds are gone; run again if there are more. Beat runs it.
    """
    try:
        probing.run_once(get_service(service))
        sent = holds.resume(get_service(service))
        if sent == holds.BATCH_SIZE:
            task_signature("release_held", service, queue=service).apply_async()
    except Exception as error:
        _drop_broken_connections()
        logger.warning(
            "Could not send the released rows of %s; beat tries again: %r", service, error
        )
        return 0
    return sent


@shared_task(name="sagas.note_holds", default_retry_delay=FIRST_PAUSE)
def note_holds(home: str, service: str, steps: list[str]) -> None:
    """Note at a home which steps of another service are on an automatic hold, for a minute."""
    probing.note_holds(get_service(home), service, steps)


@shared_task(name="sagas.purge_ended", default_retry_delay=FIRST_PAUSE)
def purge_ended(home: str) -> None:
    """Tell every service which old sagas of a home are still open. Beat runs it."""
    retention.broadcast(get_home(home))


@shared_task(name="sagas.purge", default_retry_delay=FIRST_PAUSE)
def purge(service: str, before: str, kept: list[str], home: str | None = None) -> int:
    """Keep a home's list of open sagas, and purge the sagas that are over in the service's rows.

    The release before did not send the home. Its lists are ignored, because they could belong to
    any; the next list of this release follows within the hour. A list with an unreadable id is
    refused as a whole, because that id may be of an open saga.
    """
    if home is None:
        return 0

    sagas = [UUID(saga) for saga in kept]
    open_sagas = retention.OpenSagas(home, datetime.fromisoformat(before), sagas)
    return retention.purge(get_service(service), open_sagas)


def _decode_plan(plan: Json) -> Plan:
    return msgspec.convert(plan, Plan)


def _decode_messages(messages: list[Json]) -> tuple[list[Message], list[str]]:
    return _decode(messages, Message)


def _decode_entries(entries: list[Json]) -> tuple[list[TimelineEntry], list[str]]:
    return _decode(entries, TimelineEntry)


def _decode(items: list[Json], kind: type[T]) -> tuple[list[T], list[str]]:
    """Return the items that can be read, and for each other item its saga and the error."""
    try:
        return msgspec.convert(items, list[kind], strict=False), []  # type: ignore[valid-type]
    except (msgspec.ValidationError, TypeError):
        decoded, unreadable = decode_each(
            items, lambda item: msgspec.convert(item, kind, strict=False)
        )
    return decoded, [f"saga {_saga_of(fault.encoded)}: {fault.reason}" for fault in unreadable]


def _saga_of(item: Any) -> str:
    """Return the saga that an unreadable item names."""
    parts = item.get("message", item) if isinstance(item, dict) else None
    saga = parts.get("saga") if isinstance(parts, dict) else None
    return saga if isinstance(saga, str) else "unknown"


def _raise_unreadable(faults: Sequence[str]) -> None:
    """Raise `UnreadableArguments`. Celery logs it, and stores it as a failure."""
    shown = "; ".join(faults[:MOST_SHOWN])
    raise UnreadableArguments(
        f"{len(faults)} items of this task's arguments cannot be read and are discarded; the others"
        f" are done. The re-drive sends the sender's rows again. {shown}"
    )


def _lost(messages: list[Message], *, isolated: bool) -> list[Failure]:
    """Return the failures of a batch that reported none.

    `isolated`: the batch had one message, so that message is known to be the cause.
    """
    return [
        Failure(
            message=message,
            attempt=message.attempt + 1,
            error=LOST,
            isolated=isolated,
            blame=Blame.PROCESS,
            lost=True,
        )
        for message in messages
    ]


def _retry_later(task: Task, error: Exception, *, args: tuple[Any, ...] | None = None) -> None:
    """Retry the task after a pause, without counting an attempt of a step. `args` replace its own.

    Raises Celery's `Retry`, but returns once the retries are used up.
    """
    _drop_broken_connections()
    retried = step_request.retries_so_far(task)
    if retried >= MOST_RETRIES:
        logger.error(
            "Task %s failed after %d retries and is dropped."
            " The re-drive sends its sagas again: %r",
            task.name,
            retried,
            error,
        )
        return

    pause = backoff.exponential(retried + 1, first=FIRST_PAUSE, longest=LONGEST_PAUSE)
    raise task.retry(args=args, exc=error, countdown=pause, max_retries=MOST_RETRIES)


def _drop_broken_connections() -> None:
    """Close connections that a fault has made unusable, so that the next task opens new ones."""
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()
