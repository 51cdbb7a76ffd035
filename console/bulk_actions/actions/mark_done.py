"""Mark a step of one order as done by hand, on an operator's statement and evidence."""

from collections.abc import Iterator, Sequence

from console.bulk_actions.action import OrderStepAction, Tile, undecided_charges
from console.bulk_actions.preview import Impact, OrderQueries, Undecided
from console.bulk_actions.results import ActionResult
from console.models import Run
from console.order_page.order_detail import OrderDetail
from orders.models import Order
from payments.gateways.currencies import with_currency
from sagas.definition.handlers import ManualCompletionRefused, ManualConfirmation, definition
from sagas.definition.plan import service_name
from sagas.models import Inbox
from sagas.operations.manual import mark_done

__all__ = ["MarkDone", "can_be_marked_done", "steps_to_mark_done"]

OPEN = {Inbox.State.STARTED, Inbox.State.WAITING, Inbox.State.HELD}

OPEN_ROWS = """
SELECT saga FROM {inbox} WHERE saga = ANY(%(orders)s::uuid[]) AND step = %(step)s
   AND state IN ('started', 'waiting', 'held')
"""


class MarkDone(OrderStepAction):
    """Records what the step's success would record, without running the step."""

    name = "by_hand"
    label = "Mark a step as done by hand"
    exact_preview = True
    nothing_to_do = "The step is not open: it is done, or the order has not reached it."
    reason_prompt = "How do you know that it is done?"
    takes_reference = True

    def required_reference(self, step: str) -> str:
        """Return the reference that the step's domain asks for, such as the gateway's refund id."""
        known = definition(step)
        return known.manual.reference if known and known.manual else ""

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the open step, and the money or stock that would be recorded as moved."""
        is_open = bool(rows := queries.rows(service_name(step), OPEN_ROWS, step=step))
        refunds_money = step == "payments.refund"
        moves_stock = service_name(step) == "inventory"
        undecided = queries.undecided() if is_open and refunds_money else Undecided(0, {})
        return queries.impact(
            affected=len(rows),
            refunds=queries.captured() if is_open and refunds_money else {},
            unknown_charges=undecided.charges,
            undecided=undecided.amounts,
            units=queries.reserved_units() if is_open and moves_stock else 0,
        )

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show the step, the money and the stock that would be recorded."""
        step = Tile(
            "Orders that change", impact.affected, "the step counts as done, and the order goes on"
        )
        refunds = [
            Tile(
                "Money recorded as refunded",
                with_currency(amount, currency),
                "the gateway is not asked",
                "bad",
            )
            for currency, amount in impact.refunds.items()
        ]
        units = [Tile("Units recorded as moved", impact.units, "recorded here, as you state")]
        undecided = [undecided_charges(impact)] if impact.unknown_charges else []
        return step, *refunds, *undecided, *(units if impact.units else [])

    def apply(self, order: Order, run: Run) -> ActionResult:
        """Mark the run's step as done, as the person who requested the run states."""
        confirmation = ManualConfirmation(
            by=run.requested_by.get_username(), evidence=run.reason, reference=run.reference
        )
        try:
            mark_done(run.step, order.id, confirmation)
        except ManualCompletionRefused as refused:
            return ActionResult.nothing(str(refused))
        return ActionResult.done(f"{run.step} is marked as done by hand; the order goes on.")


def can_be_marked_done(step: str) -> bool:
    """Tell whether the domain of a step allows a person to mark it as done."""
    known = definition(step)
    return known is not None and known.manual is not None


def steps_to_mark_done(detail: OrderDetail) -> Iterator[str]:
    """Yield the open steps of an order that a person may mark as done."""
    rows = (message.row for message in detail.received)
    return (row.step for row in rows if row.state in OPEN and can_be_marked_done(row.step))
