"""The engine's Celery tasks. Each may be lost, repeated or run late; what they do is decided by
rows.

Arguments are plain JSON and only ever gain defaults, so that this release understands what the last
one sent.
"""

import logging
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from celery import Task, shared_task
from django.db import DatabaseError, connections

from sagas.definition.messages import Message, TimelineEntry
from sagas.definition.plan import Plan
from sagas.delivery import relay
from sagas.execution import retries, runner
from sagas.execution.retries import Failure, StepFailed
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

# Tries of a task while a database is in passing trouble. The gaps double from one second to thirty,
# so this outlasts ten minutes of it; after that the rescue has the saga.
TRIES = 25
LONGEST_PAUSE = 30

# The error callback's own word when no step was there to say what happened to it.
LOST = "The step ended without a report: its process was lost, or ran out of time."

Json = dict[str, Any]


# max_retries counts lost workers here: one more try of a batch that killed its process, then it is
# counted and shrinks.
@shared_task(name="sagas.run_step", bind=True, max_retries=1, default_retry_delay=1)
def run_step(
    self: Task, step: str, plan: Json, messages: list[Json], told: list[Json] | None = None
) -> None:
    """Run a step for a batch. What raises, alone, goes to the error callback, told which and why.

    `told`: what happened before, for the timeline, if it is kept by the service that runs the step.
    """
    try:
        if runner.run(
            step, msgspec.convert(plan, Plan), _messages(messages), told=_entries(told or [])
        ):
            _cut_chain(self)
    except StepFailed as failed:
        _tell_error_callback(self, failed)
        raise
    except DatabaseError as error:
        if not is_transient(error):
            raise
        _try_later(self, error)


@shared_task(name="sagas.fail_step", bind=True, max_retries=TRIES)
def fail_step(
    self: Task, step: str, plan: Json, messages: list[Json], reported: list[Json] | None = None
) -> None:
    """Count a failed try; at the limit, give the step up and begin the compensation. The error
    callback of every step.

    `bind=True` and an immutable signature have Celery queue it as a message of its own, which can
    be retried; with more than one argument otherwise it would run inline and its exceptions would
    be swallowed.
    """
    service = service_of_step(step)
    told = (
        msgspec.convert(reported, list[Failure], strict=False)
        if reported is not None
        else _lost(_messages(messages))
    )
    try:
        envelopes = retries.record_failures(msgspec.convert(plan, Plan), step, told)
        relay.publish(service, envelopes)
        relay.flush(
            service
        )  # the chain of a step that raised ends there, and with it the flush behind it
    except Exception as error:
        _try_later(self, error)


@shared_task(name="sagas.flush", bind=True)
def flush(self: Task, service: str) -> int:
    """Send what is due in a service's outbox and inbox. Behind a step that left something to
    send, and by beat.
    """
    try:
        return relay.flush(get_service(service))
    except Exception as error:
        _reconnect()
        logger.warning(
            "The outbox of %s could not be flushed, beat tries again: %r", service, error
        )
        return 0


@shared_task(name="sagas.record", bind=True, max_retries=TRIES)
def record(self: Task, home: str, entries: list[Json]) -> int:
    """Record events of the timeline at the home of their sagas."""
    try:
        return timeline.record(get_home(home), _entries(entries))
    except DatabaseError as error:
        _try_later(self, error)
        raise


@shared_task(name="sagas.rescue")
def redrive_stalled(home: str) -> int:
    """Re-drive the sagas of a home that show no progress. By beat."""
    return redrive.run_once(get_home(home))


@shared_task(name="sagas.redrive", bind=True, max_retries=TRIES)
def make_rows_due(self: Task, service: str, sagas: list[str]) -> int:
    """Make a service's rows of these sagas due again."""
    try:
        return redrive.make_rows_due(get_service(service), [UUID(saga) for saga in sagas])
    except DatabaseError as error:
        _try_later(self, error)
        raise


@shared_task(name="sagas.release_held")
def release_held(service: str) -> int:
    """Send on what nothing holds any more in a service, and come again behind it where there is
    more. By beat.
    """
    try:
        sent = holds.send_on(get_service(service))
        if sent == holds.ROUND:
            relay.signature("release_held", service, queue=service).apply_async()
    except Exception as error:
        _reconnect()
        logger.warning("What %s held could not be sent on, beat tries again: %r", service, error)
        return 0
    return sent


@shared_task(name="sagas.purge_ended")
def purge_ended(home: str) -> None:
    """Have every service forget what ended long ago. By beat."""
    retention.broadcast(get_home(home))


@shared_task(name="sagas.purge")
def purge(service: str, before: str, kept: list[str]) -> int:
    """Forget the sagas of a service begun before a time, except the ones kept."""
    kept_ids = [UUID(saga) for saga in kept]
    return retention.purge(
        get_service(service), before=datetime.fromisoformat(before), kept=kept_ids
    )


def _messages(messages: list[Json]) -> list[Message]:
    return msgspec.convert(messages, list[Message], strict=False)


def _entries(entries: list[Json]) -> list[TimelineEntry]:
    return msgspec.convert(entries, list[TimelineEntry], strict=False)


def _lost(messages: list[Message]) -> list[Failure]:
    alone = len(messages) == 1
    return [
        Failure(message=message, attempt=message.attempt + 1, error=LOST, alone=alone)
        for message in messages
    ]


def _tell_error_callback(task: Task, failed: StepFailed) -> None:
    """Put the failures into the error callback's arguments: the message in the broker cannot know
    them.

    Celery sends the callbacks that stand in the request when the task ends; these are plain
    signatures.
    """
    told = msgspec.to_builtins(failed.failures)
    callbacks: Any = task.request.errbacks or ()
    for callback in callbacks:
        if callback["task"] == fail_step.name:
            callback["kwargs"]["reported"] = told


def _cut_chain(task: Task) -> None:
    """Take the flush behind a step out of its chain: the step has sent what it wrote, nothing is
    left to flush.

    Celery goes on with what stands in the request when the task ends, the next link last.
    """
    chain: Any = task.request.chain
    if chain:
        chain.pop()


def _try_later(task: Task, error: Exception) -> None:
    """Try the task again, with nothing counted; beyond the limit leave the saga to the rescue."""
    _reconnect()
    tried = task.request.retries
    if tried >= TRIES:
        logger.error(
            "%s gave way after %d tries, the rescue has the sagas: %r", task.name, tried, error
        )
        return
    raise task.retry(exc=error, countdown=min(LONGEST_PAUSE, 2**tried), max_retries=TRIES)


def _reconnect() -> None:
    """Drop connections that a fault has left unusable, so that the next task gets new ones."""
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()
