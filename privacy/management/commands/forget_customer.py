"""`manage.py forget_customer USERNAME`: exports and anonymises the data of a customer."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from privacy.customer import Customer, find_customer, load_customer, reasons_to_refuse
from privacy.export import write_export
from privacy.forgetting import OrderPlacedMeanwhile, forget
from staff.context import shell_actor
from staff.models import LogEntry
from staff.writes import SEVERAL, staff_write

__all__ = ["Command"]

NOT_REACHED = (
    "The command does not reach free texts, such as reasons of runs, nor logs, traces,"
    " backups, earlier exports, and the customer at the payment provider. Look at them yourself."
)


class Unfinished(Exception):
    """An error ended the run. The text goes to the log, so it has nothing of the error's text."""


class Command(BaseCommand):
    """Anonymise a customer everywhere, and keep the books whole. A dry run unless --apply."""

    help = (
        "Anonymise a customer in all databases, and export all data held. Dry run unless --apply."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments."""
        parser.add_argument("username", help="the customer's user name, or #ID for the user's id")
        parser.add_argument(
            "--export", type=Path, metavar="FILE", help="write all data held to a new JSON file"
        )
        parser.add_argument("--apply", action="store_true", help="anonymise; without it a dry run")
        parser.add_argument("--reason", default="", help="why; required with --apply, and logged")

    def handle(self, *, username: str, **options: Any) -> None:
        """Export, then forget if it is asked for and possible."""
        user = find_customer(username)
        if user is None:
            raise CommandError(f"There is no user {username}.")
        if options["apply"] and not options["reason"].strip():
            raise CommandError("--apply needs --reason, such as the number of the request.")

        customer = load_customer(user)
        if options["export"]:
            self._export(customer, options["export"])
        reasons = reasons_to_refuse(customer)
        if reasons and (options["apply"] or not options["export"]):
            raise CommandError(
                f"User #{user.pk} cannot be forgotten now:\n  " + "\n  ".join(reasons)
            )
        if options["apply"]:
            self._forget(customer, options["reason"])
        elif not reasons:
            self.stdout.write(
                f"Dry run: --apply anonymises user #{user.pk} with {len(customer.orders)} orders."
            )

    def _export(self, customer: Customer, path: Path) -> None:
        try:
            write_export(customer, path)
        except OSError as error:
            raise CommandError(f"Cannot write the export: {error}") from None
        self.stdout.write(f"All data held about user #{customer.user.pk} is in {path}.")

    def _forget(self, customer: Customer, reason: str) -> None:
        user = customer.user
        named = LogEntry.objects.filter(subject=user.get_username()).count()
        try:
            with staff_write(
                shell_actor(),
                "forget_customer",
                via="command",
                alias=SEVERAL,
                subject=f"user {user.pk}",
                why=reason,
            ) as write:
                changed = _forget(customer)
                write.outcome = f"{sum(changed.values())} rows anonymised"
        except OrderPlacedMeanwhile as error:
            raise CommandError(str(error)) from None
        except Unfinished as unfinished:
            raise CommandError(f"{unfinished} {unfinished.__cause__}") from unfinished

        for table, rows in changed.items():
            self.stdout.write(f"{rows:>8}  {table}")
        self.stdout.write(
            f"User #{user.pk} is forgotten. Note this id outside of the databases: after a restore"
            f" of an older backup, repeat `forget_customer #{user.pk} --apply`."
        )
        if named:
            self.stdout.write(
                f"{named} entries of the staff's log name the customer. The log cannot be changed;"
                " they are deleted after CONSOLE_LOG_DAYS."
            )
        self.stdout.write(NOT_REACHED)


def _forget(customer: Customer) -> dict[str, int]:
    """Anonymise a customer. A database error may quote the row, so its text is not for the log."""
    try:
        return forget(customer)
    except OrderPlacedMeanwhile:
        raise
    except Exception as error:
        name = type(error).__name__
        raise Unfinished(f"Not finished: {name}. Repeat the command.") from error
