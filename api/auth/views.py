"""Views that issue and revoke tokens."""

from typing import Annotated, ClassVar

from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in
from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from msgspec import Meta, Struct
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.auth.authentication import authenticated_user
from api.auth.throttling import count_login
from api.auth.tokens import TOKEN_LIFETIME, issue_token, revoke_tokens
from api.openapi import answer_header, problems
from api.problems.exceptions import Problem
from api.problems.problem_types import TOO_MANY_FAILED_LOGINS, WRONG_CREDENTIALS
from api.requests.parsing import parse
from staff.logins import log_revocation

__all__ = ["TokenView", "TokensView"]


class Credentials(Struct, frozen=True, forbid_unknown_fields=True):
    """The name and the password of a user."""

    username: Annotated[str, Meta(min_length=1, max_length=150)]
    password: Annotated[str, Meta(min_length=1, max_length=1024)]


class TokenSerializer(serializers.Serializer[dict[str, object]]):
    """A new token. It cannot be read again."""

    token = serializers.CharField(read_only=True)
    expires_at = serializers.DateTimeField(read_only=True)


class TokenView(APIView):
    """Issues and revokes one token."""

    rate_limits: ClassVar = {"POST": None}  # `post` counts it, with the user name

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Skip authentication for a login."""
        return [] if self._is_login() else super().get_authenticators()

    def get_permissions(self) -> list[BasePermission]:
        """Allow every client to log in, and every user with a token to revoke it."""
        return [] if self._is_login() else [IsAuthenticated()]

    def _is_login(self) -> bool:
        return getattr(self.request, "method", "") == "POST"  # the schema is made without a request

    @extend_schema(
        operation_id="create_token",
        summary="Get a token",
        tags=["auth"],
        parameters=[
            answer_header(
                "Cache-Control", 200, description="`no-store`: the response contains the token."
            )
        ],
        request=Credentials,
        responses=TokenSerializer,
        examples=[
            OpenApiExample(
                "Ada",
                {"username": "ada", "password": "correct horse"},  # nosec B105  (an example)
                request_only=True,
            ),
            OpenApiExample(
                "A token",
                {"token": "5a1c0e…", "expires_at": "2026-03-31T09:00:00.123456Z"},  # nosec B105
                response_only=True,
                status_codes=["200"],
            ),
        ],
        extensions=problems(WRONG_CREDENTIALS, TOO_MANY_FAILED_LOGINS),
    )
    def post(self, request: Request) -> Response:
        """Get a token for a user name and a password. Send it as `Authorization: Bearer …`."""
        given = parse(request, Credentials)
        http = request._request  # axes sets an attribute for its middleware
        count_login(http, given.username)
        user = authenticate(http, username=given.username, password=given.password)
        if user is None:
            raise Problem(WRONG_CREDENTIALS, headers={"WWW-Authenticate": "Bearer"})
        user_logged_in.send(type(user), request=http, user=user)
        token = {"token": issue_token(user), "expires_at": timezone.now() + TOKEN_LIFETIME}
        return Response(TokenSerializer(token).data, headers={"Cache-Control": "no-store"})

    @extend_schema(
        operation_id="revoke_token",
        summary="Revoke the token",
        request=None,
        responses={204: None},
        tags=["auth"],
    )
    def delete(self, request: Request) -> Response:
        """Revoke the token of this request."""
        with transaction.atomic():
            request.auth.delete()
            log_revocation(authenticated_user(request), "Revoked the token in use.")
        return Response(status=204)


class TokensView(APIView):
    """Revokes all tokens of a user."""

    permission_classes = (IsAuthenticated,)

    @extend_schema(
        operation_id="revoke_all_tokens",
        summary="Revoke all tokens",
        request=None,
        responses={204: None},
        tags=["auth"],
    )
    def delete(self, request: Request) -> Response:
        """Revoke every token of the user, including the token of this request."""
        user = authenticated_user(request)
        with transaction.atomic():
            number = revoke_tokens(user)
            log_revocation(user, f"Revoked all own tokens: {number}.")
        return Response(status=204)
