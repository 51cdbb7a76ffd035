"""The calls in flight of this process. A worker starts them, and stops them as it ends."""

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sagas.definition.handlers import ExternalStep
from sagas.definition.limits import Limits
from sagas.execution.in_flight.calls import Call
from sagas.execution.in_flight.executor import Executor
from sagas.execution.in_flight.pacer import Pacer
from sagas.execution.in_flight.recorder import Recorder
from sagas.storage.registry import Service

__all__ = [
    "drain",
    "note_limits",
    "places",
    "refuse",
    "refuses",
    "rooms",
    "start",
    "stop",
    "submit",
    "takes_calls",
]

logger = logging.getLogger(__name__)

# The most sagas on a log line.
MOST_LOGGED = 20


class _Flight:
    """The executor, the recorder and the pacer of a process, since its first call."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.executor = Executor()
        self.recorder = Recorder(self.executor)
        self.pacer = Pacer(self.executor)

    def start_pacer(self) -> None:
        with self.executor.changed:
            self.pacer.start_if_needed()


_lock = threading.Lock()
_flight: _Flight | None = None
_is_started = False
_is_stopping = False


def start() -> None:
    """Let calls fly from now on, in this process and in the processes that it forks."""
    global _is_started, _is_stopping
    _is_started, _is_stopping = True, False


def takes_calls() -> bool:
    """Tell whether calls fly in this process."""
    return _is_started


def submit(calls: Sequence[Call]) -> None:
    """Accept calls whose messages are claimed."""
    if calls:
        flight = _current()
        flight.executor.submit(calls)
        flight.start_pacer()


def note_limits(service: Service, limits: Limits) -> None:
    """Note the limits of calls that operators have set. They hold for waiting calls, too."""
    flight = _existing()
    if flight is None and not limits.by_key:
        return
    flight = _current()
    flight.executor.note_limits(service, limits)
    flight.start_pacer()


def refuses(step: str) -> bool:
    """Return whether this process stops, and so claims no message of a step that has flown."""
    flight = _existing()
    return _is_stopping and flight is not None and flight.executor.has_flown(step)


def rooms(
    service: Service,
    step: str,
    handler: ExternalStep[Any, Any, Any],
    destinations: Mapping[str, int],
) -> dict[str, int]:
    """Return how many of the calls to each destination are accepted now."""
    if not destinations:
        return {}
    executor = _current().executor
    found = {}
    for destination, count in destinations.items():
        room = executor.room(service, step, handler, destination)
        found[destination] = count if room is None else min(count, room)
    return found


def places(
    service: Service,
    step: str,
    handler: ExternalStep[Any, Any, Any],
    destinations: Mapping[str, int],
) -> dict[str, float]:
    """Return the seconds after which the messages to each destination without room are due again.

    The service is flushed then.
    """
    if not destinations:
        return {}
    flight = _current()
    found = {}
    for destination, count in destinations.items():
        due_in = flight.executor.place_in_queue(service, step, handler, destination, count)
        flight.recorder.expect_return(service, due_in=due_in)
        found[destination] = due_in
    return found


def drain(seconds: float) -> bool:
    """Wait until all answers are recorded and sent; tell whether that was within `seconds`."""
    flight = _existing()
    if flight is None:
        return True
    executor = flight.executor
    with executor.changed:
        return executor.changed.wait_for(lambda: not executor.calls, timeout=seconds)


def refuse() -> None:
    """Claim no more messages whose calls would fly. They wait in their rows."""
    global _is_stopping  # noqa: PLW0603  one of each process
    _is_stopping = True


def stop(seconds: float) -> None:
    """Refuse new calls, and wait at most `seconds` for the answers of the others.

    The claims of the rest end with the database session of this process. Afterwards, a run waits
    for its calls.
    """
    global _flight, _is_started
    refuse()
    flight = _existing()
    if flight:
        _await_answers(flight.executor, seconds)
        flight.recorder.close()
        flight.pacer.close()
        flight.executor.close()
    _flight, _is_started = None, False


def _await_answers(executor: Executor, seconds: float) -> None:
    with executor.changed:
        count = len(executor.calls)
    if not count:
        return

    logger.info("Waiting up to %g s for %d calls in flight", seconds, count)
    started_at = time.monotonic()
    if drain(seconds):
        took = time.monotonic() - started_at
        logger.info("Recorded all %d calls in flight after %.1f s", count, took)
        return

    with executor.changed:
        sagas = sorted(str(call.saga) for call in executor.calls)
    logger.warning(
        "%d calls in flight did not end within %g s; other workers ask again. The first sagas: %s",
        len(sagas),
        seconds,
        ", ".join(sagas[:MOST_LOGGED]),
    )


def _existing() -> _Flight | None:
    return _flight if _flight and _flight.pid == os.getpid() else None


def _current() -> _Flight:
    """Return the calls of this process. No thread survives a fork."""
    global _flight  # noqa: PLW0603  one of each process
    with _lock:
        flight = _existing()
        if flight is None:
            flight = _flight = _Flight()
        return flight
