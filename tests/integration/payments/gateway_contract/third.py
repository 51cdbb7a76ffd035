"""The contract's harness of the gateway that only its dotted path makes known."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar
from uuid import UUID

from payments.gateways.base import ChargeRequest
from tests.integration.payments.gateway_contract.harness import (
    Capability,
    GatewayHarness,
    Method,
)
from tests.integration.payments.gateway_contract.ledger_gateway import BANK, Charge, LedgerGateway

__all__ = ["ThirdHarness"]

METHODS = {
    Method.SUCCEEDS: "pm_ok",
    Method.DECLINES: "pm_declined",
    Method.LOSES_ANSWER: "pm_lost_answer",
}


class ThirdHarness(GatewayHarness):
    """Acts in the memory of the third gateway's bank."""

    gateway = f"{LedgerGateway.__module__}.{LedgerGateway.__name__}"
    lacks: ClassVar[Mapping[Capability, str]] = {
        Capability.CUSTOMER_ACTION: "The bank decides without the customer.",
        Capability.PROCESSING: "The bank decides at once.",
        Capability.LOST_REQUEST: "A request does not travel, so none is lost.",
        Capability.SAVED_ERROR: "The bank saves no error.",
        Capability.SAVED_500: "The bank saves no error.",
        Capability.AUTHORIZATION_LAPSES: "An authorization is released by a void only.",
        Capability.OLD_KEYS: "The bank keeps every key.",
        Capability.REFUND_PENDING: "The bank decides refunds at once.",
        Capability.REFUND_BOUNCES: "No refund of the bank fails.",
        Capability.FAILED_REFUNDS: "No refund of the bank fails.",
        Capability.REFUND_ERROR: "No refund of the bank fails.",
        Capability.REFUND_LOST_ANSWER: "The bank answers each refund.",
    }
    amounts: ClassVar[Mapping[str, int]] = {"eur": 1250, "jpy": 500, "kwd": 12_345}
    not_chargeable = ((0, "eur"), (10_000_001, "eur"), (1250, "isk"))

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[GatewayHarness]:
        """Open the bank anew, with an empty ledger."""
        BANK.clear()
        yield cls()

    def method(self, behaviour: Method) -> str:
        """Return the bank's payment method."""
        return METHODS[behaviour]

    def moved_money(self, order: UUID) -> Counter[str]:
        """Sum the bank's lines."""
        moved: Counter[str] = Counter()
        for line in BANK.lines_of(order):
            moved[line.kind] += line.amount
        return moved

    def capture_by_hand(self, request: ChargeRequest, amount: int) -> None:
        """Capture a part of an authorization."""
        BANK.capture(BANK.charges[request.key], amount)

    def refund_by_hand(self, charge_id: str, amount: int) -> None:
        """Refund without a key."""
        BANK.refund(_charge(charge_id), amount)

    def open_dispute(self, charge_id: str, amount: int) -> str:
        """Withdraw the amount."""
        return BANK.open_dispute(_charge(charge_id), amount)

    def close_dispute(self, dispute: str, *, won: bool) -> None:
        """Decide at once."""
        BANK.close_dispute(dispute, won=won)


def _charge(charge_id: str) -> Charge:
    charge = BANK.find(charge_id)
    assert charge is not None
    return charge
