"""The writes that a recovery plans, and the findings that only a person can settle."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Note", "Plan", "Write"]


@dataclass(frozen=True, kw_only=True)
class Write:
    """One planned write. `kind` and `detail` are for people, `subject` names the row.

    `apply` takes the rows of all writes of a page that share it, and commits them together.
    """

    kind: str
    subject: str
    detail: str
    apply: Callable[[Sequence[Any]], None]
    row: Any


@dataclass(frozen=True, kw_only=True)
class Note:
    """A finding for a person. `blocking`: the database is not whole until it is settled."""

    kind: str
    subject: str
    detail: str
    blocking: bool = False


@dataclass
class Plan:
    """The writes and notes of one page, in the order in which they must be applied."""

    writes: list[Write] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def batches(self) -> Iterator[tuple[Callable[[Sequence[Any]], None], list[Write]]]:
        """Yield the writes by the function that applies them, in the order of the first ones."""
        grouped: dict[Callable[[Sequence[Any]], None], list[Write]] = defaultdict(list)
        for write in self.writes:
            grouped[write.apply].append(write)
        yield from grouped.items()

    def extend(self, other: "Plan") -> None:
        """Append the writes and notes of another plan."""
        self.writes += other.writes
        self.notes += other.notes
