"""The description of a saga as a resource: its rows, its readers, its JSON, and its decision."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Q, QuerySet
from django.urls import reverse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.serializers import BaseSerializer

from sagas.kinds import SagaKind, kind_of
from sagas.models import TrackedSaga
from sagas.queries import HAS_ENDED
from staff.policy import may_read

__all__ = ["SagaResource", "reader_of"]

Visible = Callable[[User | AnonymousUser], QuerySet[Any]]
ContextOf = Callable[[Request, Sequence[Any]], Mapping[str, Any]]


def reader_of(request: Request, rows: Sequence[Any]) -> Mapping[str, Any]:
    """Return the context of a serializer that needs only `reader`: the id of the user who reads."""
    return {"reader": request.user.pk}


@dataclass(frozen=True, eq=False, kw_only=True)
class SagaResource:
    """A kind of saga in the API.

    - `model` has the tracked rows, and `serializer` shows one of them.
    - `detail` is the name of the URL of one row, with its id as the only argument.
    - `owner` is the column with the id of the user whose saga it is.
    - `visible` returns the rows that a user may see. By default these are the user's own rows, and
      all rows for staff with the view permission of the kind.
    - `decided` is the condition under which `Prefer: wait` is over: by default the saga's end.
    - `context` returns the context of the serializer for some rows of one answer.
    """

    model: type[TrackedSaga]
    serializer: type[BaseSerializer[Any]]
    detail: str
    owner: str = "user_id"
    visible: Visible | None = None
    decided: Q = HAS_ENDED
    context: ContextOf = reader_of

    @property
    def kind(self) -> SagaKind:
        """The kind of its sagas."""
        return kind_of(self.model)

    @property
    def noun(self) -> str:
        """The name of one in a sentence, such as `order`."""
        return self.kind.singular

    def rows_for(self, user: User | AnonymousUser) -> QuerySet[Any]:
        """Return the rows that a user may see."""
        if self.visible is not None:
            return self.visible(user)
        rows = self.kind.rows()
        if isinstance(user, AnonymousUser):
            return rows.none()
        if may_read(user, self.kind.view_permission):
            return rows
        return rows.filter(**{self.owner: user.pk})

    def is_owner(self, user: User | AnonymousUser, row: TrackedSaga) -> bool:
        """Tell whether the saga is the user's own."""
        return user.pk is not None and getattr(row, self.owner) == user.pk

    def path(self, saga: UUID | str) -> str:
        """Return the path of one."""
        return reverse(self.detail, args=[saga])

    def render(self, row: TrackedSaga, *, reader: int | None) -> str:
        """Return the JSON of a row for a user, by the user's id."""
        shown = self.serializer(row, context={"reader": reader})
        return JSONRenderer().render(shown.data).decode()
