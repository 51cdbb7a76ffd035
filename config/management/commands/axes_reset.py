"""The command `axes_reset` of django-axes, with entries in the log of staff."""

from typing import Any, ClassVar

from axes.management.commands import axes_reset

from staff.commands import LoggedCommand

__all__ = ["Command"]


class Command(LoggedCommand, axes_reset.Command):
    """Lets all users log in again before the end of their lockouts."""

    log_action: ClassVar = "reset_lockouts"

    def subject(self, *args: Any, **options: Any) -> str:
        """Return the extent of the reset."""
        return "all users"
