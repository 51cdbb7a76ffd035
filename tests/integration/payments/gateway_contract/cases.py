"""Charges and refunds of the contract's tests, and the capabilities that a test needs."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from msgspec.structs import replace

from payments.gateways.base import (
    Authorized,
    Captured,
    ChargeBalance,
    ChargeRequest,
    KeySpent,
    Movement,
    PartRefundAnswer,
    PartRefundRequest,
    RefundAnswer,
    RefundRequest,
    Unanswered,
)
from sagas.ids import uuid7
from tests.integration.payments.gateway_contract.harness import (
    Capability,
    GatewayHarness,
    Method,
)

__all__ = [
    "LONG",
    "answer_of",
    "authorized",
    "balance_of",
    "captured",
    "movements_of",
    "needed_by",
    "needs",
    "part_request",
    "refund",
    "refund_part",
    "refund_request",
    "request",
    "statement",
]

F = TypeVar("F", bound=Callable[..., object])

# Each test finds its movements by the charge, so a long window is enough. A test may have moved the
# gateway's clock on.
LONG = timedelta(days=1000)

MOST_TRIES = 5


def needs(*capabilities: Capability) -> Callable[[F], F]:
    """Declare the capabilities without which a gateway cannot run a test."""

    def declare(test: F) -> F:
        test.__dict__["needs"] = capabilities
        return test

    return declare


def needed_by(test: Any) -> tuple[Capability, ...]:
    """Return the capabilities that a test needs."""
    return getattr(test, "needs", ())


def request(
    harness: GatewayHarness, behaviour: Method = Method.SUCCEEDS, **fields: Any
) -> ChargeRequest:
    """Return the charge of a new order of 12.50 euros."""
    order = uuid7()
    method = fields.pop("payment_method", None) or harness.method(behaviour)
    given: dict[str, Any] = {"amount": 1250, "currency": "eur"} | fields
    return ChargeRequest(
        key=f"charge-{order}",
        order_id=order,
        payment_method=method,
        gateway=harness.gateway,
        **given,
    )


def answer_of(call: Callable[[Any], Sequence[Any]], asked: Any) -> Any:
    """Return the answer to a request. An `Unanswered` request is sent again, as a step does."""
    for _ in range(MOST_TRIES):
        (answer,) = call([asked])
        if not isinstance(answer, Unanswered):
            return answer
    raise AssertionError(f"No answer after {MOST_TRIES} tries: {answer}")


def captured(
    harness: GatewayHarness, charge: ChargeRequest | None = None
) -> tuple[ChargeRequest, Captured]:
    """Capture a charge of a new order."""
    charge = charge or request(harness)
    answer = answer_of(harness.client().charge, charge)
    assert isinstance(answer, Captured), answer
    return charge, answer


def authorized(harness: GatewayHarness) -> ChargeRequest:
    """Authorize a charge of a new order."""
    charge = request(harness)
    answer = answer_of(harness.client().authorize, charge)
    assert isinstance(answer, Authorized), answer
    return charge


def refund_request(
    charge: ChargeRequest, taken: Captured, amount: int | None = None
) -> RefundRequest:
    """Return the refund of a captured charge, by default of all that was captured."""
    return RefundRequest(
        key=f"refund-{charge.order_id}",
        order_id=charge.order_id,
        charge_id=taken.charge_id,
        amount=taken.amount if amount is None else amount,
        currency=charge.currency,
        gateway=charge.gateway,
    )


def refund(harness: GatewayHarness, asked: RefundRequest) -> RefundAnswer:
    """Send a refund until it has an answer."""
    answer: RefundAnswer = answer_of(harness.client().refund, asked)
    return answer


def part_request(charge: ChargeRequest, taken: Captured, amount: int) -> PartRefundRequest:
    """Return the refund of a part of a captured charge, under a key of its own."""
    return PartRefundRequest(
        key=f"refund-part-{uuid7()}",
        order_id=charge.order_id,
        charge_id=taken.charge_id,
        amount=amount,
        currency=charge.currency,
        gateway=charge.gateway,
    )


def refund_part(harness: GatewayHarness, asked: PartRefundRequest) -> PartRefundAnswer:
    """Send the refund of a part until it has an answer, under the next key after a spent one."""
    answer: PartRefundAnswer = answer_of(harness.client().refund_part, asked)
    if isinstance(answer, KeySpent):
        return refund_part(harness, replace(asked, key_number=asked.key_number + 1))
    return answer


def balance_of(harness: GatewayHarness, charge: ChargeRequest) -> ChargeBalance:
    """Return the balance of a captured charge."""
    balance = answer_of(harness.client().balance, charge)
    assert isinstance(balance, ChargeBalance), balance
    return balance


def statement(harness: GatewayHarness) -> list[Movement]:
    """Return the whole statement."""
    now = datetime.now(UTC)
    return list(harness.client().statement(now - LONG, now + LONG))


def movements_of(harness: GatewayHarness, *charge_ids: str) -> list[Movement]:
    """Return the movements of some charges in the statement, in its order."""
    return [line for line in statement(harness) if line.charge_id in charge_ids]
