"""How large a message may be, from the row of its event to its item in the broker.

A worker drops a larger item unread, because any client of the broker can send one. So no process of
ours may send one: an event that is too large is refused in the transaction that writes it, and a
batch is split.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

__all__ = [
    "MOST_BYTES_IN_BROKER",
    "MOST_BYTES_OF_BATCH",
    "MOST_BYTES_OF_ROW",
    "MOST_BYTES_OF_SIGNAL",
    "MOST_CHARACTERS_OF_ERROR",
    "MOST_SAGAS_LISTED",
    "EventTooLarge",
    "split_by_size",
]

# One item of a queue. JSON of this size takes at most some 25 MB when it is parsed: an empty list
# is three bytes of text, and 64 in memory.
MOST_BYTES_IN_BROKER = 1_048_576

# The messages and timeline entries of one batch. An error callback carries the messages twice, and
# an error for each. All that is written as base64, which adds a third.
MOST_BYTES_OF_BATCH = 196_608

# The event and the context of one outbox row, as JSON.
MOST_BYTES_OF_ROW = MOST_BYTES_OF_BATCH

# The fields of a signal, as JSON. They are in its row twice: as the event, and as a result in the
# context. A third of the row is left for the rest of the context.
MOST_BYTES_OF_SIGNAL = 65_536

# Of an error that travels in a message, and that the inbox stores.
MOST_CHARACTERS_OF_ERROR = 2_000

# The sagas in one message that lists them: 39 bytes each.
MOST_SAGAS_LISTED = 10_000

T = TypeVar("T")


class EventTooLarge(ValueError):
    """An event, with the context of its saga, does not fit into a message."""


def split_by_size(
    items: Iterable[T], *, most_items: int, size: Callable[[T], int]
) -> Iterator[list[T]]:
    """Yield the items in parts of at most `most_items` and MOST_BYTES_OF_BATCH. `size` is in bytes.

    An item that is larger than that is alone in its part.
    """
    part: list[T] = []
    part_size = 0
    for item in items:
        item_size = size(item)
        if part and (len(part) == most_items or part_size + item_size > MOST_BYTES_OF_BATCH):
            yield part
            part, part_size = [], 0
        part.append(item)
        part_size += item_size
    if part:
        yield part
