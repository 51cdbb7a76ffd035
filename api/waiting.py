"""A room where requests wait until something in the database changes: each costs a parked thread
and no connection.

One thread of the process looks for all of them, in one query. Not by LISTEN: every commit that
notifies queues for one lock of the whole server. The places are fewer than the server's threads, so
that whoever does not wait finds one.
"""

import logging
import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import Error, connections
from rest_framework.request import Request

__all__ = ["Place", "Room", "RoomFull", "client_of", "give_back_connections", "stop_when"]

logger = logging.getLogger(__name__)

# Seconds between two looks, and after one that failed.
PAUSE = 0.05
PAUSE_IN_TROUBLE = 1.0

# Seconds after which a waiting thread makes sure that its client is still there.
GLANCE = 2.0

# The client has closed its end, or the connection is broken. Where the system knows no RDHUP, the
# latter must do.
GONE = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR

S = TypeVar("S")


class RoomFull(Exception):
    """Nobody else can wait in this process at this moment."""


@dataclass(eq=False)
class _Waiter(Generic[S]):
    key: UUID
    wanted: Callable[[S | None], bool]
    woken: threading.Event = field(default_factory=threading.Event)
    found: bool = False


class Place(Generic[S]):
    """A request's place in a room, until it leaves."""

    def __init__(self, room: "Room[S]", gone: Callable[[], bool]) -> None:
        self._room = room
        self._gone = gone
        self._left = False

    @property
    def over(self) -> bool:
        """Whether it is no use to wait any longer: the client has gone, or the server is
        stopping.
        """
        return self._gone() or _stopping()

    def wait(self, key: UUID, wanted: Callable[[S | None], bool], *, seconds: float) -> bool:
        """Wait until what is found at a key is `wanted`; return whether it was, before the time or
        all was over.

        The thread's database connections are given back first, so call it outside of transactions.
        """
        give_back_connections()
        waiter = _Waiter[S](key, wanted)
        deadline = time.monotonic() + seconds
        with self._room.watching(waiter):
            while (left := deadline - time.monotonic()) > 0 and not waiter.woken.wait(
                min(left, GLANCE)
            ):
                if self._gone():
                    break
        return waiter.found

    def leave(self) -> None:
        """Make room for another. A second time does nothing."""
        if not self._left:
            self._left = True
            self._room.release()

    def __enter__(self) -> "Place[S]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()


class Room(Generic[S]):
    """Requests that wait for what `look` finds at their keys: it is asked for all keys at once."""

    def __init__(self, look: Callable[[Sequence[UUID]], Mapping[UUID, S]]) -> None:
        self._look = look
        self._changed = threading.Condition()
        self._taken = 0
        self._waiters: set[_Waiter[S]] = set()
        self._thread: threading.Thread | None = None

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._taken

    def enter(self, gone: Callable[[], bool]) -> Place[S]:
        """Return a place, to be left again. Raises `RoomFull`; so does a process that is
        stopping.
        """
        with self._changed:
            if self._taken >= settings.WAITING_PLACES or _stopping():
                raise RoomFull
            self._taken += 1
        return Place(self, gone)

    def release(self) -> None:
        """Take a place back."""
        with self._changed:
            self._taken -= 1

    @contextmanager
    def watching(self, waiter: _Waiter[S]) -> Iterator[None]:
        """Look out for somebody until the block is left."""
        with self._changed:
            self._waiters.add(waiter)
            self._changed.notify()
            if (
                self._thread is None or not self._thread.is_alive()
            ):  # a thread does not survive a fork
                self._thread = threading.Thread(target=self._run, name="waiting-room", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._waiters.discard(waiter)

    def _run(self) -> None:
        while True:
            time.sleep(PAUSE if self._look_for(self._present()) else PAUSE_IN_TROUBLE)

    def _present(self) -> list[_Waiter[S]]:
        """Return who waits, once somebody does; until then this thread holds no connection
        either.
        """
        with self._changed:
            if not self._waiters:
                give_back_connections()
            self._changed.wait_for(lambda: self._waiters)
            return list(self._waiters)

    def _look_for(self, waiters: Sequence[_Waiter[S]]) -> bool:
        """Wake those whose wish has come true, and all when the server stops; return whether the
        database answered.
        """
        try:
            found = self._look(list({waiter.key for waiter in waiters}))
        except Error as error:  # they wait on: each answers as it can when its time is up
            logger.warning(
                "The database did not answer for %d waiting requests: %r", len(waiters), error
            )
            give_back_connections()
            return False
        finally:
            if _stopping():
                for waiter in waiters:
                    waiter.woken.set()
        for waiter in waiters:
            if waiter.wanted(found.get(waiter.key)):
                waiter.found = True
                waiter.woken.set()
        return True


def client_of(request: Request) -> Callable[[], bool]:
    """Return what tells whether the client of a request has gone: seen on the socket, where
    gunicorn shows it.
    """
    socket = request.META.get("gunicorn.socket")
    if socket is None:
        return lambda: False
    poll = select.poll()
    poll.register(socket, GONE)
    return lambda: bool(poll.poll(0))


def give_back_connections() -> None:
    """Give this thread's database connections back to their pools; close them where there is no
    pool.
    """
    connections.close_all()


def stop_when(stopping: Callable[[], bool]) -> None:
    """Tell all rooms how to learn that the server stops: then everybody in them is woken, and
    nobody let in.
    """
    global _stopping  # noqa: PLW0603  (there is one server in a process)
    _stopping = stopping


def _stopping() -> bool:
    return False
