"""Commands that write are in the log, with the person at the shell and the reason."""

from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandParser

from staff import log
from staff.context import shell_actor
from staff.models import LogEntry
from staff.writes import Write

__all__ = ["LoggedCommand", "add_reason", "logged_command"]


def add_reason(parser: ArgumentParser) -> None:
    """Declare the option `--reason`."""
    parser.add_argument("--reason", default="", help="the reason, which the log of staff keeps")


@contextmanager
def logged_command(action: str, *, subject: str, reason: str) -> Iterator[Write]:
    """Log a command's intention before the block, and its outcome or its error after it.

    A command that cannot be logged does not write.
    """
    actor, write = shell_actor(), Write()

    def add_entry(what: LogEntry.Kind, outcome: str = "") -> None:
        about: log.About = {"subject": subject[:200], "why": reason, "outcome": outcome}
        log.record(actor, what, action, about, via="command")

    add_entry(LogEntry.Kind.INTENDED)
    try:
        yield write
    except BaseException as error:
        add_entry(LogEntry.Kind.FAILED, f"{type(error).__name__}: {error}"[:2_000])
        raise
    add_entry(LogEntry.Kind.DONE, write.outcome)


class LoggedCommand(BaseCommand):
    """A command of another package that writes, with entries in the log.

    A subclass of both has the command's name, and its app stands earlier in INSTALLED_APPS.
    """

    log_action: ClassVar[str]

    def subject(self, *args: Any, **options: Any) -> str:
        """Return the subject of the entries, without personal data."""
        return ""

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options of the command, and `--reason`."""
        super().add_arguments(parser)
        add_reason(parser)

    def handle(self, *args: Any, reason: str = "", **options: Any) -> Any:
        """Run the command, and log it."""
        subject = self.subject(*args, **options)
        with logged_command(self.log_action, subject=subject, reason=reason):
            return super().handle(*args, **options)
