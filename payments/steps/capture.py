"""The pivot of `authorize_first`, `payments.capture`, and the step that bars it."""

from collections.abc import Sequence

from payments.deadlines import start_deadlines
from payments.events import PaymentFailed, PaymentKept, PaymentWithheld
from payments.gateway_requests import (
    CALL_BUDGET,
    ChargeAttempt,
    GatewayRouter,
    charge_request,
    default_limit,
    destination,
)
from payments.gateways.base import Authorized, ChargeAnswer
from payments.outcomes import capture_outcome
from payments.services import open_payments, payments_of
from payments.steps.batches import (
    OrderToCharge,
    answers_by_order,
    find_answers,
    new_payment,
    record_charges,
    unanswered_charges,
)
from sagas import Batch, ExternalStep, Limit, action, bar
from sagas.outcomes import Outcome

__all__ = ["Capture", "withhold"]


@action("payments.capture", accepts=OrderToCharge, refusal=PaymentFailed)
class Capture(ExternalStep[OrderToCharge, ChargeAttempt, ChargeAnswer]):
    """Take the authorized amount once. An authorization that has ended is a final refusal."""

    budget = CALL_BUDGET

    def prepare(self, batch: Batch[OrderToCharge]) -> list[ChargeAttempt]:
        """Read the payments.

        An order without a payment, as after a restored backup, gets one. Its capture is refused,
        because the gateway knows no authorization for it.
        """
        open_payments([new_payment(delivery) for delivery in batch])
        payments = payments_of([delivery.saga for delivery in batch])
        return [
            ChargeAttempt(
                charge_request(payments[delivery.saga]),
                sent_before=delivery.attempt + delivery.uncounted > 1,
            )
            for delivery in batch
        ]

    def destination(self, request: ChargeAttempt) -> str | None:
        """Return the name of the payment's gateway, unless it answers at once."""
        return destination(request.charge)

    def limit(self, key: str) -> Limit | None:
        """Return the default limit of the gateway."""
        return default_limit(key)

    def call(self, requests: Sequence[ChargeAttempt]) -> list[ChargeAnswer]:
        """Look up the captures that may have been sent before, and send the others."""
        router = GatewayRouter()
        answers = find_answers(router, requests, unfinished=(Authorized,))
        to_capture = unanswered_charges(requests, answers)
        answers |= router.send(lambda gateway: gateway.capture, to_capture)
        return [answers[attempt.charge.key] for attempt in requests]

    def record(self, batch: Batch[OrderToCharge], answers: Sequence[ChargeAnswer]) -> list[Outcome]:
        """Commit the gateway's answers."""
        by_order = answers_by_order(batch, answers)
        payments = record_charges(by_order)
        deadlines = start_deadlines("payments.capture", by_order)
        return [
            capture_outcome(payments[order], answer, deadlines)
            for order, answer in by_order.items()
        ]


withhold = bar("payments.withhold", in_time=PaymentWithheld, too_late=PaymentKept)
