"""Tokens for a name and a password, and the answer to paths that lead nowhere."""

from typing import Annotated

from django.contrib.auth import authenticate
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.utils import extend_schema
from msgspec import Meta, Struct
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from api.authentication import LIFETIME, issue_token
from api.openapi import body_of
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

    @extend_schema(operation_id="create_token", request=body_of(Credentials), responses=TokenSerializer, tags=["auth"])
    def post(self, request: Request) -> Response:
        """Get a token for a user name and a password. Send it as `Authorization: Bearer …`."""
        given = parse(request, Credentials)
        user = authenticate(request, username=given.username, password=given.password)
        if user is None:
            detail = "No active user has this name and password."
            raise Problem(status=401, detail=detail, headers={"WWW-Authenticate": "Bearer"})
        token = {"token": issue_token(user), "expires_at": timezone.now() + LIFETIME}
        return Response(TokenSerializer(token).data, headers={"Cache-Control": "no-store"})


@csrf_exempt
def unknown_path(request: HttpRequest, **_: str) -> HttpResponse:
    """Answer a path that leads nowhere with a problem, also where Django would show its debug page."""
    return not_found(request)
