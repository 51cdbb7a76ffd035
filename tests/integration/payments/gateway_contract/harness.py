"""The harness of a gateway: how the contract suite causes each case at that gateway.

The tests call the gateway itself through its interface only. The harness does what other people
do: the customer, the customer's bank, and a person in the gateway's dashboard.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from pytest_django import Settings

from payments.gateways import get_gateway
from payments.gateways.base import ActionRequired, ChargeRequest, PaymentGateway

__all__ = ["NEEDS", "Capability", "GatewayHarness", "Method", "RefundFault"]


class Capability(StrEnum):
    """A case that a gateway may not have. Each harness declares all that its gateway has."""

    CUSTOMER_ACTION = "the customer must confirm a charge at a page"
    PROCESSING = "a charge is undecided for a time"
    LOST_ANSWER = "the answer to a charge is lost after the charge was made"
    LOST_REQUEST = "a charge is lost on its way to the gateway"
    SAVED_ERROR = "a charge is answered with an error that stays with its key; no money moved"
    SAVED_500 = "a charge is made, and answered with 500 under its key"
    AUTHORIZATION_LAPSES = "an authorization expires"
    OLD_KEYS = "the gateway forgets a key, and time can be moved on"
    CAPTURE_BY_HAND = "a person captures part of an authorization"
    REFUND_BY_HAND = "a person refunds part of a charge"
    REFUND_PENDING = "a refund is undecided for a time, then succeeds or fails"
    REFUND_BOUNCES = "a refund that had succeeded fails later"
    FAILED_REFUNDS = "refunds that failed in a window are listed, whenever they were made"
    REFUND_ERROR = "a refund is answered with an error that stays with its key; no money moved"
    PART_REFUNDS = "a part of a charge is refunded under a key of its own"
    REFUND_LOST_ANSWER = "the answer to a refund is lost after the refund was made"
    DISPUTES = "a customer disputes a charge, and the bank decides"


class Method(StrEnum):
    """The behaviour of a payment method."""

    SUCCEEDS = "succeeds"
    DECLINES = "declines"
    NEEDS_CUSTOMER = "needs the customer"
    PROCESSES = "processes"
    LOSES_ANSWER = "loses the answer"
    LOSES_REQUEST = "loses the request"
    SAVES_ERROR = "saves an error"
    ANSWERS_500 = "answers 500"


class RefundFault(StrEnum):
    """The fate of the first refund of a charge."""

    PENDING = "pending"
    BOUNCES_LATER = "bounces later"
    ERROR = "error"
    LOST_ANSWER = "lost answer"


class GatewayHarness(ABC):
    """Causes the cases of the contract at one gateway.

    `gateway` is the value of PAYMENT_GATEWAY. `lacks` names each capability that the gateway does
    not have, with the reason; it has all the others. `amounts` are chargeable amounts in minor
    units by currency, at least of `eur`.
    """

    gateway: ClassVar[str]
    lacks: ClassVar[Mapping[Capability, str]] = {}
    amounts: ClassVar[Mapping[str, int]]
    not_chargeable: ClassVar[tuple[tuple[int, str], ...]]

    @classmethod
    def has(cls, capability: Capability) -> bool:
        """Tell whether the gateway has a capability."""
        return capability not in cls.lacks

    @classmethod
    @abstractmethod
    def running(cls) -> AbstractContextManager["GatewayHarness"]:
        """Run what the gateway needs, for the tests of a module."""

    def configure(self, settings: Settings) -> None:
        """Configure payments to use the gateway."""
        settings.PAYMENT_GATEWAY = self.gateway

    def reset(self) -> None:  # noqa: B027  most gateways have nothing to remove
        """Remove armed faults after a test."""

    def client(self) -> PaymentGateway:
        """Return a new gateway."""
        return get_gateway(self.gateway)

    @abstractmethod
    def method(self, behaviour: Method) -> str:
        """Return a payment method with a behaviour."""

    @abstractmethod
    def moved_money(self, order: UUID) -> Counter[str]:
        """Return the sums of an order in the gateway's own ledger, by kind of movement."""

    def answer_customer(self, action: ActionRequired, *, consent: bool) -> None:
        """Confirm or refuse a charge, as the customer."""
        raise NotImplementedError(Capability.CUSTOMER_ACTION)

    def settle_charge(self, request: ChargeRequest, *, succeeds: bool) -> None:
        """Decide a charge that is being processed, as the customer's bank."""
        raise NotImplementedError(Capability.PROCESSING)

    def lapse_authorization(self, request: ChargeRequest) -> None:
        """Let the authorization of a charge expire."""
        raise NotImplementedError(Capability.AUTHORIZATION_LAPSES)

    def make_old(self, request: ChargeRequest) -> ChargeRequest:
        """Return a request as its worker sends it after the gateway has forgotten its key."""
        raise NotImplementedError(Capability.OLD_KEYS)

    def capture_by_hand(self, request: ChargeRequest, amount: int) -> None:
        """Capture a part of an authorization, as a person in the dashboard."""
        raise NotImplementedError(Capability.CAPTURE_BY_HAND)

    def refund_by_hand(self, charge_id: str, amount: int) -> None:
        """Refund a part of a charge, as a person in the dashboard."""
        raise NotImplementedError(Capability.REFUND_BY_HAND)

    def arm_refund(self, fault: RefundFault) -> str:
        """Prepare a fault of the next charge's first refund; return the payment method to use."""
        raise NotImplementedError(fault)

    def settle_refund(self, charge_id: str, *, succeeds: bool) -> None:
        """Decide the newest refund of a charge, as the customer's bank."""
        raise NotImplementedError(Capability.REFUND_PENDING)

    def open_dispute(self, charge_id: str, amount: int) -> str:
        """Dispute a part of a charge, as the customer; return the dispute's id."""
        raise NotImplementedError(Capability.DISPUTES)

    def close_dispute(self, dispute: str, *, won: bool) -> None:
        """Decide a dispute, as the customer's bank."""
        raise NotImplementedError(Capability.DISPUTES)


# The methods of the harness that each capability needs.
NEEDS: Mapping[Capability, tuple[str, ...]] = {
    Capability.CUSTOMER_ACTION: ("answer_customer",),
    Capability.PROCESSING: ("settle_charge",),
    Capability.AUTHORIZATION_LAPSES: ("lapse_authorization",),
    Capability.OLD_KEYS: ("make_old",),
    Capability.CAPTURE_BY_HAND: ("capture_by_hand",),
    Capability.REFUND_BY_HAND: ("refund_by_hand",),
    Capability.REFUND_PENDING: ("arm_refund", "settle_refund"),
    Capability.REFUND_BOUNCES: ("arm_refund", "settle_refund"),
    Capability.FAILED_REFUNDS: ("settle_refund",),
    Capability.REFUND_ERROR: ("arm_refund",),
    Capability.PART_REFUNDS: (),
    Capability.REFUND_LOST_ANSWER: ("arm_refund",),
    Capability.DISPUTES: ("open_dispute", "close_dispute"),
}
