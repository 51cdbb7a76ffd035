"""The proof that a saga survives crashes: real workers of a project, killed at chosen points."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connections
from django.test import override_settings

from sagas.definition.plan import Plan, Saga
from sagas.delivery import admission
from sagas.delivery.task_signatures import task_signature
from sagas.lifecycle import CancelResult
from sagas.storage.registry import service_names
from sagas.testing.armed_faults import ArmedFaults
from sagas.testing.crash_points import Crash
from sagas.testing.expectations import contradictions
from sagas.testing.mailbox import Mailbox
from sagas.testing.processes import WorkerProcess
from sagas.testing.record import End, Record
from sagas.testing.subject import Started, id_of, stored_plan, tracked_row
from sagas.testing.variables import REFUSING, TIMES

__all__ = ["SagaWorkers"]

# Two, so that one goes on while the other is killed.
WORKERS = 2

# Seconds between two rounds of the periodic tasks, and between two looks at a condition.
ROUND = 0.5
LOOK = 0.05

# Seconds in which the workers start.
START_LIMIT = 60.0


class SagaWorkers:
    """Workers of all services of a project. `app` is the value of Celery's option `--app`."""

    def __init__(self, app: str, folder: Path) -> None:
        failpoints = folder / "failpoints"
        (failpoints / REFUSING).mkdir(parents=True)
        self._failpoints = failpoints
        self._faults = ArmedFaults(failpoints)
        self._services = service_names()
        self._next_round = 0.0
        self._processes = [
            WorkerProcess(
                app, self._services, log=folder / f"worker-{number}.log", failpoints=failpoints
            )
            for number in range(WORKERS)
        ]

    def await_ready(self) -> None:
        """Wait until all workers take messages. Raises `AssertionError` with their output."""
        if not _waited(lambda: all(each.is_ready for each in self._processes), START_LIMIT):
            raise AssertionError(f"The workers did not start.\n\n{self._outputs()}")

    def stop(self) -> None:
        """Kill all workers."""
        for process in self._processes:
            process.kill()

    def survive(
        self,
        crash: Crash,
        start: Callable[[], Started],
        *,
        cancel: Callable[[Any], object] | None = None,
        limit: float = 60.0,
    ) -> UUID:
        """Start a saga, let the crash happen to it, and wait for its end; return its id.

        `start` commits a new saga and returns its id or its tracked row. `cancel` is for a crash
        of `crashes(…, cancelled=True)`: it gets the tracked row, and cancels the saga. If it
        returns a `CancelResult`, the end must agree with it. `limit` is in seconds. The test must
        commit: `django_db(transaction=True)`.

        Raises `AssertionError` if the crash did not happen, if the saga has not the end of the
        crash, or if its rows contradict each other. Raises `ValueError` if `cancel` is missing.
        """
        if crash.cancelled and cancel is None:
            raise ValueError(f"{crash} needs survive(…, cancel=…), which cancels the saga.")

        with ExitStack() as cleanup:
            saga = self._start(crash, start, cleanup)
            plan = stored_plan(Saga.declared[crash.saga], saga)
            end = crash.end
            if crash.cancelled and cancel is not None:
                end = self._cancel(crash, plan, saga, cancel, limit)
            is_over = _waited(lambda: self._is_over(crash, plan, saga), limit)
            problems = self._problems(crash, plan, saga, end, is_over=is_over)

        if problems:
            raise AssertionError("\n".join([f"{crash}, saga {saga}:", *problems, self._outputs()]))
        return saga

    def _start(self, crash: Crash, start: Callable[[], Started], cleanup: ExitStack) -> UUID:
        """Start a saga, and arm the faults before any message of it is sent."""
        with admission.suspended(), override_settings(SAGAS=_with_short_times()):
            saga = id_of(start())
        if any(connection.in_atomic_block for connection in connections.all()):
            raise RuntimeError("The saga is not committed. Use django_db(transaction=True).")

        if crash.refusing:
            named = self._failpoints / REFUSING / str(saga)
            named.write_text(crash.refusing)
            cleanup.callback(named.unlink)
        faults = [crash.fault, *([crash.enabling] if crash.enabling else [])]
        cleanup.enter_context(self._faults.arm_for(saga, faults))
        return saga

    def _cancel(
        self,
        crash: Crash,
        plan: Plan,
        saga: UUID,
        cancel: Callable[[Any], object],
        limit: float,
    ) -> End | None:
        """Cancel the saga once the crash has happened; return the end that it must have.

        A bar runs because of the cancel, so its crash comes after it.
        """
        if crash.fault.step != plan.bar:
            _waited(lambda: self._is_hit(crash, plan), limit)
        with admission.suspended():
            result = cancel(tracked_row(plan.home, saga))
        if result is CancelResult.OURS:
            return End.CANCELLED
        return End.DONE if result is CancelResult.DONE else None

    def _is_hit(self, crash: Crash, plan: Plan) -> bool:
        self._go_on(plan)
        return bool(self._faults.hits(crash.fault))

    def _is_over(self, crash: Crash, plan: Plan, saga: UUID) -> bool:
        """Go on; return whether the crash has happened, and the saga has ended."""
        return self._is_hit(crash, plan) and tracked_row(plan.home, saga).ended_at is not None

    def _go_on(self, plan: Plan) -> None:
        """Do the work of beat and of a service manager."""
        for process in self._processes:
            process.revive()
        if time.monotonic() >= self._next_round:
            self._next_round = time.monotonic() + ROUND
            self._send_round(plan)

    def _send_round(self, plan: Plan) -> None:
        for service in self._services:
            task_signature("flush", service, queue=service).apply_async()
        task_signature("rescue", plan.home, queue=plan.home).apply_async()

    def _problems(
        self, crash: Crash, plan: Plan, saga: UUID, end: End | None, *, is_over: bool
    ) -> list[str]:
        record = Record(plan, Mailbox(saga, plan).states())
        hits = self._faults.hits(crash.fault)
        problems = list(contradictions(record, tracked_row(plan.home, saga))) if is_over else []
        if not hits:
            problems.append("The crash did not happen: no process came to this point.")
        elif all(saga not in hit.sagas for hit in hits):
            problems.append("The crash happened to another saga.")
        if record.end is None or record.end != (end or record.end):
            found = "not ended" if record.end is None else repr(str(record.end))
            expected = repr(str(end)) if end else "of a cancel or of the pivot"
            problems.append(f"Expected the end {expected}, but it is {found}.")
        return [*problems, *record.summary()] if problems else []

    def _outputs(self) -> str:
        return "\n".join(f"--- a worker\n{process.output()}" for process in self._processes)


def _with_short_times() -> dict[str, Any]:
    return {**getattr(settings, "SAGAS", {}), **TIMES}


def _waited(condition: Callable[[], bool], limit: float) -> bool:
    """Wait for a condition; return whether it came true within `limit` seconds."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(LOOK)
    return False
