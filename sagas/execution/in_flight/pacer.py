"""The pacer: a thread that starts the calls with limits, each at the time that PostgreSQL permits.

It has a database connection of its own. A process whose calls have no limit has no pacer.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import uuid4

from django.db import connections

from sagas.execution.in_flight import permits
from sagas.execution.in_flight.executor import Executor
from sagas.execution.in_flight.permits import AHEAD, EXPIRES, LATE, Permit, Want
from sagas.storage.registry import Service, get_service

__all__ = ["Pacer"]

logger = logging.getLogger(__name__)

# Seconds between two questions while no permit is left, and after a database error.
PAUSE = AHEAD
RETRY = 1.0

# The calls at once are reported this often before the report expires.
REPORTS = 4


class Pacer:
    """The thread that starts the limited calls of an executor."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._process = uuid4().hex
        self._reported: dict[tuple[str, str], int] = {}
        self._report_at = 0.0
        self._retry_at: dict[str, float] = {}  # by service, after a database error
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def start_if_needed(self) -> None:
        """Start the thread once a call with a limit waits. The caller holds the executor's lock."""
        if self._thread is None and self._executor.has_limited_calls():
            self._thread = threading.Thread(target=self._run, name="call-pacer", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread, and report that no call runs any more."""
        with self._executor.changed:
            self._is_closed = True
            self._executor.changed.notify_all()
        if self._thread:
            self._thread.join(RETRY)

    def _run(self) -> None:
        while not self._is_closed:
            try:
                with self._executor.changed:
                    self._executor.changed.wait_for(self._has_work, timeout=EXPIRES / REPORTS)
                self.run_once()
            except Exception as error:
                self._note_trouble(error)
                time.sleep(RETRY)
        self._report_end()
        connections.close_all()

    def run_once(self) -> None:
        """Ask for permits, and start the calls that have one."""
        with self._executor.changed:
            wants = [Want(lane, count) for lane, count in self._executor.wanted_permits()]
            running = self._executor.keys_at_once()
        if not wants and not self._is_report_due(running):
            return

        used = self._take(wants, running)
        if not used:
            time.sleep(PAUSE)

    def _take(self, wants: Sequence[Want], running: Mapping[tuple[str, str], int]) -> int:
        services: dict[Service, list[Want]] = defaultdict(list)
        for want in wants:
            services[want.lane.service].append(want)
        for name, _ in {*running, *self._reported}:
            services.setdefault(get_service(name), [])

        used = 0
        for service, wanted in services.items():
            if time.monotonic() < self._retry_at.get(service.name, 0.0):
                continue
            try:
                used += self._take_of(service, wanted, running)
            except Exception as error:  # the calls of the other services must not wait for it
                self._retry_at[service.name] = time.monotonic() + RETRY
                self._note_trouble(error)

        self._report_at = time.monotonic() + EXPIRES / REPORTS
        return used

    def _take_of(
        self, service: Service, wanted: Sequence[Want], running: Mapping[tuple[str, str], int]
    ) -> int:
        own = {key: count for (name, key), count in running.items() if name == service.name}
        gone = {key: 0 for name, key in self._reported if name == service.name}
        granted, limits = permits.take(service, wanted, {**gone, **own}, process=self._process)

        others = {key: count for key, count in self._reported.items() if key[0] != service.name}
        self._reported = others | {(service.name, key): count for key, count in own.items()}
        self._executor.note_limits(service, limits)
        return sum(self._use(permit) for permit in granted)

    def _note_trouble(self, error: Exception) -> None:
        logger.warning("The limits of calls could not be asked for permits: %r", error)
        for connection in connections.all(initialized_only=True):
            connection.close_if_unusable_or_obsolete()

    def _use(self, permit: Permit) -> bool:
        """Start a call at its time. A permit that comes too late is lost."""
        delay = permit.starts_at - time.monotonic()
        if delay > 0:
            time.sleep(delay)
        elif delay < -LATE:
            return False
        return self._executor.start_next(permit.lane)

    def _has_work(self) -> bool:
        return (
            self._is_closed
            or bool(self._executor.wanted_permits())
            or self._is_report_due(self._executor.keys_at_once())
        )

    def _is_report_due(self, running: Mapping[tuple[str, str], int]) -> bool:
        counts = {key: count for key, count in running.items() if count}
        return counts != self._reported or (bool(counts) and time.monotonic() >= self._report_at)

    def _report_end(self) -> None:
        try:
            self._take([], {})
        except Exception as error:
            logger.warning("The end of the calls could not be reported; it shows soon: %r", error)
