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

# Wide enough for a whole row where the output is no terminal, as in the log of a build.
WIDTH = 140

VIOLATED = 1
UNAVAILABLE = 2


class Command(BaseCommand):
    """Check, print, and exit 0 where every invariant holds, 1 where one does not, 2 where not
    all can be read.
    """

    help = "Checks the invariants across the three databases. Reads only, and may run while orders are being placed."
    requires_system_checks = ()  # what is wrong with the code is no reason not to look at the data

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--json", action="store_true", help="print JSON rather than a table")
        parser.add_argument(
            "--expect-ended",
            action="store_true",
            help="count an order that has not ended as a violation (I1, I13)",
        )
        parser.add_argument(
            "--no-gateway",
            action="store_true",
            help="go by what payments knows, where the gateway is not simulated",
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
        except (DatabaseUnavailable, StatementUnavailable) as error:
            raise CommandError(str(error), returncode=UNAVAILABLE) from error
        self._show(report, json=options["json"])
        if report.violations:
            raise SystemExit(VIOLATED)

    def _show(self, report: Report, *, json: bool) -> None:
        if json:
            self.stdout.write(as_json(report))
            return
        terminal = self.stdout.isatty()
        width = None if terminal else WIDTH
        output = cast("IO[str]", self.stdout)  # Django's wrapper can do all that rich asks of it
        print_report(
            report, Console(file=output, force_terminal=terminal, width=width, highlight=False)
        )
