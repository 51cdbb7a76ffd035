"""The requests to a gateway, and the router that sends each to the gateway of its payment."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from django.conf import settings
from msgspec import Struct
from msgspec.structs import replace

from payments.gateways import gateway_class, get_gateway, knows_gateway
from payments.gateways.base import (
    Captured,
    ChargeAnswer,
    ChargeRequest,
    PaymentGateway,
    Pending,
    RefundAnswer,
    RefundRequest,
    Unanswered,
)
from payments.models import Payment
from payments.services import NewPayment
from sagas import Limit

__all__ = [
    "CALL_BUDGET",
    "ChargeAttempt",
    "GatewayRouter",
    "RefundPlan",
    "RefundResult",
    "charge_request",
    "default_limit",
    "destination",
    "refund_plan",
    "refund_request",
]


# Seconds after which the answer to the request of one order counts as unknown. `payments.checks`
# compares it with the time limits of the gateway. It is below the lease of the order's messages.
CALL_BUDGET = 27.0


class ChargeAttempt(Struct, frozen=True):
    """A charge to make, authorize or capture.

    `sent_before`: the gateway may know the charge, and its answer was lost. `past_deadline`: the
    customer's time to confirm the charge is over.
    """

    charge: ChargeRequest
    sent_before: bool = False
    past_deadline: bool = False


class RefundPlan(Struct, frozen=True):
    """A charge to undo.

    `captured` is the captured amount as far as we know it; None where only the gateway knows.
    """

    charge: ChargeRequest
    refund_key: str
    captured: Captured | None


class RefundResult(Struct, frozen=True):
    """The gateway's answers for a charge to undo, and for its refund if it was captured."""

    charge: ChargeAnswer
    refund: RefundAnswer | None

    @property
    def undecided(self) -> Pending | None:
        """The answer of the two that the gateway has not decided yet, if there is one."""
        return next(
            (answer for answer in (self.charge, self.refund) if isinstance(answer, Pending)), None
        )


class _HasKey(Protocol):
    @property
    def key(self) -> str: ...

    @property
    def gateway(self) -> str: ...


Request = TypeVar("Request", bound=_HasKey)
Answer = TypeVar("Answer")


class GatewayRouter:
    """Sends each request to the gateway of its payment. Make a new one for each step."""

    def __init__(self) -> None:
        self.gateways: dict[str, PaymentGateway] = {}

    def send(
        self,
        method: Callable[[PaymentGateway], Callable[[Sequence[Request]], list[Answer]]],
        requests: Sequence[Request],
    ) -> dict[str, Answer | Unanswered]:
        """Return the answers by key. A gateway without requests is not called.

        Requests to a gateway that this release does not have are `Unanswered`.
        """
        answers: dict[str, Answer | Unanswered] = {}
        for name in sorted({request.gateway for request in requests}):
            batch = [request for request in requests if request.gateway == name]
            replies = (
                method(self._gateway(name))(batch)
                if knows_gateway(name)
                else [_missing_gateway(name)] * len(batch)
            )
            answers |= dict(zip((request.key for request in batch), replies, strict=True))
        return answers

    def _gateway(self, name: str) -> PaymentGateway:
        if name not in self.gateways:
            self.gateways[name] = get_gateway(name)
        return self.gateways[name]


def destination(request: _HasKey) -> str | None:
    """Return the name of the gateway that a request goes to, or None if it answers at once."""
    name = request.gateway
    if not knows_gateway(name) or gateway_class(name).answers_at_once:
        return None
    return name or settings.PAYMENT_GATEWAY


def default_limit(key: str) -> Limit | None:
    """Return the default limit of calls to a gateway. Other keys have none."""
    is_gateway = key == settings.PAYMENT_GATEWAY or (key and knows_gateway(key))
    return gateway_class(key).call_limit() if is_gateway else None


def charge_request(payment: Payment | NewPayment) -> ChargeRequest:
    """Return the gateway's request for a payment's charge."""
    charge = ChargeRequest(
        payment.charge_key,
        payment.order_id,
        payment.amount,
        payment.currency,
        payment.payment_method,
    )
    if isinstance(payment, Payment):
        return replace(
            charge,
            opened_at=payment.opened_at,
            gateway=payment.gateway,
            charge_id=payment.charge_id or "",
        )
    return replace(charge, opened_at=payment.saga_started_at)


def refund_plan(payment: Payment) -> RefundPlan:
    """Return the plan that undoes a payment's charge."""
    captured = Captured(payment.charge_id, payment.captured) if payment.charge_id else None
    return RefundPlan(charge_request(payment), payment.refund_key, captured)


def refund_request(plan: RefundPlan, captured: Captured) -> RefundRequest:
    """Return the gateway's request to give back the whole of a captured charge."""
    charge = plan.charge
    return RefundRequest(
        plan.refund_key,
        charge.order_id,
        captured.charge_id,
        captured.amount,
        charge.currency,
        charge.gateway,
    )


def _missing_gateway(name: str) -> Unanswered:
    return Unanswered(
        f"The payment was opened with gateway {name!r}, which this release does not have. "
        "Deploy a release that has it."
    )
