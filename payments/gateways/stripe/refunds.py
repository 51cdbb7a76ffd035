"""One refund through Stripe."""

from stripe import Refund

from payments.amounts import in_words
from payments.gateways.base import Declined, Pending, RefundAnswer, Refunded, RefundRequest
from payments.gateways.stripe.account import Account
from payments.gateways.stripe.objects import metadata_of

__all__ = ["refund"]

UNFINISHED = {"pending", "requires_action"}
FAILED = {"failed", "canceled"}


def refund(account: Account, request: RefundRequest) -> RefundAnswer:
    """Refund a charge, unless its refunds already cover the amount or ours is under way.

    The charge's refunds are read first, because one may be pending, have failed, or have been made
    by hand.
    """
    existing = account.refunds_of(request.charge_id)
    succeeded = [each for each in existing if each.status == "succeeded"]
    if sum(each.amount for each in succeeded) >= request.amount:
        return Refunded(succeeded[0].id, request.amount)

    ours = next((each for each in existing if metadata_of(each, "key") == request.key), None)
    return _answer(ours or account.create_refund(request))


def _answer(refund: Refund) -> RefundAnswer:
    if refund.status in UNFINISHED:
        return Pending(f"Stripe has not finished the refund {refund.id} yet.")
    if refund.status in FAILED:
        reason = getattr(refund, "failure_reason", None) or refund.status
        amount = in_words(refund.amount, refund.currency)
        return Declined(
            "refund_failed",
            f"The Stripe refund {refund.id} of {amount} failed: {reason}. "
            "Give the money back by hand.",
        )
    return Refunded(refund.id, refund.amount)
