"""`manage.py saga`, with the rights, the preview and the log of the console."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management.base import CommandError

from console.operator_at_shell import OperatorAtShell
from sagas.control import ControlResult
from sagas.management.commands import saga
from sagas.operations.saga_actions import Operation, Preview
from staff.policy import NotPermitted
from staff.writes import Rejected

__all__ = ["Command"]


class Command(saga.Command):
    """The engine's command. A member of staff acts, and the policy and the log of staff hold."""

    needs_operator = True

    _operator: OperatorAtShell

    def check_right(self, operation: Operation) -> None:
        """Ask the policy of staff. A refusal is logged."""
        with _errors_in_words():
            self._operator = OperatorAtShell(operation)
            self._operator.check_permitted()

    def preview(self, operation: Operation) -> Preview:
        """Return the preview of the console."""
        return self._operator.preview()

    def apply(self, operation: Operation) -> ControlResult:
        """Make a run of the console, which is logged."""
        with _errors_in_words():
            return self._operator.apply()


@contextmanager
def _errors_in_words() -> Iterator[None]:
    try:
        yield
    except (NotPermitted, Rejected) as error:
        raise CommandError(str(error)) from error
