"""The recorder: a thread that commits the answers of calls in flight, and keeps their claims alive.

It has database connections of its own. Answers that come within `GATHER` are committed together, in
one transaction for each step and plan. While a database has a transient error, its answers stay in
memory and are recorded later.
"""

import copy
import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import msgspec
from django.db import connections

from sagas.conf import settings
from sagas.definition import handlers
from sagas.definition.handlers import Delivery, Outcome, Unknown
from sagas.definition.messages import Message
from sagas.delivery import wakeup
from sagas.delivery.task_signatures import task_signature
from sagas.execution.external import Record
from sagas.execution.failures import Failure
from sagas.execution.in_flight import leases
from sagas.execution.in_flight.calls import Answer, Call, Recording
from sagas.execution.in_flight.executor import Executor
from sagas.observability import instrumentation
from sagas.sql import is_transient_database_error
from sagas.storage.registry import Service

__all__ = ["Recorder"]

logger = logging.getLogger(__name__)

# Seconds. Answers of this time share a transaction.
GATHER = 0.010

# Seconds between two looks at budgets, leases and postponed messages, while calls are in flight.
TICK = 0.1

# Seconds before answers that could not be recorded are tried again, and leases that could not be
# extended.
RETRY = 1.0

# A claim is extended this often within its lease, so that two failures do not lose it.
EXTENSIONS = 3


