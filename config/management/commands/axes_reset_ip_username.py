"""The command `axes_reset_ip_username` of django-axes, with entries in the log of staff."""

from typing import Any, ClassVar

from axes.management.commands import axes_reset_ip_username

from staff.commands import LoggedCommand
from staff.people import users_in_words

__all__ = ["Command"]


class Command(LoggedCommand, axes_reset_ip_username.Command):
    """Lets a user at one address log in again before the end of the lockout."""

    log_action: ClassVar = "reset_lockouts"

    def subject(self, *args: Any, **options: Any) -> str:
        """Return the user by number."""
        return f"{users_in_words(options['username'])} at one address"
