"""The contract's harness of Stripe's client, against a sandbox in a process of its own."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, ClassVar
from uuid import UUID

from msgspec.structs import replace
from pytest_django import Settings

from payments.gateways.base import ActionRequired, ChargeRequest
from payments.gateways.stripe.account import http
from tests.integration.payments.gateway_contract.harness import (
    Capability,
    GatewayHarness,
    Method,
    RefundFault,
)
from tests.integration.payments.stripe_harness import confirm, use_stripe
from tests.sandbox.process import Sandbox, running

__all__ = ["StripeHarness"]

CARDS = {
    Method.DECLINES: "pm_card_chargeDeclined",
    Method.NEEDS_CUSTOMER: "pm_card_authenticationRequired",
    Method.PROCESSES: "pm_sim_processing",
    Method.ANSWERS_500: "pm_sim_500_charged",
}
FAULTS = {
    Method.LOSES_ANSWER: ("confirm", "reset_done"),
    Method.LOSES_REQUEST: ("confirm", "reset_lost"),
    Method.SAVES_ERROR: ("create", "500_saved"),
}

REFUND_CARDS = {
    RefundFault.PENDING: "pm_card_pendingRefund",
    RefundFault.BOUNCES_LATER: "pm_card_refundFail",
}
REFUND_FAULTS = {RefundFault.ERROR: "500_saved", RefundFault.LOST_ANSWER: "500_done"}

# Stripe's units in minor units of ISO 4217, where they differ: https://docs.stripe.com/currencies
UNITS = {"isk": Fraction(1, 100), "ugx": Fraction(1, 100), "mga": Fraction(100)}

KEYS_FORGOTTEN_AFTER = timedelta(hours=25)
AUTHORIZATION_LASTS = timedelta(days=8)


class StripeHarness(GatewayHarness):
    """Acts through the sandbox's control API."""

    gateway = "stripe"
    lacks: ClassVar[Mapping[Capability, str]] = {}
    amounts: ClassVar[Mapping[str, int]] = {
        "eur": 1250,
        "jpy": 500,
        "isk": 5000,
        "ugx": 50_000,
        "mga": 125_000,
        "kwd": 12_340,
    }
    not_chargeable = (
        (0, "eur"),
        (49, "eur"),
        (100_000_000, "eur"),
        (12_345, "kwd"),
        (125_050, "mga"),
        (1250, "xxx"),
        (1250, "irr"),
    )

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[GatewayHarness]:
        """Run a sandbox. Its payments settle only on request."""
        with running("--settle-seconds", str(10**9)) as sandbox:
            yield cls(sandbox)
            http(sandbox.url).close()

    def configure(self, settings: Settings) -> None:
        """Use the sandbox."""
        use_stripe(settings, self.sandbox)

    def reset(self) -> None:
        """Remove the faults."""
        self.sandbox.http.delete("/sandbox/faults").raise_for_status()

    def method(self, behaviour: Method) -> str:
        """Return a card, and add a fault where Stripe has no such card."""
        if behaviour in FAULTS:
            operation, fault = FAULTS[behaviour]
            self.sandbox.fault(f"payment_intents.{operation}", fault)
        return CARDS.get(behaviour, "pm_card_visa")

    def moved_money(self, order: UUID) -> Counter[str]:
        """Sum the entries of the sandbox's ledger, in minor units of ISO 4217."""
        moved: Counter[str] = Counter()
        for entry in self.sandbox.ledger():
            is_refund_without_money = entry["kind"] == "refund" and entry["status"] != "succeeded"
            if entry["order_id"] == str(order) and not is_refund_without_money:
                amount = entry["amount"] * UNITS.get(entry["currency"], Fraction(1))
                assert amount.denominator == 1
                moved[entry["kind"]] += amount.numerator
        return moved

    def answer_customer(self, action: ActionRequired, *, consent: bool) -> None:
        """Answer on the bank's page."""
        confirm(self.sandbox, action.url, consent=consent)

    def settle_charge(self, request: ChargeRequest, *, succeeds: bool) -> None:
        """Settle the payment intent."""
        self._settle(self._intent(request), succeeds=succeeds)

    def lapse_authorization(self, request: ChargeRequest) -> None:
        """Move the sandbox's clock to after the authorization."""
        self._advance(AUTHORIZATION_LASTS)

    def make_old(self, request: ChargeRequest) -> ChargeRequest:
        """Move the sandbox's clock, and let the order be older."""
        self._advance(KEYS_FORGOTTEN_AFTER)
        return replace(request, opened_at=datetime.now(UTC) - KEYS_FORGOTTEN_AFTER)

    def capture_by_hand(self, request: ChargeRequest, amount: int) -> None:
        """Capture in the dashboard."""
        self.sandbox.control(
            "dashboard/captures", payment_intent=self._intent(request), amount=amount
        )

    def refund_by_hand(self, charge_id: str, amount: int) -> None:
        """Refund in the dashboard."""
        self.sandbox.control("dashboard/refunds", charge=charge_id, amount=amount)

    def arm_refund(self, fault: RefundFault) -> str:
        """Return a card, and add a fault where Stripe has no such card."""
        if rule := REFUND_FAULTS.get(fault):
            self.sandbox.fault("refunds.create", rule)
        return REFUND_CARDS.get(fault, "pm_card_visa")

    def settle_refund(self, charge_id: str, *, succeeds: bool) -> None:
        """Settle the newest refund."""
        (refund,) = self.sandbox.client.v1.refunds.list({"charge": charge_id, "limit": 1}).data
        self._settle(refund.id, succeeds=succeeds)

    def open_dispute(self, charge_id: str, amount: int) -> str:
        """Dispute the charge at the customer's bank."""
        dispute: Any = self.sandbox.control("dashboard/disputes", charge=charge_id, amount=amount)
        return str(dispute["id"])

    def close_dispute(self, dispute: str, *, won: bool) -> None:
        """Let the customer's bank decide."""
        self.sandbox.control(f"dashboard/disputes/{dispute}", status="won" if won else "lost")

    def _intent(self, request: ChargeRequest) -> str:
        found = self.sandbox.client.v1.payment_intents.search(
            {"query": f"metadata['key']:'{request.key}'"}
        )
        (intent,) = found.data
        return intent.id

    def _settle(self, id_: str, *, succeeds: bool) -> None:
        self.sandbox.control(f"settle/{id_}", outcome="succeeded" if succeeds else "failed")

    def _advance(self, time: timedelta) -> None:
        self.sandbox.control("clock", advance=int(time.total_seconds()))
