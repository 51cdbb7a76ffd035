"""Django's `loaddata`, with entries in the log of staff."""

from typing import Any, ClassVar

from django.core.management.commands import loaddata

from staff.commands import LoggedCommand

__all__ = ["Command"]


class Command(LoggedCommand, loaddata.Command):
    """Loads rows of any table from files, as Django's command does."""

    log_action: ClassVar = "loaddata"

    def subject(self, *args: Any, **options: Any) -> str:
        """Return the files and the database."""
        return f"{', '.join(map(str, args))} into {options['database']}"
