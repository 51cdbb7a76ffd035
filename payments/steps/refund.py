"""The undo steps `payments.refund` and `payments.void`: return or release all money of an order."""

from collections.abc import Mapping, Sequence
from typing import ClassVar
from uuid import UUID

from django.db.models.functions import Now

from payments.deadlines import Deadline, start_deadlines
from payments.events import PaymentRefunded
from payments.gateway_requests import (
    CALL_BUDGET,
    GatewayRouter,
    RefundPlan,
    RefundResult,
    default_limit,
    destination,
    refund_plan,
    refund_request,
)
from payments.gateways.base import Captured, ChargeAnswer
from payments.models import Payment
from payments.outcomes import refund_outcome, update_after_refund, void_outcome
from payments.services import (
    PaymentUpdate,
    lock_payments,
    open_payments,
    payments_of,
    update_payments,
)
from payments.steps.batches import OrderToCharge, answers_by_order, new_payment
from sagas import Batch, Delivery, ExternalStep, Limit, undo
from sagas.currencies import with_currency
from sagas.manual import ManualCompletion, ManualCompletionRefused, ManualConfirmation
from sagas.outcomes import Outcome

__all__ = ["Refund", "Void", "refunded_by_hand"]

Status = Payment.Status


def refunded_by_hand(
    order: Delivery[OrderToCharge], confirmation: ManualConfirmation
) -> PaymentRefunded:
    """Commit a refund of the whole charge that a person has made at the gateway.

    Raise ManualCompletionRefused unless we know that the charge was captured: for any other charge,
    only the gateway knows the amount to give back.
    """
    payments = lock_payments([order.saga])
    payment = payments.get(order.saga)
    if payment is None or payment.status not in {Status.CAPTURED, Status.REFUNDED}:
        raise ManualCompletionRefused(_refusal(order, payment))

    update = PaymentUpdate(
        order_id=order.saga,
        status=Status.REFUNDED,
        charge_id=payment.charge_id,
        refunded_amount=payment.captured,
        owed_amount=0,
        refund_reference=confirmation.reference,
    )
    update_payments(payments, [update])
    # The follow-up reads what the gateway has really given back, and refunds nothing.
    Payment.objects.filter(order_id=order.saga).update(balance_due_at=Now())
    return PaymentRefunded(
        payment_id=payment.id, amount=payment.captured, currency=payment.currency
    )


def _refusal(order: Delivery[OrderToCharge], payment: Payment | None) -> str:
    amount = with_currency(order.context.amount, order.context.currency)
    status = f"its payment is {payment.status}" if payment else "it has no payment"
    return (
        f"No captured charge of order {order.saga} ({amount}) is known: {status}. "
        "Let the refund step run: it asks the gateway for the charge."
    )


@undo(
    "payments.refund",
    accepts=OrderToCharge,
    manual=ManualCompletion(record=refunded_by_hand, reference="gateway's id of the refund"),
)
class Refund(ExternalStep[OrderToCharge, RefundPlan, RefundResult]):
    """Void the charge's key unless we know that it was captured, then refund the captured amount.

    The gateway voids an unused key too, because a worker may be about to use it.
    """

    name: ClassVar = "payments.refund"
    budget = CALL_BUDGET

    def prepare(self, batch: Batch[OrderToCharge]) -> list[RefundPlan]:
        """Commit a payment for each order, so that the gateway's answer has a row to go to."""
        open_payments([new_payment(delivery) for delivery in batch])
        payments = payments_of([delivery.saga for delivery in batch])
        return [refund_plan(payments[delivery.saga]) for delivery in batch]

    def destination(self, request: RefundPlan) -> str | None:
        """Return the name of the payment's gateway, unless it answers at once."""
        return destination(request.charge)

    def limit(self, key: str) -> Limit | None:
        """Return the default limit of the gateway."""
        return default_limit(key)

    def call(self, requests: Sequence[RefundPlan]) -> list[RefundResult]:
        """Void each charge that is not known as captured; refund each that turns out captured."""
        return self.undo(GatewayRouter(), requests)

    def undo(self, router: GatewayRouter, requests: Sequence[RefundPlan]) -> list[RefundResult]:
        """Send the requests through a router, whose gateways have one time limit for all."""
        charges: dict[str, ChargeAnswer] = {
            plan.charge.key: plan.captured for plan in requests if plan.captured
        }
        to_void = [plan.charge for plan in requests if not plan.captured]
        charges |= router.send(lambda gateway: gateway.void, to_void)

        to_refund = [
            refund_request(plan, charge)
            for plan in requests
            if isinstance(charge := charges[plan.charge.key], Captured)
        ]
        refunds = router.send(lambda gateway: gateway.refund, to_refund)

        return [
            RefundResult(charges[plan.charge.key], refunds.get(plan.refund_key))
            for plan in requests
        ]

    def record(self, batch: Batch[OrderToCharge], answers: Sequence[RefundResult]) -> list[Outcome]:
        """Commit the gateway's answers, and a deadline where one is undecided."""
        by_order = answers_by_order(batch, answers)
        payments = lock_payments(list(by_order))
        updates = (update_after_refund(order, result) for order, result in by_order.items())
        update_payments(payments, [update for update in updates if update])
        deadlines = start_deadlines(
            self.name, {order: result.undecided for order, result in by_order.items()}
        )
        return [
            self._outcome(payments[order], result, deadlines) for order, result in by_order.items()
        ]

    def _outcome(
        self, payment: Payment, result: RefundResult, deadlines: Mapping[UUID, Deadline]
    ) -> Outcome:
        return refund_outcome(payment, result, deadlines)


@undo("payments.void", accepts=OrderToCharge)
class Void(Refund):
    """Release the authorization forever; refund the amount if it was captured after all."""

    name: ClassVar = "payments.void"

    def _outcome(
        self, payment: Payment, result: RefundResult, deadlines: Mapping[UUID, Deadline]
    ) -> Outcome:
        return void_outcome(payment, result, deadlines)
