"""Make the next attempt of the waiting steps of an order due now."""

from collections.abc import Sequence

from console.bulk_actions.action import OrderAction, Tile, changed_orders, unchanged_money
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from console.order_services import services_of
from orders.models import Order
from payments import followup
from payments.models import Payment
from sagas.delivery import wakeup
from sagas.storage import inbox, sql

__all__ = ["Retry"]

WAITING = """
SELECT saga FROM {inbox}
 WHERE saga = ANY(%(orders)s::uuid[]) AND state = 'waiting' AND send_at IS NOT NULL
"""

OPEN_STEPS = """
SELECT id, step,
       CASE WHEN state = 'held' THEN 'held' WHEN send_at IS NULL THEN 'parked' ELSE 'retriable' END
  FROM {inbox} WHERE saga = %(saga)s AND state IN ('started', 'waiting', 'held') ORDER BY id
"""


# A follow-up asks the gateway about a payment again, also after its order has ended: to refund
# money that is owed, or to read the balance of the charge.
FOLLOWED = """
SELECT order_id FROM payments_payment
 WHERE order_id = ANY(%(orders)s::uuid[]) AND num_nonnulls(follow_at, balance_due_at) > 0
"""

# The statuses that a follow-up may find.
DECIDED = (
    Payment.Status.CAPTURED,
    Payment.Status.REFUNDED,
    Payment.Status.VOID,
    Payment.Status.DECLINED,
)


class Retry(OrderAction):
    """Makes the next attempt of every waiting step, and of the payment's follow-up, due now.

    Steps that run, are held or are parked are left alone.
    """

    name = "retry"
    label = "Try again now"
    nothing_to_do = (
        "No step is waiting for its next attempt."
        " “Publish again” sends messages that may have been lost."
    )

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the steps and the follow-ups that wait for their next attempt."""
        steps = queries.in_all_services(WAITING)
        followed = [order for (order,) in queries.rows("payments", FOLLOWED)]
        waiting = [*steps, *followed]
        return queries.impact(affected=len(set(waiting)), messages=len(waiting))

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show for how many steps the next attempt becomes due."""
        due = Tile("Attempts due now", impact.messages, "a step that is done does nothing")
        return changed_orders(impact), due, unchanged_money()

    def apply(self, order: Order, run: Run) -> ActionResult:
        """Make the waiting attempts due now, and wake the relays of their services."""
        followed = _follow_up(order)
        made_due = 0
        steps: dict[str, list[str]] = {"held": [], "parked": [], "retriable": []}

        for service in services_of(order):
            statement = OPEN_STEPS.format(inbox=service.inbox)
            rows = sql.fetch(service.alias, statement, {"saga": order.id})
            made_due += inbox.make_due_now(service, [row_id for row_id, _, _ in rows])
            for _, step, condition in rows:
                steps[condition].append(step)
            wakeup.request_flush(service.name)

        done = [f"{made_due} step{'s' if made_due > 1 else ''} made due now."] if made_due else []
        if followed:
            done.append("The gateway is asked about the payment again.")
        if done:
            return ActionResult.done(" ".join(done))
        return ActionResult.nothing(_reason(held=steps["held"], parked=steps["parked"]))


def _follow_up(order: Order) -> bool:
    """Bring the follow-up of the order's payment forward; False if none is scheduled."""
    if not sql.fetch("payments", FOLLOWED, {"orders": [order.id]}):
        return False
    return followup.schedule([order.id], DECIDED, again=True) > 0


def _reason(*, held: list[str], parked: list[str]) -> str:
    if held:
        return f"{', '.join(held)} is on hold: release it first."
    if parked:
        return (
            f"{', '.join(parked)} cannot be sent again from this row. Read its error: a purged saga"
            " needs a person; an unreadable message is sent again by “Publish again”."
        )
    return "No step is waiting for its next attempt."
