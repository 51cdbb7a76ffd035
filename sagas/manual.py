"""Steps that a person may mark as done, with evidence that the step was done outside."""

from sagas.definition.handlers import (
    ManualCompletion,
    ManualCompletionRefused,
    ManualConfirmation,
)

__all__ = ["ManualCompletion", "ManualCompletionRefused", "ManualConfirmation"]
