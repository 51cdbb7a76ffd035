"""The steps that take or hold an order's money: `payments.charge` and `payments.authorize`."""

from collections.abc import Mapping, Sequence
from typing import ClassVar
from uuid import UUID

from payments.deadlines import Deadline, orders_past_deadline, start_deadlines
from payments.events import PaymentFailed
from payments.gateway_requests import (
    CALL_BUDGET,
    ChargeAttempt,
    GatewayRouter,
    charge_request,
    default_limit,
    destination,
)
from payments.gateways.base import ChargeAnswer, ChargeRequest
from payments.models import Payment
from payments.outcomes import authorize_outcome, charge_outcome, needs_customer
from payments.services import open_payments, payments_of
from payments.steps.batches import (
    OrderToCharge,
    answers_by_order,
    find_answers,
    new_payment,
    record_charges,
    unanswered_charges,
)
from sagas import Batch, ExternalStep, Limit, action
from sagas.outcomes import Outcome

__all__ = ["Authorize", "Charge"]


@action("payments.charge", accepts=OrderToCharge, refusal=PaymentFailed)
class Charge(ExternalStep[OrderToCharge, ChargeAttempt, ChargeAnswer]):
    """Take the order's amount once."""

    name: ClassVar = "payments.charge"
    budget = CALL_BUDGET

    def prepare(self, batch: Batch[OrderToCharge]) -> list[ChargeAttempt]:
        """Commit the payments as pending, with their idempotency keys."""
        new = {delivery.saga: new_payment(delivery) for delivery in batch}
        opened = open_payments(list(new.values()))
        existing = payments_of(new.keys() - opened)
        past_deadline = orders_past_deadline(existing.values())

        return [
            ChargeAttempt(
                charge_request(existing.get(order, payment)),
                sent_before=order not in opened,
                past_deadline=order in past_deadline,
            )
            for order, payment in new.items()
        ]

    def destination(self, request: ChargeAttempt) -> str | None:
        """Return the name of the payment's gateway, unless it answers at once."""
        return destination(request.charge)

    def limit(self, key: str) -> Limit | None:
        """Return the default limit of the gateway."""
        return default_limit(key)

    def call(self, requests: Sequence[ChargeAttempt]) -> list[ChargeAnswer]:
        """Look up the charges that may have been sent before, and send the others.

        The lookup comes first because a gateway may replay a 500 for a charge that it has made. A
        charge that its customer did not confirm in time is voided.
        """
        router = GatewayRouter()
        answers = find_answers(router, requests)
        answers |= self._send(router, unanswered_charges(requests, answers))

        unconfirmed = [
            attempt.charge
            for attempt in requests
            if attempt.past_deadline and needs_customer(answers[attempt.charge.key])
        ]
        answers |= router.send(lambda gateway: gateway.void, unconfirmed)
        return [answers[attempt.charge.key] for attempt in requests]

    def record(self, batch: Batch[OrderToCharge], answers: Sequence[ChargeAnswer]) -> list[Outcome]:
        """Commit the gateway's answers, and a deadline where one is undecided."""
        by_order = answers_by_order(batch, answers)
        payments = record_charges(by_order)
        deadlines = start_deadlines(self.name, by_order)
        return [
            self._outcome(payments[order], answer, deadlines) for order, answer in by_order.items()
        ]

    def _send(
        self, router: GatewayRouter, charges: Sequence[ChargeRequest]
    ) -> dict[str, ChargeAnswer]:
        return router.send(lambda gateway: gateway.charge, charges)

    def _outcome(
        self, payment: Payment, answer: ChargeAnswer, deadlines: Mapping[UUID, Deadline]
    ) -> Outcome:
        return charge_outcome(payment, answer, deadlines)


@action("payments.authorize", accepts=OrderToCharge, refusal=PaymentFailed)
class Authorize(Charge):
    """Have the gateway hold the order's amount on the customer's card, without taking it."""

    name: ClassVar = "payments.authorize"

    def _send(
        self, router: GatewayRouter, charges: Sequence[ChargeRequest]
    ) -> dict[str, ChargeAnswer]:
        return router.send(lambda gateway: gateway.authorize, charges)

    def _outcome(
        self, payment: Payment, answer: ChargeAnswer, deadlines: Mapping[UUID, Deadline]
    ) -> Outcome:
        return authorize_outcome(payment, answer, deadlines)
