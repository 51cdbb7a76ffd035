"""`manage.py migrate_all`: migrate the database of every service."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connections

from sagas.conf import settings
from sagas.storage.session_settings import store_for_role

__all__ = ["Command"]


class Command(BaseCommand):
    """Run `migrate` on each configured database, and store the time limits in its role."""

    requires_system_checks = ()  # a wrong setting must not keep an operator from a repair

    help = (
        "Migrates the database of every service, and stops at the first that fails. Stores the "
        "time limits of sessions in the role of each database, where a pooler cannot drop them."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate each database; stop at the first that fails."""
        for alias in connections:
            self.stdout.write(self.style.MIGRATE_HEADING(f"Migrating the database {alias!r}"))
            call_command(
                "migrate", database=alias, interactive=False, verbosity=options["verbosity"]
            )
            if changed := store_for_role(alias, dict(settings.SESSION_SETTINGS)):
                self.stdout.write(f"Stored in the role, for new sessions: {', '.join(changed)}")
