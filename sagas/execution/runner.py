"""Running one step for a batch of messages: inbox, handler and outbox in one transaction.

A batch never shares a fate. What a handler decides for one message is recorded for that message;
when the batch raises, it rolls back and its messages run one by one, so that only the culprit
fails.

Every transaction locks in this order: undo rows, action rows (each by saga), domain rows by key;
then it inserts outbox rows.
https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-DEADLOCKS
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from django.db import DatabaseError, connections, transaction
from msgspec.structs import replace

from sagas.definition import handlers
from sagas.definition.events import OnHold
from sagas.definition.handlers import (
    Delivery,
    ExternalStep,
    Handler,
    Outcome,
    StepDefinition,
    Unknown,
)
from sagas.definition.messages import Message, OutboxRow, TimelineEntry
from sagas.definition.plan import Direction, Plan, service_name
from sagas.delivery import publisher
from sagas.execution.retries import Failure, StepAttempt, StepFailed
from sagas.execution.settlement import Claimed, settle
from sagas.observability import instrumentation
from sagas.storage import inbox, outbox
from sagas.storage.registry import Service, service_of_step
from sagas.storage.sql import is_transient
from sagas.testing.failpoints import Point, reach

__all__ = ["Unreadable", "bar_action", "read", "run"]

logger = logging.getLogger(__name__)

# A deadlock, a failover or a restart is over in this time, or Celery's retry takes over. Seconds.
PAUSES = (0.05, 0.2, 1.0)

T = TypeVar("T")


class Unreadable(Exception):
    """A message's context is not what its step accepts: broken on its way, or of another
    release.
    """


def run(
    step: str,
    plan: Plan,
    messages: Sequence[Message],
    *,
    timeline_entries: Sequence[TimelineEntry] = (),
) -> bool:
    """Run a step for messages of one plan, and send on what it wrote; tell whether all of that was
    sent.

    `timeline_entries`: what happened before, sent along for the timeline that is kept here. Raises `StepFailed`
    if some messages failed alone, once all others are committed and sent; and the database's own
    error, with nothing counted, while the database is in passing trouble.
    """
    distinct = sorted(
        {message.saga: message for message in messages}.values(), key=lambda message: message.saga
    )
    definition = handlers.definition(step)
    if definition is None:
        error = f"No process of this service knows the step {step!r}."
        raise StepFailed(
            step, [_failed(message, message.attempt + 1, error) for message in distinct]
        )
    run = _Run(
        service=service_of_step(step), definition=definition, plan=plan, told=list(timeline_entries)
    )
    with instrumentation.running(step, distinct) as observed:
        failures = run.batch(observed)
        if run.told:  # nothing was left to do, or it failed
            run.publish([])
    if failures:
        raise StepFailed(step, failures) from run.raised  # whose traceback tells where
    return not run.unsent


def read(definition: StepDefinition, message: Message) -> Any:
    """Return a message's context as its step accepts it. Raises `Unreadable`."""
    try:
        return msgspec.convert(message.context, definition.accepts, strict=True)
    except msgspec.ValidationError as error:
        raise Unreadable(f"{definition.name} cannot read its context: {error}") from error


def bar_action(
    service: Service, plan: Plan, step: str, messages: Sequence[Message]
) -> tuple[set[UUID], set[UUID]]:
    """Bar the action that an undo undoes here, for ever; return the sagas for which it had been
    done.

    A pivot that has begun outside decides by itself: the second set are the sagas for which it has
    not yet. The caller has claimed or locked the undo's own rows. For a step forward nothing is
    barred.
    """
    action = plan.action_of(step) if messages and plan.direction(step) is Direction.BACK else None
    if action is None or service_name(action) != service.name:
        return set(), set()
    awaited = step == plan.bar and handlers.is_external(action)
    inbox.bar(service, action, messages, reason=f"Barred by {step}.", begun=not awaited)
    sagas = [message.saga for message in messages]
    pivot_open = inbox.sagas_open(service, action, sagas) if awaited else set()
    return inbox.sagas_done(service, action, sagas), pivot_open


