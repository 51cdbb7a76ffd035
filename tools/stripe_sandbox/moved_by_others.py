"""The test cards whose money other people move right after the capture."""

from tools.stripe_sandbox import disputes, refunds
from tools.stripe_sandbox.call import Call
from tools.stripe_sandbox.cards import Card
from tools.stripe_sandbox.currencies import round_down
from tools.stripe_sandbox.records import Charge
from tools.stripe_sandbox.settlement_queue import settle_later

__all__ = ["after_capture"]


def after_capture(call: Call, charge: Charge, card: Card) -> None:
    """Refund or dispute a captured charge by hand, if its card demands it."""
    if card.refunded_percent:
        share = charge.amount_captured * card.refunded_percent // 100
        refunds.refund(call, charge, round_down(share, charge.currency))

    if card.dispute:
        dispute = disputes.open_dispute(
            call, charge, amount=None, reason=card.dispute, status=card.dispute_status
        )
        if card.dispute_outcome:
            settle_later(call.store, dispute.id, card.dispute_outcome)
