"""The test cards: Stripe's own, simulated cards with faults, and other payment methods."""

from enum import StrEnum

import msgspec

from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.errors import not_found
from tools.stripe_sandbox.fault_rules import Fault
from tools.stripe_sandbox.records import PaymentMethod, new_id

__all__ = [
    "DAY",
    "GENERIC",
    "METHODS",
    "TYPES",
    "Card",
    "Decline",
    "FirstRefund",
    "attach",
    "card_of",
]

DAY = 24 * 3600


class Decline(msgspec.Struct, frozen=True):
    """The reason of a decline: Stripe's error code, its decline code if any, and the message."""

    code: str
    decline_code: str | None
    message: str


class FirstRefund(StrEnum):
    """The fate of the first refund of a charge. All others are as usual."""

    USUAL = "usual"
    BOUNCES = "bounces"  # pending at first, then failed
    ERROR = "error"  # answered with a 500, which is kept for the key, and no money moved
    TIMES_OUT = "times_out"  # made, but its answer is lost


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The behaviour of a card, or of another `type` of payment method.

    `refund` is the first and the final status of its refunds. A customer with instructions pays
    elsewhere, within `instructed_days` (0 is without end). The bank settles a `processing` payment
    after `processing_days`, or after the sandbox's own time if that is 0.

    `captured_percent`: the share that a capture takes. After the capture, `refunded_percent` is
    refunded by hand, and `dispute` is the reason of a dispute, which ends as `dispute_outcome`.
    """

    type: str = "card"

    brand: str = "visa"
    last4: str = "4242"
    funding: str = "credit"
    decline: Decline | None = None
    authenticate: bool = False
    processing: bool = False
    processing_days: float = 0
    instructions: bool = False
    instructed_days: float = 0
    refund: tuple[str, str] = ("succeeded", "succeeded")
    first_refund: FirstRefund = FirstRefund.USUAL
    authorization_seconds: int = 7 * DAY
    captured_percent: int = 100
    refunded_percent: int = 0
    dispute: str = ""
    dispute_status: str = "needs_response"
    dispute_outcome: str = ""
    fault: Fault | None = None


GENERIC = Decline("card_declined", "generic_decline", "Your card was declined.")
NO_FUNDS = Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.")
LOST_CARD = Decline("card_declined", "lost_card", "Your card was declined.")
STOLEN_CARD = Decline("card_declined", "stolen_card", "Your card was declined.")
VELOCITY = Decline(
    "card_declined", "card_velocity_exceeded", "Your card was declined: it is used too often."
)
EXPIRED = Decline("expired_card", None, "Your card has expired.")
INCORRECT_CVC = Decline("incorrect_cvc", None, "Your card's security code is incorrect.")
PROCESSING_ERROR = Decline(
    "processing_error", None, "The card could not be processed. Try again in a little while."
)

PENDING_REFUND = ("pending", "succeeded")

# Payment methods whose customer pays elsewhere, or whose bank takes days. The times are Stripe's
# defaults: https://docs.stripe.com/payments/payment-methods/payment-method-support
OTHER_TYPES = {
    "boleto": Card(type="boleto", instructions=True, instructed_days=3, refund=PENDING_REFUND),
    "oxxo": Card(type="oxxo", instructions=True, instructed_days=3, refund=PENDING_REFUND),
    "konbini": Card(
        type="konbini",
        instructions=True,
        instructed_days=3,
        # The customer must first name a bank account, on a page that Stripe's email links to.
        refund=("requires_action", "succeeded"),
    ),
    "multibanco": Card(
        type="multibanco", instructions=True, instructed_days=7, refund=PENDING_REFUND
    ),
    "bank_transfer": Card(type="customer_balance", instructions=True, refund=PENDING_REFUND),
    "wechat_pay": Card(type="wechat_pay", instructions=True, refund=PENDING_REFUND),
    "pix": Card(type="pix", instructions=True, instructed_days=1, refund=PENDING_REFUND),
    "sepa_debit": Card(
        type="sepa_debit", processing=True, processing_days=6, refund=PENDING_REFUND
    ),
    "us_bank_account": Card(
        type="us_bank_account", processing=True, processing_days=4, refund=PENDING_REFUND
    ),
}
TYPES = ["card", *(card.type for card in OTHER_TYPES.values())]

# From https://docs.stripe.com/testing. A card that Stripe renamed has both names.
METHODS = {
    "pm_card_visa": Card(),
    "pm_card_visa_debit": Card(last4="5556", funding="debit"),
    "pm_card_mastercard": Card(brand="mastercard", last4="4444"),
    "pm_card_amex": Card(brand="amex", last4="8431"),
    "pm_card_chargeDeclined": Card(last4="0002", decline=GENERIC),
    "pm_card_chargeDeclinedInsufficientFunds": Card(last4="9995", decline=NO_FUNDS),
    "pm_card_chargeDeclinedLostCard": Card(last4="9987", decline=LOST_CARD),
    "pm_card_chargeDeclinedStolenCard": Card(last4="9979", decline=STOLEN_CARD),
    "pm_card_chargeDeclinedVelocityLimitExceeded": Card(last4="6975", decline=VELOCITY),
    "pm_card_visa_chargeDeclined": Card(last4="0002", decline=GENERIC),
    "pm_card_visa_chargeDeclinedInsufficientFunds": Card(last4="9995", decline=NO_FUNDS),
    "pm_card_visa_chargeDeclinedLostCard": Card(last4="9987", decline=LOST_CARD),
    "pm_card_visa_chargeDeclinedStolenCard": Card(last4="9979", decline=STOLEN_CARD),
    "pm_card_visa_chargeDeclinedVelocityLimitExceeded": Card(last4="6975", decline=VELOCITY),
    "pm_card_chargeDeclinedExpiredCard": Card(last4="0069", decline=EXPIRED),
    "pm_card_chargeDeclinedIncorrectCvc": Card(last4="0127", decline=INCORRECT_CVC),
    "pm_card_chargeDeclinedProcessingError": Card(last4="0119", decline=PROCESSING_ERROR),
    "pm_card_authenticationRequired": Card(last4="3184", authenticate=True),
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds": Card(
        last4="1629", authenticate=True, decline=NO_FUNDS
    ),
    "pm_card_threeDSecureRequired": Card(last4="3063", authenticate=True),
    "pm_card_threeDSecure2Required": Card(last4="3220", authenticate=True),
    "pm_card_threeDSecureRequiredChargeDeclined": Card(
        last4="1629", authenticate=True, decline=GENERIC
    ),
    "pm_card_pendingRefund": Card(last4="7726", refund=("pending", "succeeded")),
    "pm_card_refundFail": Card(last4="5126", refund=("succeeded", "failed")),
    "pm_card_createDispute": Card(last4="0259", dispute="fraudulent"),
    "pm_card_createDisputeProductNotReceived": Card(last4="2685", dispute="product_not_received"),
    "pm_card_createDisputeInquiry": Card(
        last4="1976", dispute="fraudulent", dispute_status="warning_needs_response"
    ),
    # Not Stripe's: behaviour that Stripe's cards do not offer.
    "pm_sim_processing": Card(processing=True),
    **{f"pm_sim_{name}": card for name, card in OTHER_TYPES.items()},
    "pm_sim_authorization_lapses": Card(authorization_seconds=0),
    "pm_sim_partial_capture": Card(captured_percent=40),
    "pm_sim_partly_refunded": Card(refunded_percent=20),
    "pm_sim_refund_bounces_once": Card(first_refund=FirstRefund.BOUNCES),
    "pm_sim_refund_error_once": Card(first_refund=FirstRefund.ERROR),
    "pm_sim_refund_timeout_once": Card(first_refund=FirstRefund.TIMES_OUT),
    "pm_sim_disputed_won": Card(dispute="fraudulent", dispute_outcome="succeeded"),
    "pm_sim_disputed_lost": Card(dispute="fraudulent", dispute_outcome="failed"),
    "pm_sim_timeout_charged": Card(fault=Fault.TIMEOUT_DONE),
    "pm_sim_timeout_lost": Card(fault=Fault.TIMEOUT_LOST),
    "pm_sim_500_charged": Card(fault=Fault.ERROR_DONE),
}


def attach(call: Call, name: str) -> PaymentMethod:
    """Return the payment method with that id, or create one if `name` is a test card.

    Raises a 400 error `resource_missing` for an unknown name.
    """
    if name not in METHODS:
        known = call.store.find(PaymentMethod, name)
        if known is None:
            raise not_found("PaymentMethod", name, param="payment_method", status=400)

        return known

    method = PaymentMethod(id=new_id("pm"), created=call.now, name=name)
    call.store.add(method)
    return method


def card_of(method: PaymentMethod) -> Card:
    """Return the card of a payment method."""
    return METHODS[method.name]
