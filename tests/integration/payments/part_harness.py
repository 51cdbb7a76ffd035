"""Returns of which payments gives back a part, and the step `payments.refund_part` for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from unittest.mock import patch
from uuid import UUID

from payments.gateways.base import PartRefundAnswer, PartRefundRequest
from payments.gateways.simulated import SimulatedGateway
from payments.models import PartialRefund
from payments.steps import PartToRefund
from payments.steps.refund_part import AcceptedAmount
from sagas.definition.handlers import Delivery
from sagas.ids import uuid7
from tests.integration.payments import harness
from tests.integration.payments.harness import Order, order

__all__ = [
    "STEP",
    "Part",
    "answering",
    "call_parts",
    "paid",
    "part_of",
    "record_parts",
    "row",
    "run_parts",
]

STEP = "payments.refund_part"

Part = Delivery[PartToRefund]


def paid(method: str = "pm_card_visa") -> Order:
    """Charge an order of 12.50 euros."""
    charged = order(method)
    harness.run("payments.charge", charged)
    return charged


def part_of(order: Order | UUID, amount: int, currency: str = "eur") -> Part:
    """Return the delivery of a return that has accepted an amount."""
    saga = order if isinstance(order, UUID) else order.saga
    accepted = AcceptedAmount(amount, currency)
    return Delivery(saga=uuid7(), context=PartToRefund(saga, accepted=accepted))


def run_parts(*parts: Part) -> list[Any]:
    """Run the whole step for a batch of returns."""
    return record_parts(parts, call_parts(*parts))


def call_parts(*parts: Part) -> Any:
    """Prepare and call, like a worker that dies before it records the answer."""
    return harness.call(STEP, *cast("Any", parts))


def record_parts(parts: Any, answers: Any) -> list[Any]:
    """Run the step's second transaction."""
    return harness.record(STEP, parts, answers)


def row(part: Part) -> PartialRefund:
    """Return the row of a part."""
    return PartialRefund.objects.get(id=part.saga)


@contextmanager
def answering(*answers: PartRefundAnswer) -> Iterator[list[PartRefundRequest]]:
    """Let the gateway answer so, one request after the other; yield the requests."""
    asked: list[PartRefundRequest] = []
    left = iter(answers)

    def refund_part(_: object, requests: list[PartRefundRequest]) -> list[PartRefundAnswer]:
        asked.extend(requests)
        return [next(left) for _ in requests]

    with patch.object(SimulatedGateway, "refund_part", refund_part):
        yield asked
