"""A call in flight: the request of one saga, from its claim until its answer is recorded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from sagas.definition.handlers import ExternalStep
from sagas.definition.messages import Message
from sagas.definition.plan import Plan
from sagas.execution.claiming import Claimed
from sagas.execution.external import Answered, CallResult, Record
from sagas.execution.failures import Failure
from sagas.storage.registry import Service

__all__ = ["Answer", "Call", "Recording"]


class Recording(Protocol):
    """The second transaction of a step, for messages of one plan. `has_success`: some message had
    a result. `needs_flush`: the service must be flushed.

    The recorder copies it for each attempt, so that a failed attempt leaves no state behind.
    """

    has_success: bool
    needs_flush: bool

    def record(self, answered: Sequence[Answered], record: Record) -> list[Failure]:
        """Commit answers, and send the rows that this wrote; return the failures.

        Raises a transient database error, after which nothing is committed.
        """


@dataclass(eq=False, kw_only=True)
class Call:
    """A request of a claimed message. Times are in seconds of `time.monotonic`.

    `traced` is the span of the message, which ends when the answer is recorded. `timed_out`: its
    budget is over, and its outcome counts as unknown.
    """

    service: Service
    step: str
    plan: Plan
    handler: ExternalStep[Any, Any, Any]
    claimed: Claimed
    request: Any
    destination: str
    recording: Recording
    traced: Any = None
    accepted_at: float = 0.0
    started_at: float | None = None
    timed_out: bool = field(default=False)

    @property
    def message(self) -> Message:
        """The message that was claimed."""
        return self.claimed.message

    @property
    def saga(self) -> UUID:
        """The saga of the message."""
        return self.claimed.saga


class Answer(NamedTuple):
    """The result of a call. `is_late`: the call had timed out before."""

    call: Call
    result: CallResult
    is_late: bool = False
