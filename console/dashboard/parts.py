"""The parts that a project adds to the start page, such as its amounts.

class Amounts(DashboardPart):
    template = "shop/amounts.html"

    def probes(self, user, visible):
        return {"amounts": read_amounts}

    def context(self, user, visible, answers):
        return {"amounts": answers["amounts"]}

register(Amounts())
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

from django.contrib.auth.models import AnonymousUser, User

from sagas.kinds import SagaKind

__all__ = ["DashboardPart", "Viewer", "covered", "register", "registered_parts"]

Viewer = User | AnonymousUser | None


class DashboardPart:
    """Figures of a project. Each is read on its own, and is None if it does not answer in time."""

    # Below the table of the kinds.
    template: ClassVar[str] = ""
    # Among the first tiles.
    tiles_template: ClassVar[str] = ""

    def covers(self) -> Collection[SagaKind]:
        """Return the kinds that this part shows, and so the pages of the console leave out."""
        return ()

    def probes(
        self, user: Viewer, visible: Collection[SagaKind]
    ) -> Mapping[str, Callable[[], Any]]:
        """Return the functions that read the figures, by names that the page shows.

        `visible` are the kinds that the user may view. Without a user, return all. A function must
        read the same for every user: the next user gets the result of a function that still runs.
        """
        return {}

    def context(
        self, user: Viewer, visible: Collection[SagaKind], answers: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the context of the templates. `answers` has the figures by name."""
        return {}

    def attention(self, answers: Mapping[str, Any]) -> int | None:
        """Return how many sagas of the covered kinds need attention; None if it is unknown."""
        return 0


_parts: dict[type[DashboardPart], DashboardPart] = {}


def register(part: DashboardPart) -> None:
    """Add a part. Call it when the app is ready."""
    _parts[type(part)] = part


def registered_parts() -> list[DashboardPart]:
    """Return the parts."""
    return [*_parts.values()]


def covered() -> list[SagaKind]:
    """Return the kinds that a part shows."""
    return [kind for part in registered_parts() for kind in part.covers()]
