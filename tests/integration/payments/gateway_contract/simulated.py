"""The contract's harness of the simulated gateway."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar
from uuid import UUID

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from payments.gateways.base import ChargeRequest, DisputeStatus
from payments.gateways.simulated.ledger import (
    SimulatedCharge,
    SimulatedDispute,
    SimulatedIntent,
    SimulatedRefund,
)
from payments.gateways.simulated.outside_acts import (
    ChargeToDispute,
    ChargeToRefund,
    open_disputes,
    refund_by_hand,
)
from tests.integration.payments.gateway_contract.harness import (
    Capability,
    GatewayHarness,
    Method,
    RefundFault,
)

__all__ = ["SimulatedHarness"]

METHODS = {
    Method.SUCCEEDS: "pm_card_visa",
    Method.DECLINES: "pm_card_chargeDeclined",
    Method.LOSES_ANSWER: "pm_sim_timeout_charged",
    Method.LOSES_REQUEST: "pm_sim_timeout_lost",
    Method.ANSWERS_500: "pm_sim_500_charged",
}
REFUND_FAULTS = {
    RefundFault.PENDING: "pm_sim_refund_bounces_once",
    RefundFault.BOUNCES_LATER: "pm_card_visa",
    RefundFault.ERROR: "pm_sim_refund_error_once",
    RefundFault.LOST_ANSWER: "pm_sim_refund_timeout_once",
}


class SimulatedHarness(GatewayHarness):
    """Acts in the tables of the simulated gateway."""

    gateway = "simulated"
    lacks: ClassVar[Mapping[Capability, str]] = {
        Capability.CUSTOMER_ACTION: "No payment method has a page for its customer.",
        Capability.PROCESSING: "Each charge is decided at once.",
        Capability.SAVED_ERROR: "No error stays with the key of a charge.",
        Capability.OLD_KEYS: "The gateway keeps every key.",
        Capability.FAILED_REFUNDS: "A refund fails only when it is asked for again.",
    }
    amounts: ClassVar[Mapping[str, int]] = {
        "eur": 1250,
        "jpy": 500,
        "isk": 5000,
        "ugx": 50_000,
        "mga": 125_050,
        "kwd": 12_345,
    }
    not_chargeable = ((0, "eur"), (-1, "eur"), (1250, "xxx"), (1250, "EUR"), (10**18, "eur"))

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[GatewayHarness]:
        """Run nothing, because the gateway is a part of payments."""
        yield cls()

    def method(self, behaviour: Method) -> str:
        """Return the simulated payment method."""
        return METHODS[behaviour]

    def moved_money(self, order: UUID) -> Counter[str]:
        """Sum the lines of the ledger."""
        lines = SimulatedCharge.objects.filter(order_id=order).values_list("kind")
        return Counter(dict(lines.annotate(Sum("amount"))))

    def lapse_authorization(self, request: ChargeRequest) -> None:
        """Move the end of the authorization to now."""
        SimulatedIntent.objects.filter(key=request.key).update(authorized_until=timezone.now())

    def capture_by_hand(self, request: ChargeRequest, amount: int) -> None:
        """Write the capture of a part."""
        with transaction.atomic(using="payments"):
            intent = SimulatedIntent.objects.get(key=request.key, state="authorized")
            intent.state, intent.captured_amount = SimulatedIntent.State.CAPTURED, amount
            intent.save()
            SimulatedCharge.objects.create(
                kind="capture",
                key=request.key,
                order_id=request.order_id,
                charge_id=intent.charge_id,
                amount=amount,
                currency=request.currency,
            )

    def refund_by_hand(self, charge_id: str, amount: int) -> None:
        """Write a refund that is not ours."""
        intent = SimulatedIntent.objects.get(charge_id=charge_id)
        refund = ChargeToRefund(
            charge_id=charge_id,
            order_id=intent.order_id,
            amount=amount,
            currency=intent.currency,
        )
        with transaction.atomic(using="payments"):
            refund_by_hand([refund])

    def arm_refund(self, fault: RefundFault) -> str:
        """Return the payment method with this fault."""
        return REFUND_FAULTS[fault]

    def settle_refund(self, charge_id: str, *, succeeds: bool) -> None:
        """Move the newest refund between the ledger and the refunds that moved no money."""
        with transaction.atomic(using="payments"):
            if succeeds:
                refund = SimulatedRefund.objects.get(charge_id=charge_id, state="pending")
                line = SimulatedCharge(kind="refund", **_columns(refund))
                refund.delete()
                line.save()
                return

            pending = SimulatedRefund.objects.filter(charge_id=charge_id, state="pending")
            if not pending.update(state="failed"):
                booked = SimulatedCharge.objects.filter(charge_id=charge_id, kind="refund")
                bounced = booked.latest("id")
                SimulatedRefund.objects.create(state="failed", **_columns(bounced))
                bounced.delete()

    def open_dispute(self, charge_id: str, amount: int) -> str:
        """Open a dispute that only `close_dispute` decides."""
        intent = SimulatedIntent.objects.get(charge_id=charge_id)
        dispute = ChargeToDispute(
            charge_id=charge_id,
            order_id=intent.order_id,
            amount=amount,
            currency=intent.currency,
        )
        with transaction.atomic(using="payments"):
            return open_disputes([dispute])[0]

    def close_dispute(self, dispute: str, *, won: bool) -> None:
        """Give the verdict for now. The gateway records it with the next request."""
        SimulatedDispute.objects.filter(id=dispute).update(
            decided_at=timezone.now(), verdict=DisputeStatus.WON if won else DisputeStatus.LOST
        )


def _columns(refund: SimulatedCharge | SimulatedRefund) -> dict[str, object]:
    names = ("key", "order_id", "charge_id", "amount", "currency")
    return {name: getattr(refund, name) for name in names}
