"""Orders to charge, and payment steps run as the engine runs them.

A step has three phases: a first transaction, the call to the gateway, and a second transaction.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Sum

from payments.gateways.simulated.ledger import SimulatedCharge
from payments.models import Payment
from payments.steps import OrderToCharge
from sagas.definition.handlers import Delivery, ExternalStep, Outcome, definition
from sagas.ids import uuid7

Order = Delivery[OrderToCharge]


def order(payment_method: str = "pm_card_visa", *, amount: int = 1250, **fields: Any) -> Order:
    """Return a delivery for an order with a payment method and an amount."""
    return Delivery(
        saga=fields.pop("saga", None) or uuid7(),
        context=OrderToCharge(amount, "eur", payment_method),
        **fields,
    )


def external(step: str) -> ExternalStep[Any, Any, Any]:
    """Return the handler of an external step."""
    registered = definition(step)
    assert registered is not None
    assert isinstance(registered.handler, ExternalStep)
    return registered.handler


def prepare(step: str, *orders: Order) -> Sequence[Any]:
    """Run a step's first transaction, like a worker that dies before it calls the gateway."""
    with transaction.atomic(using="payments"):
        return external(step).prepare(orders)


def call(step: str, *orders: Order) -> Sequence[Any]:
    """Prepare and call, like a worker that dies before it records the answer."""
    return external(step).call(prepare(step, *orders))


def run(step: str, *orders: Order) -> list[Outcome]:
    """Run a whole step for a batch of orders."""
    return record(step, orders, call(step, *orders))


def record(step: str, orders: Sequence[Order], answers: Sequence[Any]) -> list[Outcome]:
    """Run a step's second transaction."""
    with transaction.atomic(using="payments"):
        return list(external(step).record(orders, answers))


def payment(order: Order) -> Payment:
    """Return the payment of an order."""
    return Payment.objects.get(order_id=order.saga)


def ledger(order: Order | UUID) -> Counter[str]:
    """Return the sums that the gateway captured and refunded for an order."""
    saga = order.saga if isinstance(order, Delivery) else order
    sums = SimulatedCharge.objects.filter(order_id=saga).values_list("kind").annotate(Sum("amount"))
    return Counter(dict(sums))
