"""`manage.py create_token USERNAME`: print a token for the API."""

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from api.auth.tokens import TOKEN_LIFETIME, issue_token
from staff.commands import add_reason, logged_command

__all__ = ["Command"]


class Command(BaseCommand):
    """Create a token for a user, and print it."""

    help = "Print a new API token for a user. Send it as `Authorization: Bearer TOKEN`."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the user's name and the token's lifetime."""
        parser.add_argument("username")
        parser.add_argument(
            "--days",
            type=int,
            default=TOKEN_LIFETIME.days,
            help="days until the token expires (default: %(default)s)",
        )
        add_reason(parser)

    def handle(self, *args: Any, username: str, days: int, reason: str, **options: Any) -> None:
        """Print only the token."""
        user = get_user_model().objects.filter(username=username, is_active=True).first()
        if user is None:
            raise CommandError(
                f"No active user {username!r}. Create one with `manage.py createsuperuser`."
            )
        if days < 1:
            raise CommandError("--days must be 1 or more.")
        subject = f"user {user.pk}"
        with logged_command("create_token", subject=subject, reason=reason) as write:
            token = issue_token(user, lifetime=timedelta(days=days))
            write.outcome = f"Created for {days} days."
        self.stdout.write(token)
