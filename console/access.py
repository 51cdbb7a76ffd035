"""Permission checks of the console's views, by the policy of staff. A refused attempt is logged."""

from collections.abc import Iterable
from typing import Unpack
from uuid import UUID

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from sagas.kinds import SagaKind, find_saga, kind_of
from sagas.models import TrackedSaga
from staff.log import About
from staff.policy import NotPermitted, may_view
from staff.writes import check_permitted

__all__ = ["current_user", "existing_saga", "require_permission", "require_view"]


def require_permission(
    request: HttpRequest,
    action: str,
    *,
    kinds: Iterable[SagaKind] = (),
    **about: Unpack[About],
) -> User:
    """Return the request's user if the policy permits an action on sagas of these kinds.

    Raises PermissionDenied, which Django answers with 403, after logging the refusal.
    """
    user = current_user(request)
    try:
        check_permitted(user, action, via="console", kinds=kinds, **about)
    except NotPermitted as refused:
        raise PermissionDenied(str(refused)) from refused
    return user


def existing_saga(saga: UUID) -> TrackedSaga:
    """Return the tracked row of a saga of any kind. Raises Http404 if there is none."""
    row = find_saga(saga)
    if row is None:
        raise Http404(f"There is no saga {saga}.")
    return row


def require_view(request: HttpRequest, row: TrackedSaga) -> SagaKind:
    """Return the kind of a saga. Raises PermissionDenied if the user may not view it."""
    kind = kind_of(type(row))
    if not may_view(request.user, kind):
        raise PermissionDenied
    return kind


def current_user(request: HttpRequest) -> User:
    """Return the request's user as a model instance (`request.user` is lazy)."""
    return User.objects.get(username=request.user.get_username())
