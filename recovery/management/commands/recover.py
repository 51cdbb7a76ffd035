"""`manage.py recover`: rebuild a database that was lost or restored to an older point."""

import json
from argparse import ArgumentParser
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, SystemCheckError
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from audit.databases import DatabaseUnavailable
from audit.run import audit
from payments.gateways.base import StatementUnavailable
from recovery import broker, preconditions
from recovery.deliveries import republish_open
from recovery.printing import ShownWrites, as_json, print_report
from recovery.run import DATABASES, Options, Report, recover
from recovery.writes import Write
from sagas.execution.failures import StepFailed
from services import NAMES
from staff.commands import add_reason, logged_command

__all__ = ["Command"]

UNFINISHED = 1
REFUSED = 2


class Command(BaseCommand):
    """Plan or write the missing rows, then audit.

    Exit codes: 0 if the database is whole, 1 if writes or notes are left or the audit finds a
    violation, 2 if the command could not run.
    """

    help = (
        "Rebuilds the rows of a database that was lost or restored to an older point, from the "
        "other databases and the payment gateway. Without --apply it only shows the planned "
        "writes. Stop the API, the workers and beat before. See docs/recovery.md. Exit codes: 0 "
        "the database is whole, 1 something is left to do, 2 the command could not run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "database", choices=DATABASES, help="the service whose database was lost or restored"
        )
        add_reason(parser)
        parser.add_argument("--apply", action="store_true", help="write; without it, only show")
        parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
        parser.add_argument(
            "--log",
            type=Path,
            metavar="FILE",
            help="append each applied write to this file, one JSON object a line "
            "(recover-DATABASE.jsonl in the working directory)",
        )
        parser.add_argument(
            "--gateway",
            action="append",
            default=[],
            metavar="NAME",
            help="ask this gateway for the charges; may be repeated (PAYMENT_GATEWAY)",
        )
        parser.add_argument(
            "--stock-counted",
            action="store_true",
            help="do not put inventory.reserve on hold: the stock has been counted",
        )
        parser.add_argument(
            "--ignore-sessions",
            action="store_true",
            help="run although other sessions are connected, which do not write",
        )
        parser.add_argument(
            "--limit", type=int, default=20, metavar="N", help="show at most N rows of a kind (20)"
        )

    def check(self, *args: Any, **kwargs: Any) -> None:
        """Run the checks of a start: with the simulated gateway, the rows written would be wrong.

        Raises CommandError with the exit code 2.
        """
        try:
            super().check(*args, **kwargs)
        except SystemCheckError as error:
            raise CommandError(
                f"{error}\nCorrect the errors above. If one of them cannot matter to the recovery,"
                " add --skip-checks.",
                returncode=REFUSED,
            ) from error

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the recovery. Raises SystemExit with 1 if something is left to do."""
        chosen = Options(
            database=options["database"],
            apply=options["apply"],
            gateways=options["gateway"] or [settings.PAYMENT_GATEWAY],
            stock_counted=options["stock_counted"],
        )
        writes = ShownWrites(limit=None if options["json"] else options["limit"])
        try:
            self._check(chosen, ignore_sessions=options["ignore_sessions"])
            if chosen.apply:
                report, made_due = self._apply(chosen, options, writes)
            else:
                report, made_due = self._recover(chosen, None, writes), 0
            audited = audit() if chosen.apply and not report.left else None
        except (DatabaseUnavailable, StatementUnavailable) as error:
            raise CommandError(str(error), returncode=REFUSED) from error
        except StepFailed as error:
            text = f"{error} Correct the cause, then run the command again."
            raise CommandError(text, returncode=UNFINISHED) from error

        if options["json"]:
            self.stdout.write(as_json(chosen, writes, report, made_due, audited))
        else:
            print_report(self.stdout, chosen, writes, report, made_due, audited)
        if report.left or report.blocking or (audited and audited.violations):
            raise SystemExit(UNFINISHED)

    def _check(self, options: Options, *, ignore_sessions: bool) -> None:
        """Refuse to run without all tables, or beside other writers."""
        _refuse(
            preconditions.missing_migrations(),
            "Run `manage.py migrate_all` first, with the release that wrote the other databases",
        )
        if options.apply and not ignore_sessions:
            _refuse(
                preconditions.other_writers(),
                "Stop the API, the workers, beat and all shells first; or add --ignore-sessions if "
                "none of these sessions writes",
            )

    def _apply(
        self, chosen: Options, options: dict[str, Any], writes: ShownWrites
    ) -> tuple[Report, int]:
        """Write the missing rows, and log it. The log is in the orders database, which exists."""
        why = options["reason"]
        with logged_command("recover", subject=chosen.database, reason=why) as write:
            report = self._recover(chosen, options["log"], writes)
            made_due = republish_open(NAMES)
            kinds = ", ".join(f"{number} {kind}" for kind, number in report.kinds.items())
            write.outcome = f"Written: {kinds or 'nothing'}. Left: {report.left}."
        return report, made_due

    def _recover(self, options: Options, log: Path | None, writes: ShownWrites) -> Report:
        if not options.apply:
            return recover(options, writes.add)

        try:
            broker.empty_queues()
        except (OperationalError, RedisError) as error:
            text = f"The broker's queues could not be emptied: {error}. Start the broker first."
            raise CommandError(text, returncode=REFUSED) from error

        path = log or Path(f"recover-{options.database}.jsonl")
        with path.open("a", encoding="utf-8") as file:

            def note(write: Write) -> None:
                writes.add(write)
                file.write(_line(write) + "\n")

            return recover(options, note)


def _refuse(reasons: Iterable[str], advice: str) -> None:
    found = list(reasons)
    if found:
        raise CommandError(f"{'; '.join(found)}. {advice}.", returncode=REFUSED)


def _line(write: Write) -> str:
    return json.dumps(
        {
            "at": datetime.now(UTC).isoformat(),
            "kind": write.kind,
            "subject": write.subject,
            "detail": write.detail,
        }
    )
