"""The engine's Celery tasks. Any task may be lost, repeated or late: database rows decide whether
it has an effect.

Arguments are plain JSON. They only gain defaults, so that this release understands the messages of
the release before.
"""

import logging
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from celery import Task, shared_task
from django.db import DatabaseError, connections

from sagas import backoff
from sagas.celery import step_request
from sagas.definition.messages import Message, TimelineEntry
from sagas.definition.plan import Plan
from sagas.delivery import publisher, relay
from sagas.delivery.task_signatures import task_signature
from sagas.execution import runner
from sagas.execution.failures import Failure, StepFailed, record_failures
from sagas.operations import holds, redrive, retention
from sagas.storage import timeline
from sagas.storage.registry import get_home, get_service, service_of_step
from sagas.storage.sql import is_transient

__all__ = [
    "fail_step",
    "flush",
    "make_rows_due",
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

Json = dict[str, Any]


# Celery retries a step on its own only after a worker was lost. One retry of the batch is enough:
# then the failure is counted, and the next batch is smaller.
@shared_task(name="sagas.run_step", bind=True, max_retries=1, default_retry_delay=1)
def run_step(
    self: Task,
    step: str,
    plan: Json,
    messages: list[Json],
    timeline_entries: list[Json] | None = None,
) -> None:
    """Run a step for a batch. Each message that fails in isolation goes to the error callback.

    `timeline_entries` belong to the timeline that the step's service keeps.
    """
    try:
        all_sent = runner.run(
            step,
            _decode_plan(plan),
            _decode_messages(messages),
            timeline_entries=_decode_entries(timeline_entries or []),
        )
    except StepFailed as error:
        failures = msgspec.to_builtins(error.failures)
        step_request.attach_failures(self, failures, callback=fail_step.name)
        raise
    except DatabaseError as error:
        if not is_transient(error):
            raise
        _retry_later(self, error)
    else:
        if all_sent:  # the flush behind the step would find nothing
            step_request.drop_next_task(self)


@shared_task(name="sagas.fail_step", bind=True, max_retries=MOST_RETRIES)
def fail_step(
    self: Task, step: str, plan: Json, messages: list[Json], reported: list[Json] | None = None
) -> None:
    """Count failed attempts; at the limit, give the step up and start the compensation.

    This is the error callback of every step. With `bind=True` and an immutable signature, Celery
    sends it as a message of its own, which can be retried. Otherwise a callback with several
    arguments runs inline, and Celery swallows its exceptions.
    """
    service = service_of_step(step)
    if reported is None:
        failures = _lost(_decode_messages(messages))
    else:
        failures = msgspec.convert(reported, list[Failure], strict=False)

    try:
        rows = record_failures(_decode_plan(plan), step, failures)
        publisher.publish(service, rows)
        relay.flush(service)  # a step that failed ended its chain before the flush
    except Exception as error:
        _retry_later(self, error)


@shared_task(name="sagas.flush", bind=True)
def flush(self: Task, service: str) -> int:
    """Send the due rows of a service.

    Runs after a step that left rows unsent, and periodically from beat.
    """
    try:
        return relay.flush(get_service(service))
    except Exception as error:
        _drop_broken_connections()
        logger.warning(
            "Could not flush the outbox of %s; beat's next flush will: %r", service, error
        )
        return 0


@shared_task(name="sagas.record", bind=True, max_retries=MOST_RETRIES)
def record(self: Task, home: str, entries: list[Json]) -> int:
    """Record timeline entries at the home of their sagas."""
    try:
        return timeline.record(get_home(home), _decode_entries(entries))
    except DatabaseError as error:
        _retry_later(self, error)
        raise


@shared_task(name="sagas.rescue")
def redrive_stalled(home: str) -> int:
    """Re-drive the stalled sagas of a home. Beat runs it."""
    return redrive.run_once(get_home(home))


@shared_task(name="sagas.redrive", bind=True, max_retries=MOST_RETRIES)
def make_rows_due(self: Task, service: str, sagas: list[str]) -> int:
    """Make a service's outbox rows of these sagas due again."""
    try:
        return redrive.republish(get_service(service), [UUID(saga) for saga in sagas])
    except DatabaseError as error:
        _retry_later(self, error)
        raise


@shared_task(name="sagas.release_held")
def release_held(service: str) -> int:
    """Send the held rows of a service whose holds are gone; run again if there are more. Beat runs
    it.
    """
    try:
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


@shared_task(name="sagas.purge_ended")
def purge_ended(home: str) -> None:
    """Have every service purge the sagas of a home that ended long ago. Beat runs it."""
    retention.broadcast(get_home(home))


@shared_task(name="sagas.purge")
def purge(service: str, before: str, kept: list[str]) -> int:
    """Purge the sagas of a service that started before a time, except the ones in `kept`."""
    kept_ids = [UUID(saga) for saga in kept]
    return retention.purge(
        get_service(service), before=datetime.fromisoformat(before), kept=kept_ids
    )


def _decode_plan(plan: Json) -> Plan:
    return msgspec.convert(plan, Plan)


def _decode_messages(messages: list[Json]) -> list[Message]:
    return msgspec.convert(messages, list[Message], strict=False)


def _decode_entries(entries: list[Json]) -> list[TimelineEntry]:
    return msgspec.convert(entries, list[TimelineEntry], strict=False)


def _lost(messages: list[Message]) -> list[Failure]:
    """Return the failures of a batch that reported none.

    Only in a batch of one is the message known to be the cause.
    """
    isolated = len(messages) == 1
    return [
        Failure(message=message, attempt=message.attempt + 1, error=LOST, isolated=isolated)
        for message in messages
    ]


def _retry_later(task: Task, error: Exception) -> None:
    """Retry the task after a pause, without counting an attempt of a step.

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
    raise task.retry(exc=error, countdown=pause, max_retries=MOST_RETRIES)


def _drop_broken_connections() -> None:
    """Close connections that a fault has made unusable, so that the next task opens new ones."""
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()
