"""The payment methods of the simulated gateway, and how the gateway behaves for each."""

from enum import StrEnum

import msgspec

from payments.gateways.base import ChargeRequest, DisputeStatus
from payments.gateways.simulated.ledger import SimulatedIntent

__all__ = [
    "DECLINE_DETAILS",
    "DISPUTE_SECONDS",
    "METHODS",
    "NOT_CHARGEABLE",
    "UNKNOWN_METHOD",
    "Behaviour",
    "FirstRefund",
    "behaviour_of",
]

State = SimulatedIntent.State


class FirstRefund(StrEnum):
    """The fate of the first refund of a charge. The next refund succeeds."""

    SUCCEEDS = "succeeds"
    BOUNCES = "bounces"  # pending at first; the customer's bank rejects it
    ERROR = "error"  # answered with 500; the key is used up, and no money moved
    TIMES_OUT = "times_out"  # made, but its answer is lost


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """How the gateway behaves for a payment method.

    `state` is the first state of the key. `times_out`: the answer to the first request is lost.
    `always_500`: each charge is answered with 500, even after success.

    Other people may move money too. `captured_percent`: the share that a capture takes.
    `refunded_percent`: the share of the amount that is refunded by hand right after the capture.
    `dispute`: the customer disputes the charge right after the capture, and the bank decides so
    after DISPUTE_SECONDS.
    """

    state: SimulatedIntent.State = State.CAPTURED
    decline_code: str = ""
    authorization_seconds: float = 7 * 24 * 3600.0
    times_out: bool = False
    always_500: bool = False
    captured_percent: int = 100
    refunded_percent: int = 0
    dispute: DisputeStatus | None = None
    first_refund: FirstRefund = FirstRefund.SUCCEEDS

    def captured_amount(self, amount: int) -> int | None:
        """Return the part of an amount that a capture takes; None for the whole amount."""
        if self.captured_percent == 100:
            return None
        return max(1, amount * self.captured_percent // 100)


# How long a dispute is open before the bank decides.
DISPUTE_SECONDS = 3.0

METHODS = {
    "pm_card_visa": Behaviour(),
    "pm_card_chargeDeclined": Behaviour(state=State.DECLINED, decline_code="generic_decline"),
    "pm_card_chargeDeclinedInsufficientFunds": Behaviour(
        state=State.DECLINED, decline_code="insufficient_funds"
    ),
    "pm_sim_timeout_charged": Behaviour(times_out=True),
    "pm_sim_timeout_lost": Behaviour(state=State.LOST),
    "pm_sim_500_charged": Behaviour(always_500=True),
    "pm_sim_authorization_lapses": Behaviour(authorization_seconds=0.0),
    "pm_sim_partial_capture": Behaviour(captured_percent=40),
    "pm_sim_partly_refunded": Behaviour(refunded_percent=20),
    "pm_sim_refund_bounces_once": Behaviour(first_refund=FirstRefund.BOUNCES),
    "pm_sim_refund_error_once": Behaviour(first_refund=FirstRefund.ERROR),
    "pm_sim_refund_timeout_once": Behaviour(first_refund=FirstRefund.TIMES_OUT),
    "pm_sim_disputed_won": Behaviour(dispute=DisputeStatus.WON),
    "pm_sim_disputed_lost": Behaviour(dispute=DisputeStatus.LOST),
}
NOT_CHARGEABLE = Behaviour(state=State.DECLINED, decline_code="invalid_amount")
UNKNOWN_METHOD = Behaviour(state=State.DECLINED, decline_code="invalid_payment_method")

DECLINE_DETAILS = {
    "generic_decline": "The card was declined.",
    "insufficient_funds": "The card has insufficient funds.",
    "invalid_amount": "The gateway does not charge this amount in this currency.",
    "invalid_payment_method": "There is no such payment method.",
}


def behaviour_of(request: ChargeRequest) -> Behaviour:
    """Return how the gateway behaves for a charge: as its payment method says, if it exists."""
    return METHODS.get(request.payment_method, UNKNOWN_METHOD)