class Recorder:
    """The thread that records the answers of an executor."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._extend_at = time.monotonic() + settings.LEASE_SECONDS / EXTENSIONS
        self._retry_at: dict[str, float] = {}  # by database alias
        self._returns: list[tuple[float, str]] = []
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="call-recorder", daemon=True)
        self._thread.start()

    def expect_return(self, service: Service, *, due_in: float) -> None:
        """Have a service flushed when its postponed messages are due."""
        with self._executor.changed:
            self._returns.append((time.monotonic() + due_in, service.name))
            self._executor.changed.notify_all()

    def close(self) -> None:
        """End the thread, and close its connections."""
        with self._executor.changed:
            self._is_closed = True
            self._executor.changed.notify_all()
        self._thread.join(RETRY)

    def _run(self) -> None:
        while not self._is_closed:
            try:
                self._await_work()
                if not self._run_once():
                    self._pause()
            except Exception:
                logger.exception("The recorder of calls in flight failed, and goes on in a second")
                time.sleep(RETRY)
        connections.close_all()

    def _await_work(self) -> None:
        """Wait for an answer, at most a tick.

        Without calls and postponed messages, first wait until there is one.
        """
        executor = self._executor
        with executor.changed:
            if not (executor.calls or self._returns):
                executor.changed.wait_for(self._has_work)
            executor.changed.wait_for(lambda: executor.answers or self._is_closed, timeout=TICK)
            has_answers = bool(executor.answers)
        if has_answers:
            time.sleep(GATHER)

    def _has_work(self) -> bool:
        executor = self._executor
        return bool(executor.answers or executor.calls or self._returns or self._is_closed)

    def _pause(self) -> None:
        executor = self._executor
        with executor.changed:
            executor.changed.wait_for(lambda: self._is_closed, timeout=TICK)

    def _run_once(self) -> bool:
        """Run one round; return False if there were answers, and all of them are kept."""
        executor = self._executor
        executor.time_out()
        kept: list[Answer] = []
        is_any_recorded = False
        for group in _groups(executor.take_answers()):
            if self._record(group):
                is_any_recorded = True
            else:
                kept += group
        executor.give_back(kept)

        self._extend_leases()
        self._flush_returned()
        instrumentation.record_calls(executor.loads())
        return is_any_recorded or not kept

    def _record(self, answers: Sequence[Answer]) -> bool:
        """Record answers of one step and plan; return False if they are kept for later."""
        first = answers[0].call
        alias = first.service.alias
        if time.monotonic() < self._retry_at.get(alias, 0.0):
            return False

        # A failed attempt leaves no state for the next one.
        recording = copy.copy(first.recording)
        outcomes: dict[UUID, Outcome] = {}
        failures: Sequence[Failure] = []
        try:
            failures = _record_in(recording, answers, outcomes)
        except Exception as error:
            if is_transient_database_error(error):
                logger.warning(
                    "%d answers of %s could not be recorded; they are kept and recorded later: %r",
                    len(answers),
                    first.step,
                    error,
                )
                connections[alias].close_if_unusable_or_obsolete()
                self._retry_at[alias] = time.monotonic() + RETRY
                return False
            # Their leases run out, and the step asks again.
            logger.exception("The answers of %s could not be recorded", first.step)

        try:
            self._follow_up(recording, answers, failures)
        except Exception:
            logger.exception(
                "The failures of %s could not be reported; the step runs again after its lease",
                first.step,
            )
        finally:
            is_unknown = {
                answer.call: isinstance(outcomes.get(answer.call.saga), Unknown)
                for answer in answers
            }
            self._executor.end(answers, failed=is_unknown)
        return True

    def _follow_up(
        self, recording: Recording, answers: Sequence[Answer], failures: Sequence[Failure]
    ) -> None:
        """After the commit, report failures, and have the rows flushed that wait for it."""
        for answer in answers:
            answer.call.recording.has_success |= recording.has_success
            instrumentation.end_message(answer.call.traced)

        first = answers[0].call
        if recording.needs_flush:
            wakeup.request_flush(first.service.name)
        if failures:
            beside_success = first.recording.has_success
            _report(
                first,
                [
                    msgspec.structs.replace(failure, beside_success=beside_success)
                    for failure in failures
                ],
            )

    def _extend_leases(self) -> None:
        """Extend the leases of all calls, from their waiting for a slot to their recording.

        If some could not be extended, because their rows are locked or a database is down, try
        again soon.
        """
        now = time.monotonic()
        if now < self._extend_at:
            return

        is_complete = leases.extend(self._executor)
        pause = settings.LEASE_SECONDS / EXTENSIONS
        self._extend_at = now + (pause if is_complete else min(RETRY, pause))

    def _flush_returned(self) -> None:
        """Have the services flushed whose postponed messages are due now."""
        now = time.monotonic()
        with self._executor.changed:
            due = {service for at, service in self._returns if at <= now}
            self._returns = [each for each in self._returns if each[0] > now]
        for service in due:
            wakeup.request_flush(service)


def _groups(answers: Sequence[Answer]) -> Iterator[list[Answer]]:
    """Split answers into groups that share a transaction: one step, plan and way to record.

    A group has one answer of a saga. An unknown outcome that comes late says nothing new, and may
    belong to an attempt that another worker has taken over.
    """
    groups: dict[tuple[Any, ...], list[Answer]] = defaultdict(list)
    met: Counter[tuple[str, UUID]] = Counter()
    for answer in answers:
        call, result, is_late = answer
        if is_late and result.is_unknown:
            continue
        earlier = met[call.step, call.saga]
        met[call.step, call.saga] += 1
        groups[call.step, call.plan, result.is_unknown, is_late, earlier].append(answer)

    for members in groups.values():
        size = handlers.policy_of(members[0].call.step).batch_size
        for start in range(0, len(members), size):
            yield members[start : start + size]


def _record_in(
    recording: Recording, answers: Sequence[Answer], outcomes: dict[UUID, Outcome]
) -> Sequence[Failure]:
    """Record answers of one step and plan, and note their outcomes; return the failures."""
    spans = {answer.call.saga: answer.call.traced for answer in answers if not answer.is_late}
    with instrumentation.resume_run([answer.call.message for answer in answers], spans):
        return recording.record(
            [answered for answer in answers for answered in answer.result.answered],
            _noting(answers[0].result.record, outcomes),
        )


def _noting(record: Record, outcomes: dict[UUID, Outcome]) -> Record:
    """Return a function that records, and notes the outcome of each saga."""

    def record_and_note(
        batch: Sequence[Delivery[Any]], answers: Sequence[Any]
    ) -> Sequence[Outcome]:
        found = record(batch, answers)
        outcomes.update(zip((delivery.saga for delivery in batch), found, strict=True))
        return found

    return record_and_note


def _report(call: Call, failures: Sequence[Failure]) -> None:
    """Send failures to the task that counts them, as the error callback of a task does."""
    messages: list[Message] = [failure.message for failure in failures]
    report = task_signature(
        "fail_step",
        call.step,
        msgspec.to_builtins(call.plan),
        msgspec.to_builtins(messages),
        msgspec.to_builtins(failures),
        queue=call.service.name,
        argsrepr=f"{call.step} for {len(failures)} sagas, first {messages[0].saga}",
    )
    try:
        report.apply_async()
    except Exception as error:
        logger.warning(
            "%d failures of %s could not be reported; the step runs again after its lease: %r",
            len(failures),
            call.step,
            error,
        )
