"""Trips whose payments fly, and a bank that answers when a test says so."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from sagas.definition.handlers import Unknown
from sagas.execution import in_flight
from tests.trips.awaited_pay import PAUSE
from tests.trips.harness import LIMIT, begin, deliver, make_due, state, walk
from tests.trips.models import Inbox, Trip
from tests.trips.steps import behaviour, destinations

__all__ = ["PAY", "Bank", "assert_ends_after_unknown_outcome", "booked", "calls_fly"]

PAY = "trips.pay"


class Bank:
    """An outside system whose answers a test releases, one trip at a time or all at once."""

    def __init__(self, name: str = "bank") -> None:
        self.name = name
        self.asked: list[UUID] = []
        self.threads: set[str] = set()
        self._changed = threading.Condition()
        self._answers: dict[UUID, Any] = {}
        self._answers_all = False

    def serve(self, *trips: UUID) -> None:
        """Let the payments of trips fly to this bank, and wait for its answers."""
        for trip in trips:
            destinations[trip] = self.name
            behaviour["trips.pay/call", trip] = self._answer  # type: ignore[assignment]  # of a trip

    def answer(self, *trips: UUID, outcome: Any = None) -> None:
        """Answer the calls of trips, now or when they come. None means that the trip is paid."""
        with self._changed:
            self._answers.update(dict.fromkeys(trips, outcome))
            self._changed.notify_all()

    def answer_all(self) -> None:
        """Answer all calls, from now on."""
        with self._changed:
            self._answers_all = True
            self._changed.notify_all()

    def await_calls(self, count: int) -> None:
        """Wait until a number of calls have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= count, timeout=LIMIT)

    async def answer_later(self, trip: UUID) -> Any:
        """Await the answer to a trip, as a client for the event loop does."""
        with self._changed:
            self.asked.append(trip)
            self._changed.notify_all()
        deadline = time.monotonic() + LIMIT
        while not (self._answers_all or trip in self._answers):
            assert time.monotonic() < deadline
            await asyncio.sleep(PAUSE)
        return self._answers.get(trip)

    def _answer(self, trip: UUID) -> Any:
        with self._changed:
            self.asked.append(trip)
            self.threads.add(threading.current_thread().name)
            self._changed.notify_all()
            assert self._changed.wait_for(
                lambda: self._answers_all or trip in self._answers, timeout=LIMIT
            )
            return self._answers.get(trip)


@contextmanager
def calls_fly() -> Iterator[None]:
    """Let calls fly in this process, as in a worker."""
    in_flight.start()
    try:
        yield
    finally:
        in_flight.stop(LIMIT)


def assert_ends_after_unknown_outcome(bank: Bank, trip: UUID) -> None:
    """Check that a trip which the bank serves ends, although the first answer is not known."""
    bank.answer(trip, outcome=Unknown("timeout"))
    deliver(PAY, [trip])
    assert in_flight.drain(LIMIT)
    assert state(trip, PAY) == "waiting"
    make_due()
    bank.answer(trip)
    deliver(PAY, [trip])
    assert in_flight.drain(LIMIT)
    walk([trip])
    assert Inbox.objects.filter(saga=trip, state="done").count() == 4
    assert Trip.objects.get(id=trip).ended_at


def booked(count: int = 1) -> list[UUID]:
    """Return trips that are to be paid next."""
    trips = begin(count)
    deliver("trips.book", trips)
    return trips
