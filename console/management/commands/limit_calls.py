"""`manage.py limit_calls payments stripe --per-second 20`: limit the calls of all workers."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from console.limits import change_limit, current_limits
from sagas.definition.limits import Limit
from sagas.storage.call_limits import SetLimit
from staff.commands import add_reason
from staff.context import shell_actor
from staff.writes import Rejected

__all__ = ["Command"]

UNAVAILABLE = 2


class Command(BaseCommand):
    """Limit the calls to an outside system, or list the limits."""

    help = (
        "Limit the calls of a step or to an outside system, over all workers, while they run."
        " Without a key, list the limits; exit code 2 if some are unknown. Without a number, a key"
        " has no limit."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the service, the key and the limit."""
        parser.add_argument("service", nargs="?", help="the service of the step, such as payments")
        parser.add_argument("key", nargs="?", help="a step, or an outside system such as stripe")
        parser.add_argument("--per-second", type=int, help="the most calls that start in a second")
        parser.add_argument("--at-once", type=int, help="the most calls that run at a time")
        parser.add_argument(
            "--default", action="store_true", help="let the default of the key hold again"
        )
        add_reason(parser)

    def handle(
        self,
        *args: Any,
        service: str | None,
        key: str | None,
        per_second: int | None,
        at_once: int | None,
        default: bool,
        reason: str,
        **options: Any,
    ) -> None:
        """Change the limit and print the outcome, or print all limits."""
        if not (service and key):
            self._list()
            return
        limit = None if default else Limit(per_second=per_second, at_once=at_once)
        try:
            outcome = change_limit(shell_actor(), service, key, limit, reason=reason, via="command")
        except Rejected as error:
            raise CommandError(str(error)) from error
        self.stdout.write(outcome)

    def _list(self) -> None:
        current = current_limits()
        for service, limit in current.limits:
            reached = "reached" if limit.is_reached else ""
            self.stdout.write(f"{service} {limit.key}: {_words(limit)} {reached}".rstrip())
        if current.unreachable:
            raise CommandError(
                f"The database of {', '.join(current.unreachable)} does not answer, so its limits"
                " are unknown.",
                returncode=UNAVAILABLE,
            )
        if not current.limits:
            self.stdout.write("No limit is set or reached. The defaults of the steps hold.")


def _words(limit: SetLimit) -> str:
    if not limit.by:
        return "default"
    per_second = limit.per_second if limit.per_second is not None else "-"
    at_once = limit.at_once if limit.at_once is not None else "-"
    return f"{per_second} per second, {at_once} at once, by {limit.by}"
