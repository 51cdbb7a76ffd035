"""Bearer tokens (RFC 6750): 256 random bits, of which the database holds the digest only."""

from datetime import timedelta

from django.contrib.auth.models import AbstractBaseUser, User
from django.db.models import Q
from django.db.models.functions import Now
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.auth import TokenAuthentication
from knox.crypto import hash_token
from knox.models import AuthToken
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.request import Request

from api.auth.roles import audits, note_role
from api.auth.throttling import count_invalid_token

__all__ = [
    "LIFETIME",
    "MOST_TOKENS",
    "BearerAuthentication",
    "authenticated_user",
    "issue_token",
    "purge_expired_tokens",
    "revoke_tokens",
]

LIFETIME = timedelta(days=30)

# Tokens of one user that are valid at a time: one for every place they log in from, and no table
# full of them.
MOST_TOKENS = 100


class BearerAuthentication(TokenAuthentication):
    """Find the user of a token, in one query and without writing. Revoking a token is deleting
    its row.
    """

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, AuthToken] | None:
        """Return the user and the token, or None without one. Raises AuthenticationFailed, and
        soon a 429.
        """
        try:
            found: tuple[AbstractBaseUser, AuthToken] | None = super().authenticate(request)
        except AuthenticationFailed:
            count_invalid_token(request)
            raise
        return found

    def authenticate_credentials(self, token: bytes) -> tuple[AbstractBaseUser, AuthToken]:
        """Return the user and the token. Raises AuthenticationFailed, without a word as to why."""
        digest = hash_token(token.decode("latin-1"))
        alive = AuthToken.objects.filter(
            Q(expiry=None) | Q(expiry__gt=Now()), digest=digest, user__is_active=True
        )
        found = alive.select_related("user").annotate(audits=audits("user")).first()
        if found is None:
            raise AuthenticationFailed("The token is not valid, or not valid any more.")
        note_role(found.user, audits=found.audits)
        return found.user, found


class BearerScheme(OpenApiAuthenticationExtension):
    """How the schema describes it."""

    target_class = BearerAuthentication
    name = "bearerToken"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        """Return the security scheme."""
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A token from `POST /api/v1/auth/token/` or `manage.py create_token`, good for 30 days.",
        }


def issue_token(user: AbstractBaseUser, *, lifetime: timedelta = LIFETIME) -> str:
    """Give a user a new token, in place of the oldest where there are too many.

    It cannot be read again: only its digest is kept.
    """
    _, token = AuthToken.objects.create(user=user, expiry=lifetime)
    newest = AuthToken.objects.filter(user=user).order_by("-created")
    AuthToken.objects.filter(
        pk__in=list(newest.values_list("pk", flat=True)[MOST_TOKENS:])
    ).delete()
    return str(token)


def revoke_tokens(user: AbstractBaseUser) -> int:
    """Revoke all tokens of a user; return how many there were."""
    revoked, _ = AuthToken.objects.filter(user=user).delete()
    return int(revoked)


def purge_expired_tokens() -> int:
    """Forget the tokens that open nothing any more; return how many."""
    purged, _ = AuthToken.objects.filter(expiry__lte=Now()).delete()
    return int(purged)


def authenticated_user(request: Request) -> User:
    """Return who sent a request. Raises NotAuthenticated if nobody we know."""
    if not isinstance(request.user, User):
        raise NotAuthenticated
    return request.user
