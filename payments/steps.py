"""Payments' part in a saga: take the order's money, and make sure that nothing of it is left with
us.

Either it is charged at once, or authorized first and captured once all else is ready.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, TypeVar
from uuid import UUID

from msgspec import Meta, Struct

from payments.customer_action import Deadline, await_action, overdue
from payments.events import PaymentFailed, PaymentKept, PaymentRefunded, PaymentWithheld
from payments.gateway_requests import (
    ChargeAttempt,
    GatewayRouter,
    RefundPlan,
    RefundResult,
    charge_request,
    refund_plan,
    refund_request,
)
from payments.gateways.base import Absent, Authorized, Captured, ChargeAnswer, ChargeRequest
from payments.models import Payment
from payments.outcomes import (
    authorize_outcome,
    capture_outcome,
    charge_outcome,
    refund_outcome,
    settlement_of,
    settlement_of_charge,
    void_outcome,
    waits,
)
from payments.services import (
    NewPayment,
    Settlement,
    lock_payments,
    open_payments,
    payments_of,
    settle,
)
from sagas.definition.handlers import (
    Batch,
    Delivery,
    ExternalStep,
    ManualCompletion,
    ManualCompletionRefused,
    ManualConfirmation,
    Outcome,
    action,
    bar,
    undo,
)

__all__ = [
    "Authorize",
    "Capture",
    "Charge",
    "OrderToCharge",
    "Refund",
    "Void",
    "refunded_by_hand",
    "withhold",
]

Status = Payment.Status


class OrderToCharge(Struct, frozen=True):
    """What payments reads of the saga's context. `amount` is in minor units of `currency`
    (lower-case ISO 4217).
    """

    amount: Annotated[int, Meta(gt=0)]
    currency: Annotated[str, Meta(pattern="^[a-z]{3}$")]
    payment_method: Annotated[str, Meta(min_length=1, max_length=100)]


@action("payments.charge", accepts=OrderToCharge, refusal=PaymentFailed)
class Charge(ExternalStep[OrderToCharge, ChargeAttempt, ChargeAnswer]):
    """Take the order's amount, once."""

    def prepare(self, batch: Batch[OrderToCharge]) -> list[ChargeAttempt]:
        """Commit the payments, pending, with the keys they will be charged under."""
        wanted = {delivery.saga: _new_payment(delivery) for delivery in batch}
        opened = open_payments(list(wanted.values()))
        known = payments_of(wanted.keys() - opened)
        late = overdue(known.values())
        return [
            ChargeAttempt(
                charge_request(known.get(order, new)),
                asked_before=order not in opened,
                overdue=order in late,
            )
            for order, new in wanted.items()
        ]

    def call(self, requests: Sequence[ChargeAttempt]) -> list[ChargeAnswer]:
        """Charge; but where an answer was lost, look it up first: a replayed 500 proves nothing."""
        router = GatewayRouter()
        answers = _known(router, requests, still_to_do=(Absent,))
        answers |= self._take(router, _unknown(requests, answers))
        unconfirmed = [
            each.charge for each in requests if each.overdue and waits(answers[each.charge.key])
        ]
        answers |= router.ask(lambda gateway: gateway.void, unconfirmed)
        return [answers[purchase.charge.key] for purchase in requests]

    def record(self, batch: Batch[OrderToCharge], answers: Sequence[ChargeAnswer]) -> list[Outcome]:
        """Commit what the gateway said."""
        answered = _by_order(batch, answers)
        payments = _settle_charges(answered)
        deadlines = await_action([order for order, answer in answered.items() if waits(answer)])
        return [
            self._outcome(payments[order], answer, deadlines) for order, answer in answered.items()
        ]

    def _take(
        self, router: GatewayRouter, charges: Sequence[ChargeRequest]
    ) -> dict[str, ChargeAnswer]:
        return router.ask(lambda gateway: gateway.charge, charges)

    def _outcome(
        self, payment: Payment, answer: ChargeAnswer, deadlines: Mapping[UUID, Deadline]
    ) -> Outcome:
        return charge_outcome(payment, answer, deadlines)


@action("payments.authorize", accepts=OrderToCharge, refusal=PaymentFailed)
class Authorize(Charge):
    """Have the order's amount held for us, once; nothing of it is taken."""

    def _take(
        self, router: GatewayRouter, charges: Sequence[ChargeRequest]
    ) -> dict[str, ChargeAnswer]:
        return router.ask(lambda gateway: gateway.authorize, charges)

    def _outcome(
        self, payment: Payment, answer: ChargeAnswer, deadlines: Mapping[UUID, Deadline]
    ) -> Outcome:
        return authorize_outcome(payment, answer, deadlines)


@action("payments.capture", accepts=OrderToCharge, refusal=PaymentFailed)
class Capture(ExternalStep[OrderToCharge, ChargeAttempt, ChargeAnswer]):
    """Take what is authorized, once. What the gateway has let go of by then is a definite no."""

    def prepare(self, batch: Batch[OrderToCharge]) -> list[ChargeAttempt]:
        """Read the payments. An order that has none, as after a restored backup, gets one of
        which nothing can come.
        """
        open_payments([_new_payment(delivery) for delivery in batch])
        payments = payments_of([delivery.saga for delivery in batch])
        return [
            ChargeAttempt(charge_request(payments[each.saga]), asked_before=each.attempt > 1)
            for each in batch
        ]

    def call(self, requests: Sequence[ChargeAttempt]) -> list[ChargeAnswer]:
        """Capture; but where an answer was lost, look it up first."""
        router = GatewayRouter()
        answers = _known(router, requests, still_to_do=(Absent, Authorized))
        answers |= router.ask(lambda gateway: gateway.capture, _unknown(requests, answers))
        return [answers[purchase.charge.key] for purchase in requests]

    def record(self, batch: Batch[OrderToCharge], answers: Sequence[ChargeAnswer]) -> list[Outcome]:
        """Commit what the gateway said."""
        answered = _by_order(batch, answers)
        payments = _settle_charges(answered)
        return [capture_outcome(payments[order], answer) for order, answer in answered.items()]


