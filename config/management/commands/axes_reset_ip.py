"""The command `axes_reset_ip` of django-axes, with entries in the log of staff."""

from typing import Any, ClassVar

from axes.management.commands import axes_reset_ip

from staff.commands import LoggedCommand

__all__ = ["Command"]


class Command(LoggedCommand, axes_reset_ip.Command):
    """Lets users at some addresses log in again before the end of their lockouts."""

    log_action: ClassVar = "reset_lockouts"

    def subject(self, *args: Any, **options: Any) -> str:
        """Return the number of addresses, which are personal data."""
        return f"{len(options['ip'])} addresses"
