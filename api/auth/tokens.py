"""Bearer tokens: issue, revoke and purge them.

A token is 256 random bits. The database stores only its digest.
"""

from datetime import timedelta

from django.contrib.auth.models import AbstractBaseUser
from knox.models import AuthToken

from sagas import sql

__all__ = [
    "MAX_TOKENS_PER_USER",
    "TOKEN_LIFETIME",
    "end_tokens",
    "issue_token",
    "purge_expired_tokens",
    "revoke_tokens",
]

TOKEN_LIFETIME = timedelta(days=30)

# A user needs one token per device. The limit bounds the table.
MAX_TOKENS_PER_USER = 100


def issue_token(user: AbstractBaseUser, *, lifetime: timedelta = TOKEN_LIFETIME) -> str:
    """Create a token for a user; delete the oldest ones above `MAX_TOKENS_PER_USER`.

    The token cannot be read again, because only its digest is stored.
    """
    _, token = AuthToken.objects.create(user=user, expiry=lifetime)
    newest = AuthToken.objects.filter(user=user).order_by("-created")
    AuthToken.objects.filter(
        pk__in=list(newest.values_list("pk", flat=True)[MAX_TOKENS_PER_USER:])
    ).delete()
    return str(token)


def revoke_tokens(user: AbstractBaseUser) -> int:
    """Revoke all tokens of a user; return how many."""
    revoked, _ = AuthToken.objects.filter(user=user).delete()
    return int(revoked)


def end_tokens(user_id: int) -> str:
    """Revoke all tokens of a user who loses access; return how many, in words."""
    revoked, _ = AuthToken.objects.filter(user_id=user_id).delete()
    return f"{revoked} tokens"


def purge_expired_tokens() -> int:
    """Delete the expired tokens; return how many."""
    return sql.delete_in_batches(
        "default",
        "knox_authtoken",
        "old.expiry <= statement_timestamp()",
        {},
        order="expiry",
        key="digest",
    )
