"""Make the next attempt of the waiting steps of an order due now, and of its payment."""

from collections.abc import Sequence

from backoffice.order_page.order_detail import OrderDetail
from console.bulk_actions.action import Tile, changed_orders, unchanged_money
from console.bulk_actions.actions.retry import WAITING, Retry
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from console.order_page.saga_detail import SagaDetail
from payments import followup
from payments.models import Payment
from sagas import control, sql
from sagas.currencies import with_currency
from sagas.models import TrackedSaga

__all__ = ["RetryWithPayment"]

# A follow-up asks the gateway about a payment again, also after its order has ended: to refund
# money that is owed, or to read the balance of the charge.
FOLLOWED = """
SELECT order_id FROM payments_payment
 WHERE order_id = ANY(%(orders)s::uuid[]) AND num_nonnulls(follow_at, balance_due_at) > 0
"""

# The money that a follow-up gives back.
OWED = """
SELECT currency, sum(owed)::bigint
  FROM (SELECT currency, owed_amount AS owed FROM payments_payment
         WHERE order_id = ANY(%(orders)s::uuid[]) AND owed_amount > 0
           AND num_nonnulls(follow_at, balance_due_at) > 0
        UNION ALL
        SELECT part.currency, part.amount - part.refunded_amount - part.covered_amount
          FROM payments_partialrefund part JOIN payments_payment p USING (order_id)
         WHERE order_id = ANY(%(orders)s::uuid[]) AND part.status = 'failed' AND p.owed_amount = 0
           AND num_nonnulls(p.follow_at, p.balance_due_at) > 0) debts
 GROUP BY currency ORDER BY currency
"""

# The statuses that a follow-up may find.
DECIDED = (
    Payment.Status.CAPTURED,
    Payment.Status.REFUNDED,
    Payment.Status.VOID,
    Payment.Status.DECLINED,
)


class RetryWithPayment(Retry):
    """Makes the next attempt of every waiting step, and of the payment's follow-up, due now.

    Steps that run, are held or are parked are left alone.
    """

    def is_offered_after_end(self, detail: SagaDetail) -> bool:
        """Offer it while the gateway is asked about the payment of the order again."""
        return isinstance(detail, OrderDetail) and detail.is_followed_up

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the steps and the follow-ups that wait for their next attempt."""
        steps = queries.in_all_services(WAITING)
        followed = [order for (order,) in queries.rows("payments", FOLLOWED)]
        waiting = [*steps, *followed]
        owed = dict(queries.rows("payments", OWED)) if followed else {}
        return queries.impact(affected=len(set(waiting)), messages=len(waiting), owed=owed)

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show for how many steps the next attempt becomes due, and the refunds it repeats."""
        repeated = [
            Tile(
                "Owed refund repeated",
                with_currency(amount, currency),
                "it was decided before; the gateway is asked for it again now",
                "slow",
            )
            for currency, amount in impact.owed.items()
        ]
        return changed_orders(impact), self.due(impact), *(repeated or [unchanged_money()])

    def apply(self, order: TrackedSaga, run: Run) -> ActionResult:
        """Make the waiting attempts due now, and wake the relays of their services."""
        followed = _follow_up(order)
        result = control.retry(order)
        done = [result.text] if result.changed else []
        if followed:
            done.append("The gateway is asked about the payment again.")
        return ActionResult.done(" ".join(done)) if done else ActionResult.nothing(result.text)


def _follow_up(order: TrackedSaga) -> bool:
    """Bring the follow-up of the order's payment forward; False if none is scheduled."""
    if not sql.fetch("payments", FOLLOWED, {"orders": [order.pk]}):
        return False
    return followup.schedule([order.pk], DECIDED, again=True) > 0
