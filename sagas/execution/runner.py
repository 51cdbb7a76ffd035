"""Runs one step for a batch of messages: inbox, handler and outbox share a transaction.

The messages of a batch do not share an outcome. Each outcome is recorded for its message alone. If
the batch raises, it is rolled back and its messages run one by one, so that only the message at
fault fails.

Every transaction takes its locks in this order: the rows of the undo, the rows of the action (both
by saga), then domain rows by key. It inserts outbox rows last.
https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-DEADLOCKS
"""

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import UUID

from django.db import DatabaseError
from msgspec import structs

from sagas.definition import handlers
from sagas.definition.events import Event
from sagas.definition.handlers import (
    ExternalStep,
    Handler,
    Outcome,
    StepDefinition,
)
from sagas.definition.messages import Message, OutboxRow, TimelineEntry
from sagas.definition.plan import Plan
from sagas.definition.sizes import MOST_CHARACTERS_OF_ERROR
from sagas.delivery import publisher, wakeup
from sagas.execution import held_calls, in_flight, surplus
from sagas.execution.claiming import Claimed, ClaimedBatch, claim
from sagas.execution.contexts import UnreadableContext, read_context
from sagas.execution.error_blame import Blame, blame_of
from sagas.execution.external import Answered, Record, call_outside
from sagas.execution.failures import Failure, StepFailed
from sagas.execution.held_calls import CallsOnHold
from sagas.execution.joining import gather
from sagas.execution.locks import LOCK_WAIT_AGAIN_MS, MOST_LOCKS, put_back, with_locked_rows
from sagas.execution.settlement import settle
from sagas.execution.surplus import Surplus
from sagas.execution.transactions import PAUSES, run_transaction
from sagas.failpoints import Point, reach
from sagas.observability import instrumentation
from sagas.observability.database_errors import hide_contents
from sagas.sql import is_lock_timeout, is_transient_database_error
from sagas.storage import inbox
from sagas.storage.registry import Service, service_of_step

__all__ = ["run"]

logger = logging.getLogger(__name__)

# The recorder keeps the answers of a database that is down, and goes on with the others meanwhile.
PAUSES_OF_RECORDING = PAUSES[:1]

T = TypeVar("T")


def run(
    step: str,
    plan: Plan,
    messages: Sequence[Message],
    *,
    timeline_entries: Sequence[TimelineEntry] = (),
) -> bool:
    """Run a step for messages of one plan, and send the rows it wrote. Return False if the service
    must be flushed behind it, because rows are left.

    In a worker, rows for a long queue gather in the outbox, and so do the rows that tell of a hold.
    A thread flushes them a little later. Any other process starts no thread for it, because it may
    not live as long.

    `timeline_entries` came with the messages, for the timeline that this service keeps. Raises
    `StepFailed` if some messages failed in isolation, after the others are committed and sent.
    Raises a transient database error unchanged, and counts no attempt for it.
    """
    by_saga = {message.saga: message for message in gather(plan, step, messages)}
    distinct = [by_saga[saga] for saga in sorted(by_saga)]

    definition = handlers.definition(step)
    if definition is None:
        if not messages:
            raise LookupError(f"No process of this service knows the step {step!r}.")
        raise StepFailed(step, [_unknown_step(step, each) for each in distinct or messages])

    step_run = _StepRun(
        service=service_of_step(step),
        definition=definition,
        plan=plan,
        timeline_entries=list(timeline_entries),
    )
    with instrumentation.observe_run(step, distinct) as traced:
        failures = step_run.run_parts(traced)
        if step_run.has_held:
            step_run.flush_soon()
        if step_run.timeline_entries:  # no rows were published, so the entries are not sent yet
            step_run.publish([])

    if failures:
        if step_run.has_success:
            failures = [structs.replace(failure, beside_success=True) for failure in failures]
        raise StepFailed(step, failures) from step_run.first_error  # shows its traceback
    if step_run.lock_timeout:
        raise step_run.lock_timeout
    return not step_run.needs_flush


