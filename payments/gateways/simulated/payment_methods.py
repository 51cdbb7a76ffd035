"""The payment methods of the simulated gateway, and how the gateway behaves for each."""

import msgspec

from payments.gateways.simulated.ledger import SimulatedIntent

__all__ = ["DECLINE_DETAILS", "METHODS", "UNKNOWN_METHOD", "Behaviour"]

State = SimulatedIntent.State


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """How the gateway behaves for a payment method.

    `state` is the first state of the key. `times_out`: the answer to the first request is lost.
    `always_500`: each charge is answered with 500, even after success.
    """

    state: SimulatedIntent.State = State.CAPTURED
    decline_code: str = ""
    authorization_seconds: float = 7 * 24 * 3600.0
    times_out: bool = False
    always_500: bool = False


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
}
UNKNOWN_METHOD = Behaviour(state=State.DECLINED, decline_code="invalid_payment_method")

DECLINE_DETAILS = {
    "generic_decline": "The card was declined.",
    "insufficient_funds": "The card has insufficient funds.",
    "invalid_payment_method": "There is no such payment method.",
}
