"""Permits to start calls: the limits of all keys hold over all processes of a service.

The starts of a key are at least a certain time apart, so no second has more than the limit. It is
the generic cell rate algorithm without a burst:
https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm

PostgreSQL keeps the time of the next start, and the calls that each process runs.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from django.db import transaction

from sagas.definition.limits import Limit, Limits
from sagas.execution.in_flight.lane import Lane
from sagas.storage import call_limits
from sagas.storage.call_limits import KeyState
from sagas.storage.registry import Service

__all__ = ["AHEAD", "EXPIRES", "LATE", "Permit", "Want", "grant", "take"]

logger = logging.getLogger(__name__)

# Seconds. Permits are for starts of the near future, so that a process asks ten times a second.
AHEAD = 0.1

# A part of each second that stays free, so that a call that starts late exceeds no limit: by
# `LATE`, and by as much again because the clocks of process and database are compared so well only.
MARGIN = 0.1

# Seconds. A permit that is later than this is not used.
LATE = 0.05

# Seconds for which the calls of a process count after its last word. A process that was lost runs
# none, but another one cannot tell it from a slow one at once.
EXPIRES = 5.0


class Want(NamedTuple):
    """Calls of a lane that wait for permits."""

    lane: Lane
    number: int


class Permit(NamedTuple):
    """A permit to start one call of a lane at `starts_at`.

    It is a time of the database's clock, or of `time.monotonic` once `take` has returned it.
    """

    lane: Lane
    starts_at: float


class _Shares:
    """The permits of some keys that are still free, as calculated under the locks of their rows."""

    def __init__(
        self,
        states: Mapping[str, KeyState],
        limits: Mapping[str, Limit],
        running: Mapping[str, int],
        process: str,
    ) -> None:
        self.states, self.limits = states, limits
        self.now = max((state.now for state in states.values()), default=0.0)
        self.in_use = {key: running.get(key, 0) for key in states}
        self._others = {
            key: sum(
                calls
                for other, (calls, until) in state.in_use.items()
                if other != process and until > self.now
            )
            for key, state in states.items()
        }
        for key, state in states.items():
            # A clock that was set back, or a lower limit before, must not stop the key for long.
            # A key whose limit is not known here keeps its time.
            if pause := self._pause(key):
                state.next_at = min(state.next_at, self.now + AHEAD + pause)

    def start_of(self, keys: Sequence[str]) -> float | None:
        """Return the earliest start of a call with these keys; None if it has to ask again."""
        is_full = [key for key in keys if self._is_full(key)]
        start = max([self.now, *(self.states[key].next_at for key in keys if self._pause(key))])
        if start > self.now + AHEAD:
            is_full += [key for key in keys if self.states[key].next_at > self.now + AHEAD]
        for key in is_full:
            self.states[key].is_reached = True
        return None if is_full else start

    def take(self, keys: Sequence[str], start: float) -> None:
        for key in keys:
            self.in_use[key] += 1
            if self._pause(key):
                self.states[key].next_at = start + self._pause(key)

    def _pause(self, key: str) -> float:
        per_second = self.limits[key].per_second if key in self.limits else None
        return (1 + MARGIN) / per_second if per_second else 0.0

    def _is_full(self, key: str) -> bool:
        at_once = self.limits[key].at_once if key in self.limits else None
        return at_once is not None and self._others[key] + self.in_use[key] >= at_once


def take(
    service: Service,
    wants: Sequence[Want],
    running: Mapping[str, int],
    *,
    process: str,
) -> tuple[list[Permit], Limits]:
    """Ask for permits, and report the `running` calls of a process; return the permits in the order
    of their starts, with the limits that operators have set now.
    """
    keys = {key for want in wants for key in want.lane.keys} | running.keys()
    with transaction.atomic(using=service.alias):
        locked, table = call_limits.lock(service, keys)
        states = {state.key: state for state in locked}
        limits: dict[str, Limit] = {}
        for want in wants:
            limits |= want.lane.limits(table)
        permits = grant(states, limits, wants, running, process=process)
        asked_at = time.monotonic()
        clock = call_limits.save(service, locked)
        answered_at = time.monotonic()

    # The clock was read between the two times. If they are far apart, the starts are not known well
    # enough. The permits of keys with a limit per second are lost; the others need no exact time.
    if answered_at - asked_at > LATE:
        timed = [permit for permit in permits if _is_timed(permit.lane, limits)]
        if timed:
            logger.warning(
                "%d permits to call are lost, because the database of %s took %.0f ms to answer."
                " Calls with a limit per second wait until it answers within %.0f ms",
                len(timed),
                service.name,
                1000 * (answered_at - asked_at),
                1000 * LATE,
            )
        permits = [permit for permit in permits if permit not in timed]
    return [Permit(lane, start - clock + answered_at) for lane, start in permits], table


def _is_timed(lane: Lane, limits: Mapping[str, Limit]) -> bool:
    return any(limits[key].per_second for key in lane.keys if key in limits)


def grant(
    states: Mapping[str, KeyState],
    limits: Mapping[str, Limit],
    wants: Sequence[Want],
    running: Mapping[str, int],
    *,
    process: str,
) -> list[Permit]:
    """Return the permits for calls that start within `AHEAD`, and note them in the states.

    The lanes take turns, and a lane whose limit is reached holds up no other.
    """
    shares = _Shares(states, limits, running, process)
    given = [0] * len(wants)
    permits: list[Permit] = []
    while True:
        # In the order of their starts, so that no permit of a shared key is lost.
        possible = [
            (start, want.lane.permitted_at, number)
            for number, want in enumerate(wants)
            if given[number] < want.number
            and (start := shares.start_of([key for key in want.lane.keys if key in states]))
            is not None
        ]
        if not possible:
            break
        start, _, number = min(possible)
        lane = wants[number].lane
        shares.take([key for key in lane.keys if key in states], start)
        lane.permitted_at = start
        given[number] += 1
        permits.append(Permit(lane, start))

    for key, state in states.items():
        state.in_use = {
            other: (calls, until)
            for other, (calls, until) in state.in_use.items()
            if other != process and until > shares.now
        }
        counts = key in running or (key in limits and limits[key].at_once)
        if counts and shares.in_use[key]:
            state.in_use[process] = (shares.in_use[key], shares.now + EXPIRES)
    return permits
