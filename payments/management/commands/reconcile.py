"""`manage.py reconcile`: compare the gateway's statement with our payments."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError

from payments.gateways.base import StatementUnavailable
from payments.reconciliation import Result, next_window, reconcile

__all__ = ["Command"]

DIFFERENT = 1
UNAVAILABLE = 2


class Command(BaseCommand):
    """Compare, print, and exit 0 where nothing is open, 1 where something is, 2 where there is
    no statement.
    """

    help = "Compares the payment gateway's statement with our payments, in both directions, and keeps what differs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--since", type=_moment, help="ISO 8601, UTC if it says nothing; from the last time on"
        )
        parser.add_argument("--until", type=_moment, help="the same; ten minutes ago")
        parser.add_argument("--json", action="store_true", help="print JSON rather than lines")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the comparison. Raises SystemExit with 1 if something differs that nobody has
        closed.
        """
        since, until = next_window()
        since, until = options["since"] or since, options["until"] or until
        if since >= until:
            raise CommandError("--since must lie before --until.", returncode=UNAVAILABLE)
        try:
            result = reconcile(since, until)
        except StatementUnavailable as error:
            raise CommandError(
                f"The gateway gave no statement: {error}", returncode=UNAVAILABLE
            ) from error
        self.stdout.write(
            msgspec.json.encode(result).decode() if options["json"] else _in_words(result)
        )
        if result.open:
            raise SystemExit(DIFFERENT)


def _in_words(result: Result) -> str:
    lines = [
        f"{one.kind.label}: {one.reference}, order {one.order_id or 'unknown'}: ours {one.ours}, theirs {one.theirs}"
        f" {one.currency}"
        for one in result.open
    ]
    window = f"{result.since:%Y-%m-%d %H:%M} to {result.until:%Y-%m-%d %H:%M} UTC"
    return "\n".join(
        [
            *lines,
            f"{result.movements} captures and refunds, {window}: {len(lines)} differences are open.",
        ]
    )


def _moment(given: str) -> datetime:
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        raise ArgumentTypeError(f"{given!r} is no moment: write it as 2026-01-31T12:00.") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
