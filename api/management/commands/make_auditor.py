"""`manage.py make_auditor USERNAME`: allow a user to read everything and change nothing."""

from typing import Any

from django.contrib.auth.models import Group, User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from staff.commands import add_reason, logged_command
from staff.roles import AUDITORS

__all__ = ["Command"]


class Command(BaseCommand):
    """Add a user to the group of auditors."""

    help = (
        "Make a user an auditor, who reads everything in the API and the admin, and writes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the user's name."""
        parser.add_argument("username")
        add_reason(parser)

    def handle(self, *args: Any, username: str, reason: str, **options: Any) -> None:
        """Add the user to the group, with Django's staff status, which the admin requires."""
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(
                f"There is no user {username!r}. Create the user in the admin first."
            )
        if user.is_superuser:
            raise CommandError(
                f"{username!r} is a superuser, who may change everything. Use another user."
            )
        subject = f"user {user.pk}"
        with logged_command("make_auditor", subject=subject, reason=reason) as write:
            user.is_staff = True
            user.save(update_fields=["is_staff"])
            user.groups.add(Group.objects.get(name=AUDITORS))
            write.outcome = f"{username} is an auditor."
        self.stdout.write(f"{username} is an auditor.")
