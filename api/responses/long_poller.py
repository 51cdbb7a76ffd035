"""Long polling: requests that wait until a row in the database changes.

A waiting request holds a thread, but no database connection. One polling thread per process
queries for all waiting requests at once. LISTEN is not used, because every commit that notifies
queues for one lock of the whole server. There are fewer slots than server threads, so that
requests that do not wait always find a thread. One user gets a part of the slots only.
"""

import logging
import select
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import Error, connections
from rest_framework.request import Request

__all__ = [
    "LongPoller",
    "Slot",
    "TooManyWaiters",
    "TooManyWaitersOfUser",
    "disconnect_check",
    "release_connections",
    "set_stop_check",
    "slots_taken",
]

logger = logging.getLogger(__name__)

# Seconds between two queries, and after a query that failed.
POLL_SECONDS = 0.05
POLL_SECONDS_AFTER_ERROR = 1.0

# Seconds between two checks of a waiting thread that its client is still connected.
DISCONNECT_CHECK_SECONDS = 2.0

# The client closed its end, or the connection broke. Systems without POLLRDHUP report only the
# broken connection.
DISCONNECTED = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR

# The slots of one user without WAITING_PLACES_PER_USER: this part of all slots, but at least four.
PART_OF_ONE_USER = 8
LEAST_OF_ONE_USER = 4

S = TypeVar("S")


class TooManyWaiters(Exception):
    """All slots of this process are taken, or the server is stopping."""


class TooManyWaitersOfUser(TooManyWaiters):
    """The user has all slots that one user may have in this process."""


@dataclass(eq=False)
class _Waiter(Generic[S]):
    key: UUID
    condition: Callable[[S | None], bool]
    woken: threading.Event = field(default_factory=threading.Event)
    met: bool = False


class Slot(Generic[S]):
    """One request's permission to wait, until it is released."""

    def __init__(
        self, poller: "LongPoller[S]", user: Hashable, disconnected: Callable[[], bool]
    ) -> None:
        self._poller = poller
        self._user = user
        self._disconnected = disconnected
        self._released = False

    @property
    def cancelled(self) -> bool:
        """Whether waiting is pointless: the client disconnected, or the server is stopping."""
        return self._disconnected() or _stopping()

    def wait(self, key: UUID, condition: Callable[[S | None], bool], *, seconds: float) -> bool:
        """Wait until the state at a key meets the condition; return whether it did in time.

        The thread's database connections are released first: call this outside of transactions.
        """
        release_connections()
        waiter = _Waiter[S](key, condition)
        deadline = time.monotonic() + seconds

        with self._poller.polling(waiter):
            while (left := deadline - time.monotonic()) > 0:
                if waiter.woken.wait(min(left, DISCONNECT_CHECK_SECONDS)) or self._disconnected():
                    break
        return waiter.met

    def release(self) -> None:
        """Give the slot back. A second call does nothing."""
        if not self._released:
            self._released = True
            _slots.give_back(self._user)

    def __enter__(self) -> "Slot[S]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class _SlotCounter:
    """The slots of all pollers of this process. They share the threads of one server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[Hashable] = Counter()

    def total(self) -> int:
        return self._taken.total()

    def take(self, user: Hashable) -> None:
        with self._lock:
            if self.total() >= settings.WAITING_PLACES or _stopping():
                raise TooManyWaiters
            if self._taken[user] >= _slots_of_one_user():
                raise TooManyWaitersOfUser
            self._taken[user] += 1

    def give_back(self, user: Hashable) -> None:
        with self._lock:
            self._taken[user] -= 1
            if not self._taken[user]:
                del self._taken[user]


_slots = _SlotCounter()


def slots_taken() -> int:
    """Return how many requests wait in this process."""
    return _slots.total()


class LongPoller(Generic[S]):
    """Wakes requests whose key has reached the state they wait for.

    `fetch` reads the states of all keys in one query. All pollers of a process share its slots.
    """

    def __init__(self, fetch: Callable[[Sequence[UUID]], Mapping[UUID, S]]) -> None:
        self._fetch = fetch
        self._changed = threading.Condition()
        self._waiters: set[_Waiter[S]] = set()
        self._thread: threading.Thread | None = None

    def acquire(self, user: Hashable, disconnected: Callable[[], bool]) -> Slot[S]:
        """Return a slot for a user's request, which the caller must release.

        Raises `TooManyWaiters`, or `TooManyWaitersOfUser` if other users may still have slots.
        """
        _slots.take(user)
        return Slot(self, user, disconnected)

    @contextmanager
    def polling(self, waiter: _Waiter[S]) -> Iterator[None]:
        """Poll for a waiter until the block ends."""
        with self._changed:
            self._waiters.add(waiter)
            self._changed.notify()
            self._ensure_thread()
        try:
            yield
        finally:
            with self._changed:
                self._waiters.discard(waiter)

    def _ensure_thread(self) -> None:
        # A thread does not survive a fork, so the first waiter of each process starts one.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="long-poller", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            waiters = self._next_waiters()
            time.sleep(POLL_SECONDS if self._poll(waiters) else POLL_SECONDS_AFTER_ERROR)

    def _next_waiters(self) -> list[_Waiter[S]]:
        """Block until at least one request waits. Meanwhile this thread has no connection."""
        with self._changed:
            if not self._waiters:
                release_connections()
            self._changed.wait_for(lambda: self._waiters)
            return list(self._waiters)

    def _poll(self, waiters: Sequence[_Waiter[S]]) -> bool:
        """Wake the waiters whose condition is met; all of them if the server is stopping.

        Return whether the database answered.
        """
        try:
            states = self._fetch(list({waiter.key for waiter in waiters}))
        except Error as error:  # the waiters stay: each answers as it can when its time is up
            logger.warning(
                "Long poller: the query for %d waiting requests failed; retrying in %g s: %r",
                len(waiters),
                POLL_SECONDS_AFTER_ERROR,
                error,
            )
            release_connections()
            return False
        finally:
            if _stopping():
                for waiter in waiters:
                    waiter.woken.set()

        for waiter in waiters:
            if waiter.condition(states.get(waiter.key)):
                waiter.met = True
                waiter.woken.set()
        return True


def _slots_of_one_user() -> int:
    share: int = settings.WAITING_PLACES // PART_OF_ONE_USER
    return settings.WAITING_PLACES_PER_USER or max(LEAST_OF_ONE_USER, share)


def disconnect_check(request: Request) -> Callable[[], bool]:
    """Return a function that tells whether the request's client has disconnected.

    Only gunicorn shows the socket; under other servers the function always returns False.
    """
    socket = request.META.get("gunicorn.socket")
    if socket is None:
        return lambda: False
    poll = select.poll()
    poll.register(socket, DISCONNECTED)
    return lambda: bool(poll.poll(0))


def release_connections() -> None:
    """Return this thread's database connections to their pools, or close them without a pool."""
    connections.close_all()


def set_stop_check(stopping: Callable[[], bool]) -> None:
    """Set the function that tells whether this process's server is stopping.

    A stopping server wakes all waiting requests and accepts no new ones.
    """
    global _stopping  # noqa: PLW0603  (there is one server in a process)
    _stopping = stopping


def _stopping() -> bool:
    return False
