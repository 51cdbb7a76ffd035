"""`manage.py revoke_tokens USERNAME`: revoke all tokens of a user."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from api.auth.tokens import revoke_tokens
from staff.commands import add_reason, logged_command

__all__ = ["Command"]


class Command(BaseCommand):
    """Revoke all tokens of a user."""

    help = "Revoke all API tokens of a user. To prevent new tokens, make the user inactive first."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the user's name."""
        parser.add_argument("username")
        add_reason(parser)

    def handle(self, *args: Any, username: str, reason: str, **options: Any) -> None:
        """Revoke the tokens, and print how many."""
        user = get_user_model().objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user {username!r}.")
        subject = f"user {user.pk}"
        with logged_command("revoke_tokens", subject=subject, reason=reason) as write:
            write.outcome = f"{revoke_tokens(user)} tokens revoked."
        self.stdout.write(write.outcome)
