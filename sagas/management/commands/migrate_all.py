"""`manage.py migrate_all`: migrate the database of every service."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connections

__all__ = ["Command"]


class Command(BaseCommand):
    """Run `migrate` on each configured database, one after the other."""

    help = "Migrates the database of every service, and stops at the first that fails."

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate each database; stop at the first that fails."""
        for alias in connections:
            self.stdout.write(self.style.MIGRATE_HEADING(f"Migrating the database {alias!r}"))
            call_command(
                "migrate", database=alias, interactive=False, verbosity=options["verbosity"]
            )
