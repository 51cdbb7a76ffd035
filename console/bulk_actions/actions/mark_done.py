"""Marking a step of one order as done by hand: which steps may be, and what an operator's word
makes of one.
"""

from collections.abc import Iterator

from console.bulk_actions.results import Effect
from console.models import Run, RunItem
from console.order_page.order_detail import Dossier
from orders.models import Order
from sagas.definition.handlers import ManualCompletionRefused, ManualConfirmation, definition
from sagas.models import Inbox
from sagas.operations.manual import mark_done

__all__ = ["asks_for", "mark", "markable", "may_be_marked"]

OPEN = {Inbox.State.STARTED, Inbox.State.WAITING, Inbox.State.HELD}


def markable(dossier: Dossier) -> Iterator[str]:
    """Yield the steps of an order that are open and may be marked as done."""
    rows = (posted.row for posted in dossier.received)
    return (row.step for row in rows if row.state in OPEN and may_be_marked(row.step))


def may_be_marked(step: str) -> bool:
    """Tell whether the domain of a step lets a person say that it is done."""
    known = definition(step)
    return known is not None and known.manual is not None


def asks_for(step: str) -> str:
    """Return what must be given as the reference; empty where none need be."""
    known = definition(step)
    return known.manual.reference if known and known.manual else ""


def mark(order: Order, run: Run) -> Effect:
    """Mark the run's step of an order as done, by the word of whoever requested it."""
    word = ManualConfirmation(
        by=run.requested_by.get_username(), evidence=run.reason, reference=run.reference
    )
    try:
        mark_done(run.step, order.id, word)
    except ManualCompletionRefused as refused:
        return Effect(RunItem.State.NOTHING, str(refused))
    return Effect(RunItem.State.DONE, f"{run.step} is done by hand; the order goes on.")
