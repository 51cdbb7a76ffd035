"""The command `axes_reset_failure_logs` of django-axes, with entries in the log of staff."""

from typing import Any, ClassVar

from axes.management.commands import axes_reset_failure_logs

from staff.commands import LoggedCommand

__all__ = ["Command"]


class Command(LoggedCommand, axes_reset_failure_logs.Command):
    """Deletes old failed logins."""

    log_action: ClassVar = "reset_lockouts"

    def subject(self, *args: Any, **options: Any) -> str:
        """Return the age in days."""
        return f"failed logins older than {options['age']} days"