withhold = bar("payments.withhold", in_time=PaymentWithheld, too_late=PaymentKept)


def refunded_by_hand(
    order: Delivery[OrderToCharge], confirmation: ManualConfirmation
) -> PaymentRefunded:
    """Commit a refund of the whole charge that a person has made at the gateway.

    Only of a charge that is known to be captured: of any other, what would be given back only the
    gateway can tell.
    """
    payments = lock_payments([order.saga])
    payment = payments.get(order.saga)
    if payment is None or payment.status not in {Status.CAPTURED, Status.REFUNDED}:
        raise ManualCompletionRefused(
            "No captured charge of this order is known. The refund asks the gateway for it: let it run."
        )
    refund = Settlement(
        order_id=order.saga,
        status=Status.REFUNDED,
        charge_id=payment.charge_id,
        refunded_amount=payment.amount,
        refund_reference=confirmation.reference,
    )
    settle(payments, [refund])
    return PaymentRefunded(payment_id=payment.id, amount=payment.amount, currency=payment.currency)


@undo(
    "payments.refund",
    accepts=OrderToCharge,
    manual=ManualCompletion(record=refunded_by_hand, reference="gateway's id of the refund"),
)
class Refund(ExternalStep[OrderToCharge, RefundPlan, RefundResult]):
    """Bar the charge for ever unless it is known to be done, then give back what it captured.

    A worker may still be about to charge, so the gateway is asked to void the key even where we
    never used it.
    """

    def prepare(self, batch: Batch[OrderToCharge]) -> list[RefundPlan]:
        """Commit a payment for each order, so that there is a row for whatever the gateway turns
        out to know.
        """
        open_payments([_new_payment(delivery) for delivery in batch])
        payments = payments_of([delivery.saga for delivery in batch])
        return [refund_plan(payments[delivery.saga]) for delivery in batch]

    def call(self, requests: Sequence[RefundPlan]) -> list[RefundResult]:
        """Fence, ask, refund."""
        router = GatewayRouter()
        charges: dict[str, ChargeAnswer] = {
            reversal.charge.key: reversal.captured for reversal in requests if reversal.captured
        }
        charges |= router.ask(
            lambda gateway: gateway.void,
            [reversal.charge for reversal in requests if not reversal.captured],
        )
        refunds = router.ask(
            lambda gateway: gateway.refund,
            [
                refund_request(reversal, captured)
                for reversal in requests
                if isinstance(captured := charges[reversal.charge.key], Captured)
            ],
        )
        return [
            RefundResult(charges[reversal.charge.key], refunds.get(reversal.refund_key))
            for reversal in requests
        ]

    def record(self, batch: Batch[OrderToCharge], answers: Sequence[RefundResult]) -> list[Outcome]:
        """Commit what the gateway said."""
        answered = _by_order(batch, answers)
        payments = lock_payments(list(answered))
        settle(
            payments,
            [
                settled
                for order, answer in answered.items()
                if (settled := settlement_of(order, answer))
            ],
        )
        return [self._outcome(payments[order], answer) for order, answer in answered.items()]

    def _outcome(self, payment: Payment, answer: RefundResult) -> Outcome:
        return refund_outcome(payment, answer)


@undo("payments.void", accepts=OrderToCharge)
class Void(Refund):
    """Have the gateway let go of what is authorized, for ever; what was captured after all goes
    back.
    """

    def _outcome(self, payment: Payment, answer: RefundResult) -> Outcome:
        return void_outcome(payment, answer)


T = TypeVar("T")


def _by_order(batch: Batch[OrderToCharge], answers: Sequence[T]) -> dict[UUID, T]:
    return dict(zip((delivery.saga for delivery in batch), answers, strict=True))


def _settle_charges(answered: Mapping[UUID, ChargeAnswer]) -> dict[UUID, Payment]:
    """Write what the answers say, and return the payments, locked, as they were before."""
    payments = lock_payments(list(answered))
    settled = (settlement_of_charge(order, answer) for order, answer in answered.items())
    settle(payments, [settlement for settlement in settled if settlement])
    return payments


def _new_payment(delivery: Delivery[OrderToCharge]) -> NewPayment:
    order = delivery.context
    return NewPayment(delivery.saga, order.amount, order.currency, order.payment_method)


def _known(
    router: GatewayRouter,
    requests: Sequence[ChargeAttempt],
    *,
    still_to_do: tuple[type[Struct], ...],
) -> dict[str, ChargeAnswer]:
    """Look up what was asked before; return the answers but those that leave it still to be
    done.
    """
    found = router.ask(
        lambda gateway: gateway.find, [each.charge for each in requests if each.asked_before]
    )
    known = {key: answer for key, answer in found.items() if not isinstance(answer, Absent)}
    return {key: answer for key, answer in known.items() if not isinstance(answer, still_to_do)}


def _unknown(
    requests: Sequence[ChargeAttempt], known: Mapping[str, ChargeAnswer]
) -> list[ChargeRequest]:
    return [purchase.charge for purchase in requests if purchase.charge.key not in known]
