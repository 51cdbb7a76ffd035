"""Bearer tokens: issue, revoke and purge them.

A token is 256 random bits. The database stores only its digest.
"""

from datetime import timedelta

from django.contrib.auth.models import AbstractBaseUser
from django.db.models.functions import Now
from knox.models import AuthToken

__all__ = [
    "MAX_TOKENS_PER_USER",
    "TOKEN_LIFETIME",
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


def purge_expired_tokens() -> int:
    """Delete the expired tokens; return how many."""
    purged, _ = AuthToken.objects.filter(expiry__lte=Now()).delete()
    return int(purged)
