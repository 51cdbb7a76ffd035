"""The comparison of a saga with the end that its test expects."""

from collections.abc import Iterator, Sequence
from types import EllipsisType
from typing import NamedTuple

from sagas.models import TrackedSaga
from sagas.testing.record import End, Record

__all__ = ["Expectation", "contradictions", "known_end"]


class Expectation(NamedTuple):
    """How a saga must stand. A field that is not given is not compared.

    `ended`: "done", "cancelled", or None while it must not have ended. The others are names of
    steps in their order: `done` (and not undone), `undone` and `refused` name actions, `skipped`
    optional steps, `waiting` the steps that have begun and are not over.
    """

    ended: str | EllipsisType | None = ...
    done: Sequence[str] | None = None
    undone: Sequence[str] | None = None
    refused: Sequence[str] | None = None
    skipped: Sequence[str] | None = None
    waiting: Sequence[str] | None = None
    needs_attention: bool | None = None

    def differences(self, record: Record, tracked: TrackedSaga) -> Iterator[str]:
        """Yield a sentence for each difference."""
        if self.ended is not ... and self.ended != record.end:
            yield f"Expected ended={_text(self.ended)}, but it is {_text(record.end)}."
        for name in ("done", "undone", "refused", "skipped", "waiting"):
            expected, found = getattr(self, name), getattr(record, name)
            if expected is not None and list(expected) != found:
                yield f"Expected {name}={list(expected)}, but it is {found}."
        attention = tracked.needs_attention
        if self.needs_attention is not None and self.needs_attention != attention:
            yield f"Expected needs_attention={self.needs_attention}, but it is {attention}."


def contradictions(record: Record, tracked: TrackedSaga) -> Iterator[str]:
    """Yield the promises of the engine that do not hold for a saga without messages under way."""
    if record.left_over():
        yield f"The saga is {record.end}, but these actions are not: {record.left_over()}."
    if (record.end is None) != (tracked.ended_at is None):
        yield f"The saga's end is {_text(record.end)}, but its row has {tracked.ended_at=}."


def _text(end: str | None) -> str:
    return "not ended" if end is None else repr(str(end))


def known_end(end: str | EllipsisType | None) -> str | EllipsisType | None:
    """Return the end. Raises `ValueError` for a status of the domain."""
    if isinstance(end, str) and end not in list(End):
        raise ValueError(
            f"A saga ends as {' or '.join(map(repr, map(str, End)))}, not as {end!r}. "
            "Compare a status of your own with the row in `story.tracked`."
        )
    return end
