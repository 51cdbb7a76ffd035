"""`manage.py verify_log`: find a changed, removed, moved or inserted entry of the log."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from staff.chain import Link, parse_link, verify

__all__ = ["Command"]

BROKEN = 1
UNAVAILABLE = 2


class Command(BaseCommand):
    """Check the chain of the log. Exit codes: 0 intact, 1 a fault, 2 the log cannot be read."""

    help = (
        "Checks the hash chain of the log of staff, and names each entry that was changed, removed,"
        " moved or inserted. Exit codes: 0 the log is intact, 1 it is not, 2 it cannot be read."
    )
    requires_system_checks = ()  # an error in the code must not keep an operator from the log

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--expect",
            action="append",
            default=[],
            type=_link,
            metavar="NUMBER:HASH",
            help="a head that was noted outside the database: the log must still have it; may be"
            " repeated",
        )

    def handle(self, *args: Any, expect: list[Link], **options: Any) -> None:
        """Check the log and print its head. Raises SystemExit with 1 for a fault."""
        try:
            result = verify(expect)
        except Error as error:
            raise CommandError(
                f"The log cannot be read, so it is not verified: {error}", returncode=UNAVAILABLE
            ) from error

        if result.faults:
            for fault in result.faults:
                self.stderr.write(fault)
            self.stderr.write("The log is not intact. See docs/runbook.md, “The log of staff”.")
            raise SystemExit(BROKEN)

        last = result.last
        span = f"entries {result.first} to {last.seq}" if last.seq >= result.first else "no entry"
        self.stdout.write(f"The log is intact: {span}. Keep its head outside the database:")
        self.stdout.write(str(last))


def _link(given: str) -> Link:
    try:
        return parse_link(given)
    except ValueError as error:
        raise ArgumentTypeError(
            f"{given!r} is no head. Give NUMBER:HASH, as this command prints it."
        ) from error
