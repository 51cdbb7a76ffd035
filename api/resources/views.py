"""The views of a saga's resource: list, read and cancel. A service derives each for its resource.

Views parse and answer; the functions of the engine and of the service commit.
"""

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django.contrib.auth.models import User
from django.db import router
from django.db.models import QuerySet
from django.utils.cache import patch_vary_headers
from rest_framework import generics
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from api.auth.authentication import authenticated_user
from api.problems.exceptions import FieldError, InvalidInput, Problem
from api.requests.reasons import reason_of
from api.resources.problem_types import NOT_CANCELLABLE
from api.resources.resource import SagaResource
from api.resources.waiting import applied, wait_as_preferred
from api.responses.etag import add_etag, compare_etag
from sagas import CancelResult, cancel
from sagas.models import TrackedSaga
from sagas.queries import is_undone
from staff.roles import is_auditor
from staff.writes import LOG_ALIAS, SEVERAL, check_permitted, staff_write

__all__ = ["SagaCancelView", "SagaListView", "SagaView"]

CANCEL = "cancel"  # the action of the policy


class _OfResource(generics.GenericAPIView[Any]):
    """The parts that all views of a resource share."""

    resource: ClassVar[SagaResource]

    def get_queryset(self) -> QuerySet[Any]:
        """Return the rows that the user may see."""
        return self.resource.rows_for(self.request.user)

    def get_serializer_class(self) -> type[BaseSerializer[Any]]:
        """Return the serializer of one row."""
        return self.resource.serializer


class SagaListView(_OfResource, generics.ListAPIView[Any]):
    """Lists the sagas that a user may see, the newest first.

    A service adds a method `post` that makes one, with `api.resources.creation.create_once`.
    """

    orderings: ClassVar = {"-created_at": ("-pk",), "created_at": ("pk",)}

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List a page of sagas."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        context = self.resource.context(request, page)
        shown = self.resource.serializer(page, many=True, context=dict(context))
        return self.get_paginated_response(shown.data)


class SagaView(_OfResource, generics.RetrieveAPIView[Any]):
    """Reads one saga."""

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Get one saga; with `Prefer: wait`, once it is decided.

        `If-None-Match` is compared after the wait.
        """
        row = self.get_object()
        seconds = wait_as_preferred(request, self.resource, row.pk)
        if seconds:
            row = self.get_object()
        context = self.resource.context(request, [row])
        shown = self.resource.serializer(row, context=dict(context))
        response = Response(shown.data, headers=applied(seconds))
        patch_vary_headers(response, ["Prefer"])
        return compare_etag(request, response)


class SagaCancelView(_OfResource):
    """Cancels a saga: one's own as a customer, or another's as a member of staff.

    A service may override the methods below `post`. `cancel_as_staff` calls `cancel_by_shop`.
    """

    permission_classes = (IsAuthenticated,)

    def post(self, request: Request, pk: UUID) -> Response:
        """Cancel a saga until the step that cannot be undone.

        202 means that its steps will be undone, or that the cancel was requested; 200 means that it
        was cancelled before. Staff cancel the saga of another user with a reason.
        """
        user = authenticated_user(request)
        row = generics.get_object_or_404(self.get_queryset(), pk=pk)
        headers = {"Content-Location": self.resource.path(row.pk)}
        if self.resource.is_owner(user, row) and not is_auditor(user):
            reason_of(request)
            self.cancel_own(row)
        else:
            headers |= self._cancel_as_staff(request, user, row)
        row.refresh_from_db()
        status = 200 if self.is_cancelled(row) else 202
        shown = self.resource.serializer(row, context={"reader": user.pk})
        return add_etag(Response(shown.data, status, headers=headers))

    def is_cancelled(self, row: Any) -> bool:
        """Tell whether a row shows that all is undone."""
        return is_undone(row)

    def cancel_own(self, row: Any) -> None:
        """Cancel a saga for its owner. Raises a `Problem` if it is too late."""
        self._cancel(row)

    def cancel_by_shop(self, row: Any) -> None:
        """Cancel a saga for the shop. Raises a `Problem` if it is too late."""
        self._cancel(row)

    def cancel_as_staff(self, user: User, row: Any, reason: str) -> Mapping[str, str]:
        """Cancel a saga for a member of staff, with an entry in the log; return further headers.

        Raises `NotPermitted`, or a `Problem` if it is too late.
        """
        alias = router.db_for_write(type(row))
        place = LOG_ALIAS if alias == LOG_ALIAS else SEVERAL
        with staff_write(
            user,
            CANCEL,
            via="api",
            alias=place,
            kinds=[self.resource.kind],
            order_id=row.pk,
            why=reason,
        ) as write:
            self.cancel_by_shop(row)
            write.outcome = "Cancelling: the steps that were done are being undone."
        return {}

    def _cancel_as_staff(self, request: Request, user: User, row: Any) -> Mapping[str, str]:
        """Raises `InvalidInput` without a reason, but to a person with the permission only."""
        reason = _reason_or_fault(request, self.resource.noun)
        if isinstance(reason, InvalidInput) or self.is_cancelled(row):
            kinds = [self.resource.kind]
            check_permitted(user, CANCEL, via="api", kinds=kinds, order_id=row.pk)
            if isinstance(reason, InvalidInput):
                raise reason
            return {}
        return self.cancel_as_staff(user, row, reason)

    def _cancel(self, row: TrackedSaga) -> None:
        if self.is_cancelled(row):
            return
        event = self.resource.kind.cancellation(row)
        if row.ended_at is not None or event is None or cancel(row, event) is CancelResult.DONE:
            raise Problem(NOT_CANCELLABLE)


def _reason_or_fault(request: Request, noun: str) -> str | InvalidInput:
    try:
        reason = reason_of(request)
    except InvalidInput as fault:
        return fault
    detail = f"Give the reason why the shop cancels this {noun}: it is kept in the log."
    return reason or InvalidInput(FieldError("reason", "required_of_staff", detail))
