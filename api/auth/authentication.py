"""Authenticates a request by its bearer token (RFC 6750)."""

from django.contrib.auth.models import AbstractBaseUser, User
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.auth import TokenAuthentication
from knox.crypto import hash_token
from knox.models import AuthToken
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated
from rest_framework.request import Request

from api.auth.throttling import count_stranger
from staff.roles import audits, remember_role

__all__ = [
    "BearerAuthentication",
    "authenticated_user",
    "is_token_valid",
]


class BearerAuthentication(TokenAuthentication):
    """Authenticates a token in one query, without writing. Deleting its row revokes a token."""

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, AuthToken] | None:
        """Return the user and the token, or None without a token.

        Raises AuthenticationFailed, or a `Problem` of status 429 after many invalid tokens.
        """
        try:
            found: tuple[AbstractBaseUser, AuthToken] | None = super().authenticate(request)
        except AuthenticationFailed:
            count_stranger(request)
            raise
        return found

    def authenticate_credentials(self, token: bytes) -> tuple[AbstractBaseUser, AuthToken]:
        """Return the user and the token. Raises AuthenticationFailed without a reason."""
        digest = hash_token(token.decode("latin-1"))
        alive = _valid_tokens().filter(digest=digest)
        found = alive.select_related("user").annotate(audits=audits("user")).first()
        if found is None:
            raise AuthenticationFailed("The token is invalid or has expired.")
        remember_role(found.user, audits=found.audits)
        return found.user, found


class BearerScheme(OpenApiAuthenticationExtension):
    """The description of bearer tokens in the OpenAPI schema."""

    target_class = BearerAuthentication
    name = "bearerToken"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        """Return the security scheme."""
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A token from `POST /api/v1/auth/token/` or `manage.py create_token`, "
            "valid for 30 days.",
        }


def authenticated_user(request: Request) -> User:
    """Return the user of a request. Raises NotAuthenticated for an anonymous request."""
    if not isinstance(request.user, User):
        raise NotAuthenticated
    return request.user


def is_token_valid(token: AuthToken) -> bool:
    """Tell whether a token of a request that goes on for long is still valid."""
    return bool(_valid_tokens().filter(pk=token.pk).exists())


def _valid_tokens() -> QuerySet[AuthToken]:
    not_expired = Q(expiry=None) | Q(expiry__gt=Now())
    valid: QuerySet[AuthToken] = AuthToken.objects.filter(not_expired, user__is_active=True)
    return valid
