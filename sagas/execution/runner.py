"""Runs one step for a batch of messages: inbox, handler and outbox share a transaction.

The messages of a batch do not share an outcome. Each outcome is recorded for its message alone. If
the batch raises, it is rolled back and its messages run one by one, so that only the message at
fault fails.

Every transaction takes its locks in this order: the rows of the undo, the rows of the action (both
by saga), then domain rows by key. It inserts outbox rows last.
https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-DEADLOCKS
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import DatabaseError

from sagas.definition import handlers
from sagas.definition.handlers import (
    ExternalStep,
    Handler,
    Outcome,
    StepDefinition,
)
from sagas.definition.messages import Message, OutboxRow, TimelineEntry
from sagas.definition.plan import Plan
from sagas.delivery import publisher
from sagas.execution.claiming import Claimed, claim
from sagas.execution.contexts import UnreadableContext
from sagas.execution.external import Answered, Record, call_outside
from sagas.execution.failures import Failure, StepFailed
from sagas.execution.settlement import settle
from sagas.execution.transactions import run_transaction
from sagas.observability import instrumentation
from sagas.storage import inbox
from sagas.storage.registry import Service, service_of_step
from sagas.storage.sql import is_transient
from sagas.testing.failpoints import Point, reach

__all__ = ["run"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


def run(
    step: str,
    plan: Plan,
    messages: Sequence[Message],
    *,
    timeline_entries: Sequence[TimelineEntry] = (),
) -> bool:
    """Run a step for messages of one plan, and send the rows it wrote; tell whether all were sent.

    `timeline_entries` came with the messages, for the timeline that this service keeps. Raises
    `StepFailed` if some messages failed in isolation, after the others are committed and sent.
    Raises a transient database error unchanged, and counts no attempt for it.
    """
    by_saga = {message.saga: message for message in messages}
    distinct = [by_saga[saga] for saga in sorted(by_saga)]

    definition = handlers.definition(step)
    if definition is None:
        raise StepFailed(step, [_unknown_step(step, message) for message in distinct])

    step_run = _StepRun(
        service=service_of_step(step),
        definition=definition,
        plan=plan,
        timeline_entries=list(timeline_entries),
    )
    with instrumentation.observe_run(step, distinct) as traced:
        failures = step_run.run_batch(traced)
        if step_run.timeline_entries:  # no rows were published, so the entries are not sent yet
            step_run.publish([])

    if failures:
        raise StepFailed(step, failures) from step_run.first_error  # shows its traceback
    return not step_run.has_unsent_rows


@dataclass(kw_only=True)
class _StepRun:
    """One run of a step for a batch. `has_unsent_rows`: the flush behind the step must run."""

    service: Service
    definition: StepDefinition
    plan: Plan
    timeline_entries: list[TimelineEntry]
    has_unsent_rows: bool = False
    first_error: Exception | None = None

    @property
    def step(self) -> str:
        return self.definition.name

    def run_batch(self, messages: Sequence[Message]) -> list[Failure]:
        """Run the messages together; if that raises, run each alone. Return the failures."""
        handler = self.definition.handler
        try:
            reach(Point.NOT_BEGUN, self.step, messages)
            if isinstance(handler, ExternalStep):
                return self._run_external(handler, messages)
            self._run_local(handler, messages)
        except Exception as error:
            if _is_transient(error):
                raise
            if len(messages) > 1:
                return self._run_each(messages, error, lambda message: self.run_batch([message]))
            (message,) = messages
            return [self._failure(message, _next_attempt(message), error)]
        return []

    def publish(self, rows: Sequence[OutboxRow]) -> None:
        """Send the rows that were just committed. If that fails, a flush sends them later.

        No error from here on may fail the step, because it is committed.
        """
        entries, self.timeline_entries = self.timeline_entries, []
        try:
            reach(Point.COMMITTED, self.step, rows)
            publisher.publish(self.service, rows, timeline_entries=entries)
            reach(Point.PASSED_ON, self.step, rows)
        except Exception as error:
            self.has_unsent_rows = True
            logger.warning(
                "%s is committed, but its %d events could not be sent."
                " They wait in the outbox of %s for the next flush: %r",
                self.step,
                len(rows),
                self.service.name,
                error,
            )

    def _run_local(self, handler: Handler, messages: Sequence[Message]) -> None:
        """Claim, handle and settle in one transaction, then send."""

        def claim_and_handle() -> list[OutboxRow]:
            claimed = self._claim(messages, final=True)
            if not claimed:
                return []
            return self._settle(claimed, handler([item.delivery for item in claimed]))

        self.publish(self._transact(claim_and_handle))

    def _run_external(
        self, handler: ExternalStep[Any, Any, Any], messages: Sequence[Message]
    ) -> list[Failure]:
        """Claim and prepare in one transaction, call with none open, record in another one."""

        def claim_and_prepare() -> tuple[list[Claimed], Sequence[Any]]:
            claimed = self._claim(messages, final=False)
            if not claimed:
                return [], ()
            return claimed, handler.prepare([item.delivery for item in claimed])

        claimed, requests = self._transact(claim_and_prepare)
        if not claimed:
            return []

        result = call_outside(handler, self.step, claimed, requests)
        return self._record(result.answered, result.record)

    def _record(self, answered: Sequence[Answered], record: Record) -> list[Failure]:
        """Commit the answers whose inbox rows are still open; discard the others as too late."""
        by_saga = {item.message.saga: item for item in answered}

        def settle_open_rows() -> list[OutboxRow]:
            still_open = inbox.lock_open(self.service, self.step, list(by_saga))
            in_time = [item for item in answered if item.message.saga in still_open]
            if not in_time:
                return []
            outcomes = record(
                [item.delivery for item in in_time], [item.answer for item in in_time]
            )
            return self._settle([item.claimed for item in in_time], outcomes)

        try:
            self.publish(self._transact(settle_open_rows))
        except Exception as error:
            if _is_transient(error):
                raise
            if len(answered) > 1:
                return self._run_each(
                    [item.message for item in answered],
                    error,
                    lambda message: self._record([by_saga[message.saga]], record),
                )
            (item,) = answered
            return [self._failure(item.message, item.delivery.attempt, error)]
        return []

    def _run_each(
        self,
        messages: Sequence[Message],
        error: Exception,
        run_one: Callable[[Message], list[Failure]],
    ) -> list[Failure]:
        """After a batch raised, run its messages one by one; return the failures."""
        logger.warning(
            "%s raised for a batch of %d messages and was rolled back; running them one by one: %r",
            self.step,
            len(messages),
            error,
        )
        failures = []
        for message in messages:
            failures += instrumentation.run_isolated(message, run_one)
        return failures

    def _failure(self, message: Message, attempt: int, error: Exception) -> Failure:
        """Log the error of a message that ran alone, and return its failure."""
        logger.error(
            "%s failed for saga %s, attempt %d: %r",
            self.step,
            message.saga,
            attempt,
            error,
            exc_info=error,
        )
        instrumentation.record_error(message, error)
        self.first_error = self.first_error or error

        # An unreadable context does not count against its saga, because the re-drive has the sender
        # send its own copy.
        is_readable = not isinstance(error, UnreadableContext)
        return Failure(
            message=message,
            attempt=attempt,
            error=repr(error),
            isolated=is_readable,
            resend=is_readable,
        )

    def _claim(self, messages: Sequence[Message], *, final: bool) -> list[Claimed]:
        batch = claim(self.service, self.definition, self.plan, messages, final=final)
        if batch.held:
            self.has_unsent_rows = True
        return batch.claimed

    def _settle(self, claimed: Sequence[Claimed], outcomes: Sequence[Outcome]) -> list[OutboxRow]:
        return settle(self.service, self.definition, self.plan, claimed, outcomes)

    def _transact(self, work: Callable[[], T]) -> T:
        return run_transaction(self.service.alias, work, step=self.step)


def _unknown_step(step: str, message: Message) -> Failure:
    error = f"No process of this service knows the step {step!r}. Deploy the release that has it."
    return Failure(message=message, attempt=_next_attempt(message), error=error, isolated=True)


def _next_attempt(message: Message) -> int:
    return message.attempt + 1


def _is_transient(error: Exception) -> bool:
    return isinstance(error, DatabaseError) and is_transient(error)
