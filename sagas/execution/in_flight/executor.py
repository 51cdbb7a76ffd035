"""The executor: it calls the outside systems in threads, or in an event loop, and keeps the answers
until the recorder takes them.
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from django.db import connections

from sagas.conf import settings
from sagas.definition.handlers import AsyncExternalStep, ExternalStep, Unknown
from sagas.definition.limits import Limit, Limits, keys_of
from sagas.execution.external import (
    CallResult,
    call_outside,
    call_outside_async,
    unknown_result,
)
from sagas.execution.in_flight.calls import Answer, Call
from sagas.execution.in_flight.destination import Destination, Load
from sagas.execution.in_flight.lane import Lane
from sagas.observability import instrumentation
from sagas.observability.database_errors import hide_contents
from sagas.storage.registry import Service

__all__ = ["Executor"]

logger = logging.getLogger(__name__)

# Seconds without a call after which a thread ends. A destination may be one of thousands.
IDLE_SECONDS = 60.0


class Executor:
    """The calls in flight of one process. Safe for threads.

    `changed` guards all attributes. It is notified when an answer comes or is recorded.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.calls: set[Call] = set()
        self.answers: list[Answer] = []
        self._destinations: dict[str, Destination] = {}
        self._limits: dict[str, Limits] = {}  # by service
        self._running: Counter[tuple[str, str]] = Counter()  # by service and key
        self._ready: dict[str, SimpleQueue[Call | None]] = {}
        self._threads: dict[str, int] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(self, calls: Sequence[Call]) -> None:
        """Accept calls. Each starts as soon as its destination has a slot for it, and its limits
        permit it.
        """
        now = time.monotonic()
        with self.changed:
            for call in calls:
                call.accepted_at = now
                self.calls.add(call)
                self.lane(call.service, call.step, call.handler, call.destination).waiting.append(
                    call
                )
            for name in {call.destination for call in calls}:
                self._start_waiting(self._destination(name))
            self.changed.notify_all()

    def note_limits(self, service: Service, limits: Limits) -> None:
        """Note the limits that operators have set. They hold for the calls that wait, too."""
        with self.changed:
            if limits == self._limits.get(service.name, Limits()):
                return
            self._limits[service.name] = limits
            for destination in self._destinations.values():
                self._start_waiting(destination)
            self.changed.notify_all()

    def lane(
        self, service: Service, step: str, handler: ExternalStep[Any, Any, Any], destination: str
    ) -> Lane:
        """Return the lane of a step to a destination. The caller holds the lock."""
        lanes = self._destination(destination).lanes
        if step not in lanes:
            lanes[step] = Lane(service, step, destination, handler)
        return lanes[step]

    def has_flown(self, step: str) -> bool:
        """Return whether any call of a step has been accepted."""
        with self.changed:
            return any(step in each.lanes for each in self._destinations.values())

    def room(
        self, service: Service, step: str, handler: ExternalStep[Any, Any, Any], destination: str
    ) -> int | None:
        """Return how many calls of a step to a destination are accepted now.

        None if there is no limit, and none has flown yet.
        """
        with self.changed:
            has_flown = destination in self._destinations
            lane = self.lane(service, step, handler, destination)
            limits = self._limits_of(lane)
            if not has_flown and not limits:
                del self._destinations[destination]
                return None
            return self._destination(destination).room_of(lane, limits)

    def place_in_queue(
        self,
        service: Service,
        step: str,
        handler: ExternalStep[Any, Any, Any],
        destination: str,
        count: int,
    ) -> float:
        """Return the seconds after which `count` messages that find no room should come back."""
        now = time.monotonic()
        with self.changed:
            lane = self.lane(service, step, handler, destination)
            limits = self._limits_of(lane)
            return self._destination(destination).place_in_queue(
                count, now=now, lane=lane, limits=limits
            )

    def wanted_permits(self) -> list[tuple[Lane, int]]:
        """Return the lanes with limits whose calls wait, each with the calls that have a slot. The
        caller holds the lock.
        """
        return [
            (lane, min(len(lane.waiting), destination.free))
            for destination in self._destinations.values()
            if destination.free
            for lane in destination.lanes.values()
            if lane.waiting and self._limits_of(lane)
        ]

    def keys_at_once(self) -> dict[tuple[str, str], int]:
        """Return the running calls of each key with a limit of calls at once. The caller holds the
        lock.
        """
        return {
            (lane.service.name, key): self._running[lane.service.name, key]
            for destination in self._destinations.values()
            for lane in destination.lanes.values()
            for key, limit in self._limits_of(lane).items()
            if limit.at_once and self._running[lane.service.name, key]
        }

    def has_limited_calls(self) -> bool:
        """Return whether a call with a limit waits, with or without a slot. The caller holds the
        lock.
        """
        return any(
            lane.waiting and self._limits_of(lane)
            for destination in self._destinations.values()
            for lane in destination.lanes.values()
        )

    def start_next(self, lane: Lane) -> bool:
        """Start the first waiting call of a lane, if there still is one, and a slot for it."""
        with self.changed:
            destination = self._destination(lane.destination)
            if not lane.waiting or not destination.free:
                return False
            destination.running += 1
            self._start(lane.waiting.popleft())
            return True

    def loads(self) -> dict[str, Load]:
        """Return the load of each destination."""
        with self.changed:
            return {name: each.load for name, each in self._destinations.items()}

    def take_answers(self) -> list[Answer]:
        """Return all answers that have come, in order."""
        with self.changed:
            answers, self.answers = self.answers, []
            return answers

    def give_back(self, answers: Sequence[Answer]) -> None:
        """Keep answers that could not be recorded now."""
        with self.changed:
            self.answers[:0] = answers

    def end(self, answers: Iterable[Answer], *, failed: Mapping[Call, bool]) -> None:
        """Forget calls whose answers are recorded. `failed`: the calls with an unknown outcome."""
        now = time.monotonic()
        with self.changed:
            for call, _, is_late in answers:
                if is_late:
                    continue
                destination = self._destination(call.destination)
                destination.unrecorded -= 1
                destination.note_end(
                    started_at=now if call.started_at is None else call.started_at,
                    failed=failed.get(call, True),
                    now=now,
                )
                self._start_waiting(destination)
                self.calls.discard(call)
            self.changed.notify_all()

    def time_out(self) -> None:
        """Answer for the calls whose budget is over. They keep their slots until they end."""
        now = time.monotonic()
        with self.changed:
            for call in self.calls:
                budget = call.handler.budget
                if call.timed_out or call.started_at is None or now < call.started_at + budget:
                    continue
                call.timed_out = True
                self._destination(call.destination).unrecorded += 1
                reason = f"{call.destination} did not answer within {budget:g} s."
                result = unknown_result([call.claimed], Unknown(reason=reason))
                self.answers.append(Answer(call, result))

    def close(self) -> None:
        """End the threads that are idle, once no call is left."""
        with self.changed:
            for name, count in self._threads.items():
                for _ in range(count):
                    self._ready[name].put(None)
            if self._loop:
                self._loop.call_soon_threadsafe(self._loop.stop)

    def _limits_of(self, lane: Lane) -> dict[str, Limit]:
        return lane.limits(self._limits.get(lane.service.name, Limits()))

    def _destination(self, name: str) -> Destination:
        if name not in self._destinations:
            self._destinations[name] = Destination(name, most=settings.CALLS_AT_ONCE)
            self._ready[name] = SimpleQueue()
            self._threads[name] = 0
        return self._destinations[name]

    def _start_waiting(self, destination: Destination) -> None:
        """Start the calls that have a slot and no limit. The caller holds the lock."""
        limited = [lane for lane in destination.lanes.values() if self._limits_of(lane)]
        for call in destination.take_startable(limited):
            self._start(call)

    def _start(self, call: Call) -> None:
        call.started_at = time.monotonic()
        self._count_running(call, 1)
        if isinstance(call.handler, AsyncExternalStep):
            coroutine = self._call_async(call.handler, call)
            asyncio.run_coroutine_threadsafe(coroutine, self._event_loop())
            return

        name = call.destination
        self._ready[name].put(call)
        if self._threads[name] < self._destination(name).running:
            self._start_thread(name)

    def _count_running(self, call: Call, change: int) -> None:
        for key in keys_of(call.step, call.destination):
            self._running[call.service.name, key] += change

    def _start_thread(self, destination: str) -> None:
        self._threads[destination] += 1
        name = f"call-{destination}-{self._threads[destination]}"
        threading.Thread(target=self._work, args=[destination], name=name, daemon=True).start()

    def _next(self, destination: str) -> Call | None:
        """Return the next call of a destination. None ends the thread: none came for a while."""
        ready = self._ready[destination]
        try:
            return ready.get(timeout=IDLE_SECONDS)
        except Empty:
            with self.changed:
                if not ready.empty():
                    return ready.get()
                self._threads[destination] -= 1
                return None

    def _work(self, destination: str) -> None:
        while call := self._next(destination):
            with instrumentation.resume_message(call.message, call.traced):
                try:
                    result = call_outside(call.handler, call.step, [call.claimed], [call.request])
                except (
                    BaseException
                ) as error:  # a client may raise SystemExit, and the slot must survive
                    result = _result_of(call, error)
            _close_connections()
            self._add_answer(call, result)

    async def _call_async(self, handler: AsyncExternalStep[Any, Any, Any], call: Call) -> None:
        with instrumentation.resume_message(call.message, call.traced):
            try:
                result = await call_outside_async(handler, call.step, call.claimed, call.request)
            except BaseException as error:  # as in _work
                result = _result_of(call, error)
        self._add_answer(call, result)

    def _add_answer(self, call: Call, result: CallResult) -> None:
        with self.changed:
            destination = self._destination(call.destination)
            destination.running -= 1
            self._count_running(call, -1)
            if not call.timed_out:
                destination.unrecorded += 1
            self.answers.append(Answer(call, result, is_late=call.timed_out))
            self._start_waiting(destination)
            self.changed.notify_all()

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="call-loop", daemon=True).start()
        return self._loop


def _result_of(call: Call, error: BaseException) -> CallResult:
    hide_contents(error)
    logger.error("A call of %s for saga %s ended with %r", call.step, call.saga, error)
    return unknown_result([call.claimed], Unknown(reason=repr(error)))


def _close_connections() -> None:
    """Close the connections that a call has opened, because most calls need none."""
    for connection in connections.all(initialized_only=True):
        connection.close()
