"""Rows of the inbox in memory, as `sagas.storage.inbox` takes and returns them."""

from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from sagas.definition.limits import Limits
from sagas.definition.messages import Message
from sagas.definition.plan import Plan
from sagas.storage.destination_holds import NO_DESTINATION_HOLDS, DestinationHolds

__all__ = ["Claims", "DueRow", "FailedAttempt", "LockedRow", "StepResult", "StoredMessage"]


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The message that an open row keeps, so that the service's own relay can send it again."""

    plan: Plan
    message: Message


class Claims(NamedTuple):
    """The result of a claim.

    `attempts`: the claimed sagas, each with the number of this attempt. `held`: the sagas whose
    message is now kept, because the saga or the step is on hold. Any other message is ignored or
    parked. `uncounted`: how many of the attempts of each claimed saga do not count. `claim`: the
    token of the claimed rows, or None if the claim is final. `limits`: the limits of calls that
    operators have set, if the claim is not final; None if it has claimed no row, and so read none.
    `destination_holds`: the destinations of the step that are on hold, read likewise.
    """

    attempts: dict[UUID, int]
    held: set[UUID]
    uncounted: dict[UUID, int]
    claim: UUID | None
    limits: Limits | None = None
    destination_holds: DestinationHolds = NO_DESTINATION_HOLDS


class DueRow(NamedTuple):
    """An open row that is due to be sent again. `losses`: the processes that were lost with it."""

    id: int
    step: str
    attempts: int
    stored: StoredMessage
    losses: int = 0


class LockedRow(NamedTuple):
    """A row that the caller has locked.

    `leased`: a worker that may be alive has claimed the row, and its lease has not run out.
    `stored` is JSON.
    """

    state: str
    attempts: int
    leased: bool
    stored: str | None
    by_hand: dict[str, Any] | None


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """The new state of a row that the caller has claimed or locked.

    `due_in`: seconds until a `waiting` row may be claimed and sent again. An empty `error`
    leaves the row's error as it is. A row that stays open needs its `stored` message. `claim` is
    the token of the run, if it claimed the row in an earlier transaction. If `destination` is None,
    the row keeps its destination.
    """

    saga: UUID
    state: str
    error: str = ""
    due_in: float = 0.0
    stored: StoredMessage | None = None
    claim: UUID | None = None
    destination: str | None = None


class FailedAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that failed. `attempt` counts from 1.

    `retry_in`: seconds until the relay sends the step again. With None the relay never does, but
    any other delivery may claim the row at once. `lost`: the process of the attempt was lost.
    `claim`: the token under which the run had claimed the row, if it had.
    """

    message: Message
    attempt: int
    error: str
    retry_in: float | None
    lost: bool = False
    claim: UUID | None = None
