"""The kinds of sagas that a user may view, and the steps and sagas that the pages then show.

The policy of staff decides (`staff.policy.may_view`).
"""

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

from console.dashboard.parts import covered
from console.holds import declared_steps, homes_of
from console.saga_pages import find_kinds
from sagas.kinds import SagaKind, all_kinds
from staff.policy import may_view

__all__ = [
    "VisibleKinds",
    "hidden_among",
    "kinds_of_step",
    "kinds_to_view",
    "needs_any_kind",
    "visible_kinds",
]

View = Callable[..., HttpResponse]


class VisibleKinds:
    """Some kinds of sagas, and the `hidden` others.

    A step is of the homes of the declared sagas that have it.
    """

    def __init__(self, kinds: Collection[SagaKind]) -> None:
        self.kinds = list(kinds)
        self.homes = {kind.home for kind in kinds}
        self.hidden = [kind for kind in all_kinds() if kind not in self.kinds]
        self.whole_homes = self.homes - {kind.home for kind in self.hidden}

    @property
    def hidden_in_words(self) -> str:
        """Return which kinds are hidden and which permissions they need; empty if none are."""
        named = ", ".join(f"{kind.plural} ({kind.view_permission})" for kind in self.hidden)
        return named and f"You may not view {named}, so they are missing here."

    @property
    def hidden_steps(self) -> list[str]:
        """Return the declared steps that a saga of a hidden kind may have."""
        return [step for step in declared_steps() if not self.shows(None, step)]

    @property
    def covered(self) -> list[SagaKind]:
        """Return the kinds that a part of the project shows on the start page."""
        return [kind for kind in covered() if kind in self.kinds]

    @property
    def others(self) -> list[SagaKind]:
        """Return the other kinds."""
        return [kind for kind in self.kinds if kind not in self.covered]

    @property
    def other_homes(self) -> list[str]:
        """Return the homes of these kinds."""
        return sorted({kind.home for kind in self.others})

    def shows_step(self, step: str) -> bool:
        """Tell whether a saga of these kinds may have a step. A step of no plan is shown."""
        homes = homes_of(step)
        return not homes or bool(homes & self.homes)

    def shows(self, kind: SagaKind | None, step: str = "") -> bool:
        """Tell whether a saga at a step is shown.

        A saga that no home has, or whose home does not answer, has no known kind. It is shown if
        all kinds that it may be of are visible.
        """
        if kind is not None:
            return kind in self.kinds
        homes = homes_of(step) if step else {each.home for each in all_kinds()}
        return homes <= self.whole_homes


def visible_kinds(user: User | AnonymousUser) -> VisibleKinds:
    """Return the kinds that a user may view."""
    return VisibleKinds([kind for kind in all_kinds() if may_view(user, kind)])


def kinds_of_step(step: str) -> list[SagaKind]:
    """Return the kinds of the sagas that may have a step, by their homes."""
    homes = homes_of(step)
    return [kind for kind in all_kinds() if kind.home in homes]


def kinds_to_view(
    user: User | AnonymousUser, sagas: Collection[UUID], step: str = ""
) -> list[SagaKind]:
    """Return the kinds that a user must be permitted to view, to see or do something about sagas.

    Without sagas, they are the kinds of all sagas that may have the step. A saga that no home has,
    or whose home does not answer, may be of any kind. No saga is looked up for a user who may view
    all kinds, because the policy has nothing to refuse then.
    """
    if not visible_kinds(user).hidden:
        return []
    if not sagas:
        return kinds_of_step(step)
    found = find_kinds(sagas)
    return all_kinds() if set(sagas) - set(found) else list(dict.fromkeys(found.values()))


def hidden_among(
    user: User | AnonymousUser, sagas: Collection[UUID], step: str = ""
) -> list[SagaKind]:
    """Return the kinds of some sagas that a user may not view. See `kinds_to_view`."""
    return [kind for kind in kinds_to_view(user, sagas, step) if not may_view(user, kind)]


def needs_any_kind(view: View) -> View:
    """Decorate a view for users who may view at least one kind of saga; others are answered 403."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not visible_kinds(request.user).kinds:
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return wrapper
