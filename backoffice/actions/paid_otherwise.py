"""Record that the money owed to the customer of an ended order was paid in another way."""

from collections.abc import Sequence

import msgspec

from backoffice.order_page.order_detail import OrderDetail
from console.bulk_actions.action import SingleOrderAction, Tile, changed_orders
from console.bulk_actions.preview import Impact, OrderQueries
from console.bulk_actions.results import ActionResult
from console.models import Run
from console.order_page.saga_detail import SagaDetail
from payments.paid_otherwise import ACTION, OwedAmountChanged, Record, record_paid_otherwise
from sagas.currencies import with_currency
from sagas.models import TrackedSaga

__all__ = ["PaidOtherwise"]

OWED = """
SELECT currency, count(*), sum(owed)::bigint
  FROM (SELECT currency, owed_amount AS owed FROM payments_payment
         WHERE order_id = ANY(%(orders)s::uuid[]) AND owed_amount > 0
        UNION ALL
        SELECT p.currency, sum(part.amount - part.refunded_amount - part.covered_amount)
          FROM payments_partialrefund part JOIN payments_payment p USING (order_id)
         WHERE order_id = ANY(%(orders)s::uuid[]) AND part.status = 'failed' AND p.owed_amount = 0
         GROUP BY p.order_id, p.currency) debts
 GROUP BY currency ORDER BY currency
"""


class PaidOtherwise(SingleOrderAction):
    """Records the payment, and ends the attempts to refund the money at the gateway.

    The amount counts towards the limit of refunds, because money leaves the shop.
    """

    name = ACTION
    dangerous = True
    exact_preview = True
    nothing_to_do = "No money is owed to the customer."
    reason_prompt = "Why was the money paid in another way?"
    takes_reference = True

    def required_reference(self, step: str) -> str:
        """Return the name of the reference."""
        return "reference of the payment to the customer, such as the bank's id of the transfer"

    def is_offered_after_end(self, detail: SagaDetail) -> bool:
        """Offer it for an order that has ended and owes money. No open order does."""
        return isinstance(detail, OrderDetail) and detail.is_owed

    def preview(self, queries: OrderQueries, step: str) -> Impact:
        """Count the orders with owed money, and its amounts."""
        rows = queries.rows("payments", OWED)
        return queries.impact(
            affected=sum(number for _, number, _ in rows),
            refunds={currency: amount for currency, _, amount in rows},
        )

    def tiles(self, impact: Impact) -> Sequence[Tile]:
        """Show the amounts that count as paid."""
        note = "the gateway is asked for no refund of it any more, and keeps it"
        paid = [
            Tile("Money recorded as paid", with_currency(amount, currency), note, "bad")
            for currency, amount in impact.refunds.items()
        ]
        return changed_orders(impact), *paid

    def apply(self, order: TrackedSaga, run: Run) -> ActionResult:
        """Record the payment with the reference of the run. Raises `FollowUpUnderWay`."""
        amounts = msgspec.convert(run.radius, Impact).refunds
        if not amounts:
            return ActionResult.nothing(self.nothing_to_do)
        ((currency, amount),) = amounts.items()
        paid = with_currency(amount, currency)

        try:
            before = record_paid_otherwise(order.pk, amount=amount, reference=run.reference)
        except OwedAmountChanged as changed:
            owed = with_currency(changed.owed, changed.payment.currency)
            return ActionResult.nothing(
                f"{owed} are owed now, not {paid}. Nothing is recorded. Look at the payment, and"
                " record the amount anew."
            )
        if before is None:
            return ActionResult.nothing(self.nothing_to_do)
        return ActionResult.done(str(Record(amount, currency, run.reference)))
