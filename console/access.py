"""Permission checks of the console's views, by the policy of staff. A refused attempt is logged."""

from typing import Unpack

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from staff.log import About
from staff.policy import NotPermitted
from staff.writes import check_permitted

__all__ = ["current_user", "require_permission"]


def require_permission(request: HttpRequest, action: str, **about: Unpack[About]) -> User:
    """Return the request's user if the policy permits an action.

    Raises PermissionDenied, which Django answers with 403, after logging the refusal.
    """
    user = current_user(request)
    try:
        check_permitted(user, action, via="console", **about)
    except NotPermitted as refused:
        raise PermissionDenied(str(refused)) from refused
    return user


def current_user(request: HttpRequest) -> User:
    """Return the request's user as a model instance (`request.user` is lazy)."""
    return User.objects.get(username=request.user.get_username())