@dataclass(kw_only=True)
class _Run:
    service: Service
    definition: StepDefinition
    plan: Plan
    told: list[TimelineEntry]
    unsent: bool = False  # whether something is left for the flush behind the step
    raised: Exception | None = None  # what the first message failed of

    def batch(self, messages: Sequence[Message]) -> list[Failure]:
        """Run the messages together; if that raises, each alone. Return what failed alone."""
        handler = self.definition.handler
        try:
            reach(Point.NOT_BEGUN, self.definition.name, messages)
            if isinstance(handler, ExternalStep):
                return self._externally(handler, messages)
            self.publish(self._transact(lambda: self._at_once(handler, messages)))
        except Exception as error:
            return self._alone(
                messages, error, lambda message: self.batch([message]), _next_attempt
            )
        return []

    def publish(self, envelopes: Sequence[OutboxRow]) -> None:
        """Send what was just committed. If the broker fails, the rows are due again and the
        relay sends them.
        """
        told, self.told = self.told, []
        try:
            reach(Point.COMMITTED, self.definition.name, envelopes)
            publisher.publish(self.service, envelopes, timeline_entries=told)
            reach(Point.PASSED_ON, self.definition.name, envelopes)
        except Exception as error:  # the step is committed: no fault from here on may fail it
            self.unsent = True
            logger.warning(
                "%s is done, its events wait in the outbox: %r", self.definition.name, error
            )

    def _at_once(self, handler: Handler, messages: Sequence[Message]) -> list[OutboxRow]:
        claimed = self._claim(messages, final=True)
        return (
            self._settle(claimed, handler([item.delivery for item in claimed])) if claimed else []
        )

    def _externally(
        self, handler: ExternalStep[Any, Any, Any], messages: Sequence[Message]
    ) -> list[Failure]:
        def prepare() -> tuple[list[Claimed], Sequence[Any]]:
            claimed = self._claim(messages, final=False)
            return claimed, handler.prepare([item.delivery for item in claimed]) if claimed else ()

        claimed, requests = self._transact(prepare)
        if not claimed:
            return []
        try:
            reach(Point.NOT_CALLED, self.definition.name, claimed)
            with instrumentation.calling(self.definition.name, claimed):
                answers = handler.call(requests)
            reach(Point.NOT_RECORDED, self.definition.name, claimed)
        except Exception as error:  # whatever it was, the outside system may have acted before it
            logger.exception(
                "%s raised during its call; the outcome is unknown", self.definition.name
            )
            unknown = Unknown(reason=repr(error))
            return self._record(claimed, [unknown] * len(claimed), lambda _, answers: answers)
        return self._record(claimed, answers, handler.record)

    def _record(
        self,
        claimed: Sequence[Claimed],
        answers: Sequence[Any],
        record: Callable[[Sequence[Delivery[Any]], Sequence[Any]], Sequence[Outcome]],
    ) -> list[Failure]:
        """Commit the answers for the rows that are still open; the others come too late and are
        discarded.
        """
        pairs = dict(
            zip(
                (item.message.saga for item in claimed),
                zip(claimed, answers, strict=True),
                strict=True,
            )
        )

        def settle() -> list[OutboxRow]:
            still_open = inbox.lock_open(self.service, self.definition.name, list(pairs))
            ours = [pair for saga, pair in pairs.items() if saga in still_open]
            if not ours:
                return []
            outcomes = record([item.delivery for item, _ in ours], [answer for _, answer in ours])
            return self._settle([item for item, _ in ours], outcomes)

        try:
            self.publish(self._transact(settle))
        except Exception as error:
            attempts = {item.message.id: item.delivery.attempt for item in claimed}
            return self._alone(
                [item.message for item in claimed],
                error,
                lambda message: self._record(
                    [pairs[message.saga][0]], [pairs[message.saga][1]], record
                ),
                lambda message: attempts[message.id],
            )
        return []

    def _alone(
        self,
        messages: Sequence[Message],
        error: Exception,
        again: Callable[[Message], list[Failure]],
        attempt: Callable[[Message], int],
    ) -> list[Failure]:
        """Decide about messages whose transaction rolled back: trouble that passes is raised, a
        culprit is named.
        """
        if isinstance(error, DatabaseError) and is_transient(error):
            raise error
        step = self.definition.name
        if len(messages) > 1:
            logger.warning(
                "%s raised %r for a batch of %d; running them one by one",
                step,
                error,
                len(messages),
            )
            return [
                failure
                for message in messages
                for failure in instrumentation.run_isolated(message, again)
            ]
        logger.error("%s failed for %s: %r", step, messages[0].saga, error, exc_info=error)
        instrumentation.failed(messages[0], error)
        self.raised = self.raised or error
        failure = _failed(messages[0], attempt(messages[0]), repr(error))
        # What cannot be read is not held against its saga: the rescue has the sender's own copy
        # sent.
        return [
            replace(failure, alone=False, again=False) if isinstance(error, Unreadable) else failure
        ]

    def _claim(self, messages: Sequence[Message], *, final: bool) -> list[Claimed]:
        step = self.definition.name
        attempts, held = inbox.claim(self.service, step, self.plan, messages, final=final)
        ours = [message for message in messages if message.saga in attempts]
        instrumentation.skipped(
            self.service.alias,
            step,
            duplicates=len(messages) - len(ours) - len(held),
            held=len(held),
        )
        self._tell_of_hold([message for message in messages if message.saga in held])
        action_done, pivot_open = bar_action(self.service, self.plan, step, ours)
        return [
            Claimed(
                message,
                Delivery(
                    saga=message.saga,
                    context=read(self.definition, message),
                    attempt=attempts[message.saga],
                    action_done=message.saga in action_done,
                    pivot_open=message.saga in pivot_open,
                ),
            )
            for message in ours
        ]

    def _tell_of_hold(self, messages: Sequence[Message]) -> None:
        """Have the timeline told, by the flush behind the step, that these wait until they are
        released.
        """
        step = self.definition.name
        told = [
            StepAttempt(self.plan, step, message, _next_attempt(message)).envelope(
                OnHold(step=step), target=None
            )
            for message in messages
        ]
        outbox.write(self.service, self.plan, told, leased=False)
        self.unsent = self.unsent or bool(told)

    def _settle(self, claimed: Sequence[Claimed], outcomes: Sequence[Outcome]) -> list[OutboxRow]:
        return settle(self.service, self.definition, self.plan, claimed, outcomes)

    def _transact(self, work: Callable[[], T]) -> T:
        """Run a transaction, and again as a whole while the database is in passing trouble."""
        for pause in PAUSES:
            try:
                with transaction.atomic(using=self.service.alias):
                    return work()
            except DatabaseError as error:
                if not is_transient(error):
                    raise
                logger.warning("%s: %r; running the transaction again", self.definition.name, error)
                connections[self.service.alias].close_if_unusable_or_obsolete()
                time.sleep(pause)
        with transaction.atomic(using=self.service.alias):
            return work()


def _next_attempt(message: Message) -> int:
    return message.attempt + 1


def _failed(message: Message, attempt: int, error: str) -> Failure:
    return Failure(message=message, attempt=attempt, error=error, alone=True)
