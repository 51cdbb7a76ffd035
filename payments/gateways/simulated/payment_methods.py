"""How each payment method of the simulated gateway behaves: well, or badly in one of the ways
that real ones do.
"""

import msgspec

from payments.gateways.simulated.ledger import SimulatedIntent

__all__ = ["DETAILS", "METHODS", "UNKNOWN_METHOD", "Script"]

State = SimulatedIntent.State


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """How a payment method behaves: what becomes of its key at first, and which answers are lost.

    `held`: seconds for which an authorization lasts.
    """

    state: SimulatedIntent.State = State.CAPTURED
    decline_code: str = ""
    held: float = 7 * 24 * 3600.0
    times_out: bool = False
    always_500: bool = False


METHODS = {
    "pm_card_visa": Script(),
    "pm_card_chargeDeclined": Script(state=State.DECLINED, decline_code="generic_decline"),
    "pm_card_chargeDeclinedInsufficientFunds": Script(
        state=State.DECLINED, decline_code="insufficient_funds"
    ),
    "pm_sim_timeout_charged": Script(times_out=True),
    "pm_sim_timeout_lost": Script(state=State.LOST),
    "pm_sim_500_charged": Script(always_500=True),
    "pm_sim_authorization_lapses": Script(held=0.0),
}
UNKNOWN_METHOD = Script(state=State.DECLINED, decline_code="invalid_payment_method")
DETAILS = {
    "generic_decline": "The card was declined.",
    "insufficient_funds": "The card has insufficient funds.",
    "invalid_payment_method": "There is no such payment method.",
}
