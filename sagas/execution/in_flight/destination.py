"""The running and waiting calls of one process to one destination."""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from sagas.definition.limits import Limit
from sagas.execution.in_flight.adaptive_limit import AdaptiveLimit
from sagas.execution.in_flight.calls import Call
from sagas.execution.in_flight.lane import Lane, most_at_once, most_per_second

__all__ = ["Destination", "Load"]

# A process accepts calls for this many rounds. The second round waits in memory, so that a slot
# that becomes free is used at once.
ROUNDS_ACCEPTED = 2

# Seconds. The estimate of a call's duration before the first answer, the weight of a new one, and
# the shortest. A call without an answer does not count: it lasts as long as its time limit, so the
# messages that wait for the end of an outage would come back too late.
FIRST_DURATION = 0.5
WEIGHT = 0.1
SHORTEST_DURATION = 0.02

# Postponed messages are sent again at this multiple of the estimated pace. A message that comes too
# early is postponed again, which costs a part of a statement. A message that comes too late leaves
# a slot idle.
EAGERNESS = 1.5

# Seconds after which postponed messages come back at the earliest and at the latest.
SOONEST = 0.2
LATEST = 15.0


class Load(NamedTuple):
    """The load of a destination: calls that run, calls that wait for a slot, and the limit."""

    running: int
    waiting: int
    limit: int


class Destination:
    """The slots of a destination. It is not safe for threads: the executor has the lock."""

    def __init__(self, name: str, *, most: int) -> None:
        self.name = name
        self.limit = AdaptiveLimit(most)
        self.lanes: dict[str, Lane] = {}  # by step
        self.running = 0
        self.unrecorded = 0
        self._duration = FIRST_DURATION
        self._queue_ends_at: dict[str, float] = {}  # by lane; "" is for the lanes without limits

    @property
    def load(self) -> Load:
        """The load, for metrics."""
        return Load(self.running, self.waiting, self.limit.value)

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return sum(len(lane.waiting) for lane in self.lanes.values())

    @property
    def room(self) -> int:
        """How many more calls are accepted. Calls that are not recorded take room too."""
        accepted = self.waiting + self.running + self.unrecorded
        return max(0, ROUNDS_ACCEPTED * self.limit.value - accepted)

    @property
    def free(self) -> int:
        """How many slots are free."""
        return max(0, self.limit.value - self.running)

    def room_of(self, lane: Lane, limits: Mapping[str, Limit]) -> int:
        """Return how many more calls of a lane are accepted.

        A lane with limits takes as many calls into memory as start within a second, or run at once.
        """
        most = [most_per_second(limits), most_at_once(limits)]
        rooms = [each - len(lane.waiting) for each in most if each is not None]
        return max(0, min([self.room, *rooms]))

    def take_startable(self, limited: Collection[Lane]) -> Iterator[Call]:
        """Yield the calls that get a slot now, except the calls of `limited` lanes."""
        while self.running < self.limit.value:
            lanes = [lane for lane in self.lanes.values() if lane.waiting and lane not in limited]
            if not lanes:
                return
            lane = min(lanes, key=lambda each: each.waiting[0].accepted_at)
            self.running += 1
            yield lane.waiting.popleft()

    def note_end(self, *, started_at: float, failed: bool, now: float) -> None:
        """Note a call's outcome, for the limit and for the estimate of its duration."""
        was_full = self.waiting > 0 or self.running + 1 >= self.limit.value
        self.limit.note(failed=failed, was_full=was_full, started_at=started_at, now=now)
        if not failed:
            self._duration += WEIGHT * (now - started_at - self._duration)

    def place_in_queue(
        self, count: int, *, now: float, lane: Lane | None = None, limits: Mapping[str, Limit] = {}
    ) -> float:
        """Return the seconds after which `count` messages that find no room should come back.

        It is their place in the queue of all messages that this process has sent back, at the pace
        that the limit allows. So a long backlog does not come back all at once, again and again.
        The end of that queue is at most `LATEST` ahead, so that a backlog that is gone delays no
        later message.
        """
        at_once = min(self.limit.expected, most_at_once(limits) or self.limit.expected)
        pace = EAGERNESS * at_once / max(SHORTEST_DURATION, self._duration)
        pace = min(pace, most_per_second(limits) or pace)
        accepted = self.waiting + self.running + self.unrecorded
        room_in = max(0.0, accepted - self.limit.value) / pace

        queue = lane.step if lane and limits else ""
        starts_at = max(self._queue_ends_at.get(queue, 0.0), now + room_in)
        self._queue_ends_at[queue] = min(starts_at + count / pace, now + LATEST)
        return min(LATEST, max(SOONEST, starts_at - now))
