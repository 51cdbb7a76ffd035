"""Admission: messages wait as rows in PostgreSQL, not in the broker, while a queue is long.

The publisher asks here for the rows of a step and of a flush. The relay asks for the open steps
that are due to be sent again.
"""

import math
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from sagas.definition.messages import OutboxRow
from sagas.definition.plan import service_name
from sagas.delivery import queues

__all__ = [
    "CONGESTED",
    "CROWDED",
    "DRAINED",
    "crowded_queues",
    "full_queues",
    "is_suspended",
    "length",
    "note_sent",
    "queues_of",
    "still_full",
    "suspended",
]

# A queue with this many messages takes no further ones: they are seconds of work for the workers,
# and take little of the broker's memory.
CONGESTED = 50

# With this many messages in a queue, a small batch of a step would only wait there. It waits in the
# outbox instead, where a flush finds it together with the rows of other runs: one message of ten
# rows costs about as much as one of a hundred. A fuller batch is sent up to a longer queue.
CROWDED = 10

# A queue with at most this many messages counts as drained. A message that was sent before is then
# no longer in it, because a queue is first in, first out.
DRAINED = 2

# A step that sends its rows takes a length that is at most this old, so that it seldom asks the
# broker. A queue that seems long is asked each time. Seconds.
KEPT = 0.5

# The length of each queue, and the time (monotonic) of the answer.
_lengths: dict[str, tuple[int, float]] = {}

_is_suspended = False


@contextmanager
def suspended() -> Iterator[None]:
    """Send nothing from this process while the context lasts: all rows wait in PostgreSQL.

    The test kit delivers them itself.
    """
    global _is_suspended  # noqa: PLW0603  one of each process
    was_suspended, _is_suspended = _is_suspended, True
    try:
        yield
    finally:
        _is_suspended = was_suspended


def is_suspended() -> bool:
    """Return whether this process sends nothing now."""
    return _is_suspended


def queues_of(service: str, row: OutboxRow) -> set[str]:
    """Return the queues that a row of a service's outbox goes to."""
    home = {row.plan.home} - {service}
    return {*map(service_name, row.recipients()), *home}


def full_queues(names: Iterable[str]) -> set[str]:
    """Return the full ones of these queues. Raises while the broker is down."""
    return _with_lengths_from(dict.fromkeys(names, CONGESTED))


def crowded_queues(batches: Mapping[str, float]) -> set[str]:
    """Return the queues that are full, or too long for so small a batch; raises as `full_queues`.

    `batches` are the full batches that a step would send to each queue. One is sent to each queue
    that is not full, half of one only to a queue that is not half as long.
    """
    return _with_lengths_from(
        {
            name: min(CONGESTED, max(CROWDED, math.ceil(CONGESTED * number)))
            for name, number in batches.items()
        }
    )


def length(queue: str) -> int:
    """Return the number of messages in a queue now. Raises while the broker is down."""
    _ask([queue])
    return _lengths[queue][0]


def still_full() -> set[str]:
    """Return the queues that were full when this process last asked, and still are.

    It asks the broker only about these queues, so that a flush without a backlog does not ask.
    Raises while the broker is down.
    """
    # A copy, because the flush thread and the recorder note queues meanwhile.
    known = list(_lengths.items())
    full = [name for name, (messages, _) in known if messages >= CONGESTED]
    _ask(full)
    return {name for name in full if _lengths[name][0] >= CONGESTED}


def note_sent(queue: str) -> None:
    """Add a message that this process has sent to the length that it knows."""
    if known := _lengths.get(queue):
        _lengths[queue] = (known[0] + 1, known[1])


def _with_lengths_from(limits: Mapping[str, int]) -> set[str]:
    """Return the queues whose length is at least their limit.

    A queue that seems long is asked again unless it was asked just now. The known length grows with
    each message that this process sends, and workers may have taken all of them.
    """
    if _is_suspended:
        return set(limits)
    asked_after = time.monotonic() - KEPT
    outdated = {name for name in limits if _lengths.get(name, (0, 0.0))[1] <= asked_after}
    _ask(outdated)
    _ask([name for name in limits if name not in outdated and _lengths[name][0] >= limits[name]])

    return {name for name, limit in limits.items() if _lengths[name][0] >= limit}


def _ask(names: Collection[str]) -> None:
    if not names:
        return
    now = time.monotonic()
    for name, messages in queues.lengths(names).items():
        _lengths[name] = (messages, now)
