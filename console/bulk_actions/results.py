"""The outcome of an operator action on one saga, and the reasons why a run is not moved on."""

from dataclasses import dataclass
from typing import Self

from console.models import RunItem
from sagas.control import ControlResult
from staff.writes import Rejected

__all__ = [
    "ActionRejected",
    "ActionResult",
    "NotAllowed",
    "StalePreview",
    "StateConflict",
    "WrongNumberOfOrders",
]


@dataclass(frozen=True)
class ActionResult:
    """How an action on one run item ended; `text` is shown to operators and kept in the log."""

    state: RunItem.State
    text: str

    @classmethod
    def of(cls, result: ControlResult) -> Self:
        """The engine's call has changed something, or found nothing to change."""
        return cls.done(result.text) if result.changed else cls.nothing(result.text)

    @classmethod
    def done(cls, text: str) -> Self:
        """The action changed something."""
        return cls(RunItem.State.DONE, text)

    @classmethod
    def nothing(cls, text: str) -> Self:
        """The action found nothing to change."""
        return cls(RunItem.State.NOTHING, text)

    @classmethod
    def failed(cls, text: str) -> Self:
        """The action raised an error each time it was tried."""
        return cls(RunItem.State.FAILED, text)


class ActionRejected(Rejected):
    """The run stays as it is. The text is for the operator: it says why, and what to do."""


class WrongNumberOfOrders(ActionRejected):
    """No saga was selected, or more sagas than one run may hold."""


class StateConflict(ActionRejected):
    """The run has moved on since the operator saw it."""


class StalePreview(ActionRejected):
    """The run would now do something else than the preview that the operator saw."""


class NotAllowed(ActionRejected):
    """This person may not do this, or a required input is missing."""
