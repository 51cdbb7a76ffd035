"""The kinds of sagas that a user may view, and the steps and sagas that the pages then show.

The policy of staff decides (`staff.policy.may_view`).
"""

from collections.abc import Callable, Collection, Mapping
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

    A step is of the homes of the declared sagas that have it. A step that no declared saga has may
    be of any home, because a saga keeps the plan of the release that started it.
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
    def shown_steps(self) -> list[str] | None:
        """Return the declared steps that no saga of a hidden kind has; None if no kind is hidden.

        None stands for all steps, also the steps of no declared saga.
        """
        if not self.hidden:
            return None
        return [step for step in declared_steps() if self.shows(None, step)]

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
        """Tell whether a saga of these kinds may have a step.

        A step that no declared saga has is shown if all kinds are visible.
        """
        homes = homes_of(step)
        return bool(homes & self.homes) if homes else not self.hidden

    def shows(self, kind: SagaKind | None, step: str = "") -> bool:
        """Tell whether a saga at a step is shown.

        A saga that no home has, or whose home does not answer, has no known kind. It is shown if
        all kinds that it may be of are visible.
        """
        if kind is not None:
            return kind in self.kinds
        return {each.home for each in kinds_of_step(step)} <= self.whole_homes


def visible_kinds(user: User | AnonymousUser) -> VisibleKinds:
    """Return the kinds that a user may view."""
    return VisibleKinds([kind for kind in all_kinds() if may_view(user, kind)])


def kinds_of_step(step: str) -> list[SagaKind]:
    """Return the kinds of the sagas that may have a step, by their homes.

    A step that no declared saga has may be of any kind. So may a saga without a known step.
    """
    homes = homes_of(step)
    return [kind for kind in all_kinds() if not homes or kind.home in homes]


def kinds_to_view(
    user: User | AnonymousUser,
    sagas: Collection[UUID],
    step: str = "",
    *,
    found: Mapping[UUID, SagaKind] | None = None,
) -> list[SagaKind]:
    """Return the kinds that a user must be permitted to view, to see or do something about sagas.

    Without sagas, they are the kinds of all sagas that may have the step. A saga that no home has,
    or whose home does not answer, may be of any kind. For a user who may view all kinds, no saga is
    looked up: all kinds are returned, so that the policy may be asked again later.

    `found` has the kinds of these sagas, if the caller has looked them up already.
    """
    if not visible_kinds(user).hidden:
        return all_kinds()
    if not sagas:
        return kinds_of_step(step)
    kinds = find_kinds(sagas) if found is None else found
    if any(saga not in kinds for saga in sagas):
        return all_kinds()
    return list(dict.fromkeys(kinds[saga] for saga in sagas))


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