@dataclass(kw_only=True)
class _StepRun:
    """One run of a step for a batch.

    `needs_flush`: the flush behind the step must run. `has_success`: some message had a result.
    `has_held`: a hold stops some messages, which the timeline is told by rows of the outbox.
    `locks_met`: how many of its transactions met a lock that stayed. `lock_timeout`: the error for
    messages that must be delivered again. `pauses`: the seconds before each further attempt of a
    transaction that met a transient error.
    """

    service: Service
    definition: StepDefinition
    plan: Plan
    timeline_entries: list[TimelineEntry]
    needs_flush: bool = False
    has_success: bool = False
    has_held: bool = False
    first_error: Exception | None = None
    locks_met: int = 0
    lock_timeout: DatabaseError | None = None
    pauses: Sequence[float] = PAUSES

    @property
    def step(self) -> str:
        return self.definition.name

    def run_parts(self, messages: Sequence[Message]) -> list[Failure]:
        """Run the messages in batches that the step's policy allows; return the failures.

        A sender that does not know the step may send more than that in one batch.
        """
        size = self.definition.policy.batch_size
        failures: list[Failure] = []
        for start in range(0, len(messages), size):
            failures += self.run_batch(messages[start : start + size])
        return failures

    def run_batch(self, messages: Sequence[Message]) -> list[Failure]:
        """Run the messages together; if that raises, run each alone. Return the failures."""
        handler = self.definition.handler
        try:
            reach(Point.NOT_BEGUN, self.step, messages)
            if isinstance(handler, ExternalStep):
                return self._run_external(handler, messages)
            self._run_local(handler, messages)
        except Exception as error:
            if is_lock_timeout(error):
                return self._run_around_locks(messages, error)
            if is_transient_database_error(error):
                raise
            if len(messages) > 1:
                return self._run_apart(messages, error)
            (message,) = messages
            return [self._failure(message, _next_attempt(message), error)]
        return []

    def _run_around_locks(self, messages: Sequence[Message], error: Exception) -> list[Failure]:
        """After a transaction met a lock that stays, put the messages that need it back into their
        rows, and run the others. Return the failures.

        Inbox rows that are locked are known. For any other lock, run the two halves of the batch,
        until one message is left.
        """
        self.locks_met += 1
        if len(messages) == 1 or self.locks_met > MOST_LOCKS:
            self._put_back(messages, error)
            return []

        busy = with_locked_rows(self.service, self.plan, self.step, messages)
        if busy:
            self._put_back([message for message in messages if message.saga in busy], error)
            free = [message for message in messages if message.saga not in busy]
            return self.run_batch(free) if free else []

        middle = len(messages) // 2
        return [*self.run_batch(messages[:middle]), *self.run_batch(messages[middle:])]

    def _put_back(self, messages: Sequence[Message], error: Exception) -> None:
        again = put_back(self.service, self.plan, self.step, messages, error)
        self.lock_timeout = again or self.lock_timeout

    @property
    def _lock_wait_ms(self) -> int:
        return LOCK_WAIT_AGAIN_MS if self.locks_met else inbox.LOCK_WAIT_MS

    def _run_apart(self, messages: Sequence[Message], error: Exception) -> list[Failure]:
        """After a batch raised, run its messages one by one; return the failures.

        If some contexts cannot be read, run the other messages together instead.
        """
        readable, failures = self._without_unreadable(messages)
        if not failures:
            return self._run_each(messages, error, lambda message: self.run_batch([message]))
        return [*failures, *(self.run_batch(readable) if readable else ())]

    def _without_unreadable(
        self, messages: Sequence[Message]
    ) -> tuple[list[Message], list[Failure]]:
        readable, failures = [], []
        for message in messages:
            try:
                read_context(self.definition, message)
            except UnreadableContext as error:
                failures.append(self._failure(message, _next_attempt(message), error))
            else:
                readable.append(message)
        return readable, failures

    def publish(self, rows: Sequence[OutboxRow]) -> None:
        """Send the rows that were just committed. If that fails, a flush sends them later.

        No error from here on may fail the step, because it is committed.
        """
        entries, self.timeline_entries = self.timeline_entries, []
        try:
            reach(Point.COMMITTED, self.step, rows)
            kept_back = publisher.publish(
                self.service, rows, timeline_entries=entries, gathers=in_flight.takes_calls()
            )
            if kept_back:
                self.flush_soon()
            reach(Point.PASSED_ON, self.step, rows)
        except Exception as error:
            self.needs_flush = True
            logger.warning(
                "%s is committed, but its %d events could not be sent."
                " They wait in the outbox of %s for the next flush: %r",
                self.step,
                len(rows),
                self.service.name,
                error,
            )

    def flush_soon(self) -> None:
        """Have the committed rows flushed that this run does not send: in a worker by the thread
        that gathers the rows of many runs, elsewhere behind the step.
        """
        if in_flight.takes_calls():
            wakeup.request_gathered_flush(self.service.name)
        else:
            self.needs_flush = True

    def _run_local(self, handler: Handler, messages: Sequence[Message]) -> None:
        """Claim, handle and settle in one transaction, then send."""

        def claim_and_handle() -> list[OutboxRow]:
            claimed = self._claim(messages, final=True).claimed
            if not claimed:
                return []
            return self._settle(claimed, handler([item.delivery for item in claimed]))

        self.publish(self._transact(claim_and_handle))

    def _run_external(
        self, handler: ExternalStep[Any, Any, Any], messages: Sequence[Message]
    ) -> list[Failure]:
        """Claim and prepare in one transaction, call with none open, record in another one.

        In a worker, requests that have a destination are calls in flight: another thread calls and
        records.
        """
        if not in_flight.takes_calls():
            claimed, requests = self._claim_for_calls(handler, messages)
        else:
            known = [(message, message.destination) for message in messages]
            messages = self._postpone(handler, messages, self._surplus(handler, known))
            claimed, requests = self._claim_for_calls(handler, messages, checks_room=True)
            claimed, requests = self._submit(handler, claimed, requests)
        if not claimed:
            return []

        result = call_outside(handler, self.step, claimed, requests)
        return self.record(result.answered, result.record)

    def _claim_for_calls(
        self,
        handler: ExternalStep[Any, Any, Any],
        messages: Sequence[Message],
        *,
        checks_room: bool = False,
    ) -> tuple[list[Claimed], Sequence[Any]]:
        """Claim the messages that may call now; return them with their requests.

        Hold the messages whose destination is on hold. `checks_room`: postpone the messages that
        this process cannot soon call for.
        """
        while messages:
            try:
                return self._claim_and_prepare(handler, messages, checks_room=checks_room)
            except CallsOnHold as stopped:
                self._store_held(stopped)
                messages = [each for each in messages if each.saga not in stopped.sagas]
            except Surplus as found:
                messages = self._postpone(handler, messages, found.messages)
                checks_room = False
        return [], ()

    def _claim_and_prepare(
        self,
        handler: ExternalStep[Any, Any, Any],
        messages: Sequence[Message],
        *,
        checks_room: bool,
    ) -> tuple[list[Claimed], Sequence[Any]]:
        """Claim messages and commit their intent; return the requests of the claimed ones.

        Raise `CallsOnHold`, and commit nothing, if some of their destinations are on hold.
        `checks_room`: raise `Surplus`, and commit nothing, if their destinations take fewer calls.
        """

        def claim_and_prepare() -> tuple[list[Claimed], Sequence[Any]]:
            batch = self._claim(messages, final=False)
            if not batch.claimed:
                return [], ()

            requests = handler.prepare([item.delivery for item in batch.claimed])
            claimed = [
                item.with_destination(handler.destination(request))
                for item, request in zip(batch.claimed, requests, strict=True)
            ]
            stopped = held_calls.calls_on_hold(
                self.service, self.step, claimed, batch.destination_holds
            )
            if stopped:
                raise stopped
            if checks_room:
                pairs = [(item.message, item.destination) for item in claimed]
                found = self._surplus(handler, pairs)
                if found:
                    raise Surplus(found)
            return claimed, requests

        return self._transact(claim_and_prepare)

    def _store_held(self, stopped: CallsOnHold) -> None:
        held = self._transact(
            lambda: held_calls.store_held(self.service, self.step, self.plan, stopped)
        )
        self.has_held |= held > 0

    def _surplus(
        self, handler: ExternalStep[Any, Any, Any], messages: Sequence[tuple[Message, str | None]]
    ) -> list[Message]:
        return surplus.find(self.service, self.step, handler, messages)

    def _postpone(
        self,
        handler: ExternalStep[Any, Any, Any],
        messages: Sequence[Message],
        found: Sequence[Message],
    ) -> Sequence[Message]:
        """Keep the surplus of messages as waiting rows, without a claim; return the others."""
        if not found:
            return messages
        surplus.postpone(self.service, self.step, self.plan, handler, found, self._transact)
        return surplus.without(messages, found)

    def _submit(
        self,
        handler: ExternalStep[Any, Any, Any],
        claimed: Sequence[Claimed],
        requests: Sequence[Any],
    ) -> tuple[list[Claimed], list[Any]]:
        """Let the requests fly that have a destination; return the others."""
        recording = self._recording()
        calls, waited_for = [], []
        for item, request in zip(claimed, requests, strict=True):
            if item.destination is None:
                waited_for.append((item, request))
                continue
            calls.append(
                in_flight.Call(
                    service=self.service,
                    step=self.step,
                    plan=self.plan,
                    handler=handler,
                    claimed=item,
                    request=request,
                    destination=item.destination,
                    recording=recording,
                    traced=instrumentation.detach_message(item.message),
                )
            )
        in_flight.submit(calls)
        return [item for item, _ in waited_for], [request for _, request in waited_for]

    def record(self, answered: Sequence[Answered], record: Record) -> list[Failure]:
        """Commit the answers whose inbox rows are still open; discard the others as too late."""
        by_saga = {item.message.saga: item for item in answered}

        def settle_open_rows() -> list[OutboxRow]:
            still_open = inbox.lock_open(
                self.service, self.step, list(by_saga), lock_wait_ms=self._lock_wait_ms
            )
            in_time = [item for item in answered if item.message.saga in still_open]
            if not in_time:
                return []
            outcomes = record(
                [item.delivery for item in in_time], [item.answer for item in in_time]
            )
            overtaken = {
                item.message.saga
                for item in in_time
                if still_open[item.message.saga] != item.claimed.claim
            }
            return self._settle([item.claimed for item in in_time], outcomes, overtaken=overtaken)

        try:
            self.publish(self._transact(settle_open_rows))
        except Exception as error:
            if is_lock_timeout(error):
                return self._record_around_locks(answered, record, error)
            if is_transient_database_error(error):
                raise
            if len(answered) > 1:
                return self._run_each(
                    [item.message for item in answered],
                    error,
                    lambda message: self.record([by_saga[message.saga]], record),
                )
            (item,) = answered
            return [self._failure(item.message, item.delivery.attempt, error, item.claimed)]
        return []

    def _record_around_locks(
        self, answered: Sequence[Answered], record: Record, error: Exception
    ) -> list[Failure]:
        """After a transaction met a lock that stays, record the answers that do not need it.

        An answer that needs it is discarded: the step asks again after the lease of its row.
        """
        self.locks_met += 1
        if len(answered) == 1 or self.locks_met > MOST_LOCKS:
            logger.warning(
                "%s could not record the answers for %d sagas, first %s, because a row is locked."
                " It asks again after the lease: %r",
                self.step,
                len(answered),
                answered[0].message.saga,
                error,
            )
            return []

        middle = len(answered) // 2
        return [
            *self.record(answered[:middle], record),
            *self.record(answered[middle:], record),
        ]

    def _run_each(
        self,
        messages: Sequence[Message],
        error: Exception,
        run_one: Callable[[Message], list[Failure]],
    ) -> list[Failure]:
        """After a batch raised, run its messages one by one; return the failures."""
        hide_contents(error)
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

    def _failure(
        self, message: Message, attempt: int, error: Exception, claimed: Claimed | None = None
    ) -> Failure:
        """Log the error of a message that ran alone, and return its failure.

        `claimed` is the claim that an earlier transaction has made, if one did.
        """
        hide_contents(error)
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
            error=repr(error)[:MOST_CHARACTERS_OF_ERROR],
            isolated=is_readable,
            resend=is_readable,
            claim=claimed.claim if claimed else None,
            blame=blame_of(error),
            destination=(claimed.destination if claimed else None) or "",
        )

    def _claim(self, messages: Sequence[Message], *, final: bool) -> ClaimedBatch:
        batch = claim(
            self.service,
            self.definition,
            self.plan,
            messages,
            final=final,
            lock_wait_ms=self._lock_wait_ms,
        )
        self.has_held |= bool(batch.held)
        if batch.limits is not None and not final and in_flight.takes_calls():
            in_flight.note_limits(self.service, batch.limits)
        return batch

    def _settle(
        self,
        claimed: Sequence[Claimed],
        outcomes: Sequence[Outcome],
        *,
        overtaken: Collection[UUID] = frozenset(),
    ) -> list[OutboxRow]:
        self.has_success |= any(isinstance(outcome, Event) for outcome in outcomes)
        return settle(
            self.service, self.definition, self.plan, claimed, outcomes, overtaken=overtaken
        )

    def _transact(self, work: Callable[[], T]) -> T:
        return run_transaction(self.service.alias, work, step=self.step, pauses=self.pauses)

    def _recording(self) -> "_StepRun":
        """Return the run that records the answers of calls in flight."""
        return replace(
            self,
            timeline_entries=[],
            needs_flush=False,
            locks_met=0,
            pauses=PAUSES_OF_RECORDING,
        )


def _unknown_step(step: str, message: Message) -> Failure:
    error = f"No process of this service knows the step {step!r}. Deploy the release that has it."
    return Failure(
        message=message,
        attempt=_next_attempt(message),
        error=error,
        isolated=True,
        blame=Blame.RELEASE,
    )


def _next_attempt(message: Message) -> int:
    return message.attempt + 1
