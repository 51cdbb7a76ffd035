"""Tokens for a name and a password, and the answer to paths that lead nowhere."""

from typing import Annotated

from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import OpenApiExample, extend_schema
from msgspec import Meta, Struct
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.authentication import LIFETIME, issue_token
from api.kinds import WRONG_CREDENTIALS
from api.openapi import answer_header, body_of, problems
from api.parsing import parse
from api.problems import Problem, not_found

__all__ = ["TokenView", "unknown_path"]


class Credentials(Struct, frozen=True, forbid_unknown_fields=True):
    """A user's name and password."""

    username: Annotated[str, Meta(min_length=1, max_length=150)]
    password: Annotated[str, Meta(min_length=1, max_length=1024)]


class TokenSerializer(serializers.Serializer[dict[str, object]]):
    """A token, shown this once."""

    token = serializers.CharField(read_only=True)
    expires_at = serializers.DateTimeField(read_only=True)


class TokenView(APIView):
    """Tokens."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(
        operation_id="create_token",
        summary="Get a token",
        tags=["auth"],
        parameters=[answer_header("Cache-Control", 200, description="`no-store`: the token is shown this once.")],
        request=body_of(Credentials),
        responses=TokenSerializer,
        examples=[
            OpenApiExample("Ada", {"username": "ada", "password": "correct horse"}, request_only=True),  # nosec B105
            OpenApiExample(
                "A token",
                {"token": "5a1c0e…", "expires_at": "2026-03-31T09:00:00.123456Z"},  # nosec B105  (an example)
                response_only=True,
                status_codes=["200"],
            ),
        ],
        extensions=problems(WRONG_CREDENTIALS),
    )
    def post(self, request: Request) -> Response:
        """Get a token for a user name and a password. Send it as `Authorization: Bearer …`."""
        given = parse(request, Credentials)
        user = authenticate(request, username=given.username, password=given.password)
        if user is None:
            raise Problem(WRONG_CREDENTIALS, headers={"WWW-Authenticate": "Bearer"})
        token = {"token": issue_token(user), "expires_at": timezone.now() + LIFETIME}
        return Response(TokenSerializer(token).data, headers={"Cache-Control": "no-store"})


@csrf_exempt
def unknown_path(request: HttpRequest, **_: str) -> HttpResponse:
    """Answer a path that leads nowhere with a problem, also where Django would show its debug page."""
    return not_found(request)
