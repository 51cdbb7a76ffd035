"""`manage.py revoke_tokens USERNAME`: revoke all tokens of a user."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from api.auth.tokens import revoke_tokens

__all__ = ["Command"]


class Command(BaseCommand):
    """Revoke all tokens of a user."""

    help = "Revoke all API tokens of a user. To prevent new tokens, make the user inactive first."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the user's name."""
        parser.add_argument("username")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        """Revoke the tokens, and print how many."""
        user = get_user_model().objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user {username!r}.")
        self.stdout.write(f"{revoke_tokens(user)} tokens revoked.")
