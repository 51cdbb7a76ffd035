"""Cancel a saga before its pivot, and undo the steps that were done for it.

After the pivot a saga only goes forward, so it is left as it is.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from console import holds
from console.bulk_actions.action import OrderAction, Tile, changed_orders
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from console.partial_reader import PartialReader
from sagas import CancelResult, cancel
from sagas.definition.plan import Plan, service_name
from sagas.kinds import kind_of
from sagas.models import TrackedSaga

__all__ = [
    "REQUESTED",
    "Cancel",
    "Cancellable",
    "cancelling",
    "open_cancellable",
    "undecided_by_pivot",
]

PIVOT_DECIDED = """
SELECT saga FROM {inbox}
 WHERE saga = ANY(%(orders)s::uuid[]) AND step = %(pivot)s AND state IN ('done', 'refused')
"""

REQUESTED = "Cancel requested: the service of the pivot decides whether it comes in time."

# Only the domain of a saga knows what its undo moves.
UNPRICED = "of {} that change: only their own domain knows what their undo moves"


class Cancellable(NamedTuple):
    """A saga that may be cancelled. `pivot` is the step after which it may not."""

    id: UUID
    pivot: str


class Cancel(OrderAction):
    """Cancels a saga of any kind, if its domain lets staff cancel it, and its pivot is undecided.

    A project that knows the money of its sagas derives a class, and registers it in place of this.
    """

    name = "cancel"
    dangerous = True
    exact_preview = True
    nothing_to_do = "None of these sagas can be cancelled any more."

    def is_offered(self, order: TrackedSaga, *, on_hold: bool | None) -> bool:
        """Offer it while the saga's domain lets staff cancel it."""
        return kind_of(type(order)).cancellation(order) is not None

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the sagas that can still be cancelled."""
        number = len(undecided_by_pivot(queries, open_cancellable(queries)))
        return queries.impact(affected=number, unpriced=number)

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show how many change, and that their money is not known here."""
        return changed_orders(impact), self.unpriced(impact)

    def apply(self, order: TrackedSaga, run: Run) -> ActionResult:
        """Cancel with the event that the domain gives, or ask the service of the pivot to."""
        event = kind_of(type(order)).cancellation(order)
        if event is None or order.ended_at:
            return ActionResult.nothing("It can no longer be cancelled.")

        match cancel(order, event):
            case CancelResult.OURS:
                return ActionResult.done(cancelling(order))
            case CancelResult.REFUSED:
                return ActionResult.nothing("It was cancelled or refused before.")
            case CancelResult.DONE:
                return ActionResult.nothing("Its pivot is done, so it can no longer be cancelled.")
        return ActionResult.done(REQUESTED)

    def unpriced(self, impact: Impact) -> Tile:
        """Return the tile of the sagas whose money and stock are not known here."""
        return Tile("Money and stock", "not known", UNPRICED.format(impact.unpriced), "slow")


def cancelling(order: TrackedSaga) -> str:
    """Return what follows from a cancel, as a sentence. A hold delays it."""
    reader = PartialReader()
    if holds.hold_of(order, reader=reader):
        return "Cancelling, but the saga is on hold: its steps are undone after the release."
    if reader.unreachable:
        return (
            "Cancelling: the steps that were done are being undone, unless the saga is on hold,"
            f" which is unknown: the database of {', '.join(reader.unreachable)} did not answer."
        )
    return "Cancelling: the steps that were done are being undone."


def open_cancellable(
    queries: OrderQueries, *, besides: type[TrackedSaga] | None = None
) -> list[Cancellable]:
    """Return the open sagas of every kind besides one, if their domain lets staff cancel them."""
    found = []
    for row in queries.open_sagas(besides=besides):
        plan = msgspec.convert(row.plan, Plan)
        if plan.pivot and kind_of(type(row)).cancellation(row):
            found.append(Cancellable(row.pk, plan.pivot.name))
    return found


def undecided_by_pivot(queries: OrderQueries, sagas: Sequence[Cancellable]) -> set[UUID]:
    """Return the sagas whose pivot is undecided, by the inbox of the pivot's service."""
    decided = {
        saga
        for pivot in sorted({each.pivot for each in sagas})
        for saga in _decided(queries, pivot, sagas)
    }
    return {each.id for each in sagas} - decided


def _decided(queries: OrderQueries, pivot: str, sagas: Iterable[Cancellable]) -> list[UUID]:
    ids = [each.id for each in sagas if each.pivot == pivot]
    rows = queries.rows(service_name(pivot), PIVOT_DECIDED, orders=ids, pivot=pivot)
    return [saga for (saga,) in rows]
