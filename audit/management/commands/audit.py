"""`manage.py audit`: check the invariants across the services."""

from argparse import ArgumentParser
from typing import IO, Any, cast

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console

from audit.databases import DatabaseUnavailable
from audit.printing import as_json, print_report
from audit.report import Report
from audit.run import audit
from payments.gateways.base import StatementUnavailable

__all__ = ["Command"]

# Columns: wide enough for a row of the table where the output is not a terminal, as in a build log.
WIDTH = 140

WITHOUT_GATEWAY = "Run it with --no-gateway to check everything else."

VIOLATED = 1
UNAVAILABLE = 2


class Command(BaseCommand):
    """Check and print. Exit codes: 0 if every invariant holds, 1 if not, 2 if data is missing."""

    help = (
        "Checks the invariants across the databases of all services. It only reads, and may run "
        "while orders are being placed. Exit codes: 0 every invariant holds, 1 at least one does "
        "not, 2 a database or the gateway's statement could not be read."
    )
    requires_system_checks = ()  # an error in the code must not keep an operator from the data

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
        parser.add_argument(
            "--expect-ended",
            action="store_true",
            help="count an order that has not ended as a violation (I1, I13)",
        )
        parser.add_argument(
            "--no-gateway",
            action="store_true",
            help="do not ask the payment gateway for its statement; trust the payments table",
        )
        parser.add_argument(
            "--limit",
            type=int,
            default=20,
            metavar="N",
            help="print at most N violations of each invariant (20)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the audit. Raises SystemExit with 1 if an invariant does not hold."""
        try:
            report = audit(
                expect_ended=options["expect_ended"],
                limit=options["limit"],
                ask_gateway=not options["no_gateway"],
            )
        except DatabaseUnavailable as error:
            raise CommandError(str(error), returncode=UNAVAILABLE) from error
        except StatementUnavailable as error:
            text = (
                f"The audit cannot read the payment gateway's statement: {error} {WITHOUT_GATEWAY}"
            )
            raise CommandError(text, returncode=UNAVAILABLE) from error

        self._show(report, json=options["json"])
        if report.violations:
            raise SystemExit(VIOLATED)

    def _show(self, report: Report, *, json: bool) -> None:
        if json:
            self.stdout.write(as_json(report))
            return

        is_terminal = self.stdout.isatty()
        console = Console(
            file=cast("IO[str]", self.stdout),  # Django's wrapper has all methods that rich calls
            force_terminal=is_terminal,
            width=None if is_terminal else WIDTH,
            highlight=False,
        )
        print_report(report, console)
