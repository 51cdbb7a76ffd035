"""What a gateway is asked, and which: each payment is dealt with through the gateway it was
opened with.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from payments.gateways import get_gateway, knows_gateway
from payments.gateways.base import (
    Captured,
    ChargeAnswer,
    ChargeRequest,
    PaymentGateway,
    RefundAnswer,
    RefundRequest,
    Unanswered,
)
from payments.models import Payment
from payments.services import NewPayment

__all__ = [
    "ChargeAttempt",
    "GatewayRouter",
    "RefundPlan",
    "RefundResult",
    "charge_request",
    "refund_plan",
    "refund_request",
]


class ChargeAttempt(Struct, frozen=True):
    """A charge to be made, authorized or captured.

    `asked_before`: the gateway may know of it, and its answer was lost. `overdue`: the customer was
    to confirm it, and the time for that is over.
    """

    charge: ChargeRequest
    asked_before: bool
    overdue: bool = False


class RefundPlan(Struct, frozen=True):
    """A charge to be undone. `captured` is what we know was captured; None where only the
    gateway can tell.
    """

    charge: ChargeRequest
    refund_key: str
    captured: Captured | None


class RefundResult(Struct, frozen=True):
    """What had become of a charge that was to be undone, and of its refund where it had been
    captured.
    """

    charge: ChargeAnswer
    refund: RefundAnswer | None


class _Keyed(Protocol):
    @property
    def key(self) -> str: ...

    @property
    def gateway(self) -> str: ...


K = TypeVar("K", bound=_Keyed)
A = TypeVar("A")


class GatewayRouter:
    """Hands each request to the gateway it is for. One of it serves one step, as a gateway does."""

    def __init__(self) -> None:
        self.gateways: dict[str, PaymentGateway] = {}

    def ask(
        self,
        method: Callable[[PaymentGateway], Callable[[Sequence[K]], list[A]]],
        requests: Sequence[K],
    ) -> dict[str, A | Unanswered]:
        """Return the gateways' answers by key; trouble none with nothing, and guess nothing of
        one we do not have.
        """
        answers: dict[str, A | Unanswered] = {}
        for name in sorted({request.gateway for request in requests}):
            batch = [request for request in requests if request.gateway == name]
            asked = (
                method(self._called(name))(batch)
                if knows_gateway(name)
                else [_unknown(name)] * len(batch)
            )
            answers |= dict(zip((request.key for request in batch), asked, strict=True))
        return answers

    def _called(self, name: str) -> PaymentGateway:
        if name not in self.gateways:
            self.gateways[name] = get_gateway(name)
        return self.gateways[name]


def charge_request(payment: Payment | NewPayment) -> ChargeRequest:
    """Return the charge of a payment, as the gateway is asked for it; the key of a new one is
    made just now.
    """
    charge = ChargeRequest(
        payment.charge_key,
        payment.order_id,
        payment.amount,
        payment.currency,
        payment.payment_method,
    )
    if isinstance(payment, Payment):
        return replace(charge, opened_at=payment.created_at, gateway=payment.gateway)
    return charge


def refund_plan(payment: Payment) -> RefundPlan:
    """Return what it takes to have nothing of a payment left with us."""
    captured = Captured(payment.charge_id, payment.amount) if payment.charge_id else None
    return RefundPlan(charge_request(payment), payment.refund_key, captured)


def refund_request(reversal: RefundPlan, captured: Captured) -> RefundRequest:
    """Return the refund that undoes a charge which was captured."""
    charge = reversal.charge
    return RefundRequest(
        reversal.refund_key,
        charge.order_id,
        captured.charge_id,
        captured.amount,
        charge.currency,
        charge.gateway,
    )


def _unknown(name: str) -> Unanswered:
    return Unanswered(
        f"The payment was opened with {name!r}, a gateway that this release does not have: deploy one."
    )
