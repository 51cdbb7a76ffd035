"""`manage.py reconcile`: compare the gateways' statements with our payments."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from payments.gateways.base import StatementUnavailable
from payments.reconciliation import Discrepancy, Result, Window, next_window, reconcile
from sagas.currencies import with_currency
from staff.commands import add_reason, logged_command

__all__ = ["Command"]

DIFFERENT = 1
UNAVAILABLE = 2


class Command(BaseCommand):
    """Exit 0 if no discrepancy is open, 1 if one is, and 2 if there is no statement."""

    help = (
        "Compares the statements of the payment gateways with our payments, in both directions, "
        "and stores the discrepancies, part by part. The windows that beat compares stay as they "
        "are."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--since",
            type=_time,
            help="ISO 8601, UTC unless it names an offset; default: an hour before the end of the "
            "last window that beat compared",
        )
        parser.add_argument(
            "--until", type=_time, help="ISO 8601, as --since; default: ten minutes ago"
        )
        add_reason(parser)
        parser.add_argument("--json", action="store_true", help="print JSON instead of lines")

    def handle(self, *args: Any, **options: Any) -> None:
        """Compare and print. Raise SystemExit with 1 if a discrepancy is open."""
        since, until = next_window()
        since, until = options["since"] or since, options["until"] or until
        if since >= until:
            raise CommandError(
                f"--since ({since:%Y-%m-%dT%H:%M}) must lie before "
                f"--until ({until:%Y-%m-%dT%H:%M}).",
                returncode=UNAVAILABLE,
            )

        try:
            span = f"{since:%Y-%m-%dT%H:%M} to {until:%Y-%m-%dT%H:%M}"
            with logged_command("reconcile", subject=span, reason=options["reason"]) as write:
                result = reconcile(since, until, progress=self._show_progress)
                write.outcome = f"{result.movements} movements; {len(result.open)} open."
        except (StatementUnavailable, ImproperlyConfigured) as error:
            raise CommandError(
                "A gateway gave no statement, so the window is not compared to its end. "
                f"Run the command again later. {error}",
                returncode=UNAVAILABLE,
            ) from error

        text = msgspec.json.encode(result).decode() if options["json"] else _in_words(result)
        self.stdout.write(text)
        if result.open:
            raise SystemExit(DIFFERENT)

    def _show_progress(self, window: Window) -> None:
        self.stderr.write(
            f"{window.gateway}: compared up to {window.compared_until:%Y-%m-%d %H:%M:%S} UTC"
        )


def _in_words(result: Result) -> str:
    window = f"{result.since:%Y-%m-%d %H:%M} to {result.until:%Y-%m-%d %H:%M} UTC"
    lines = [_line(each) for each in result.open]
    lines.append(
        f"{', '.join(result.gateways)}, {window}: compared {result.movements} movements of money; "
        f"open discrepancies: {len(result.open)}."
    )
    if result.open:
        lines.append(
            "Investigate each. An approver then closes it with a reason, in the console under "
            "Differences."
        )
    return "\n".join(lines)


def _line(each: Discrepancy) -> str:
    ours, theirs = (with_currency(amount, each.currency) for amount in (each.ours, each.theirs))
    return (
        f"Order {each.order_id or 'unknown'}: {each.kind.label}: {each.reference}; "
        f"payments has {ours}, the gateway has {theirs}"
    )


def _time(given: str) -> datetime:
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        raise ArgumentTypeError(
            f"{given!r} is not a time in ISO 8601. Write it as 2026-01-31T12:00."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
