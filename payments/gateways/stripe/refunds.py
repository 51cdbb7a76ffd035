"""One refund through Stripe: the rest of a charge goes back to its customer."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import stripe
from stripe import Refund

from payments.gateways.base import (
    ChargeBalance,
    Declined,
    Dispute,
    DisputeStatus,
    PartRefundRequest,
    Pending,
    RefundAnswer,
    Refunded,
    RefundRequest,
    Unanswered,
)
from payments.gateways.refund_keys import numbered
from payments.gateways.stripe import balances
from payments.gateways.stripe.account import Account, NoAnswer
from payments.gateways.stripe.balances import FAILED, UNFINISHED, ChargeMoney
from payments.gateways.stripe.currencies import from_stripe
from payments.gateways.stripe.error_meanings import answer_to_error, in_words, is_replayed
from payments.gateways.stripe.objects import is_replayed as is_replayed_answer
from payments.gateways.stripe.objects import metadata_of, time_of
from sagas.currencies import with_currency

__all__ = [
    "AnyRequest",
    "failed_ours",
    "failure",
    "last_reference",
    "pausing",
    "refund",
    "sum_of",
    "waiting_for_dispute",
    "waiting_for_refund",
]

AnyRequest: TypeAlias = RefundRequest | PartRefundRequest

# The first failed refund is followed by another one at once. Later ones wait, twice as long each
# time, because a closed account fails every refund.
FIRST_PAUSE = timedelta(minutes=10)
LONGEST_PAUSE = timedelta(hours=24)

# A customer's bank takes up to ten business days: https://docs.stripe.com/refunds
REFUND_TAKES = timedelta(days=14)

# The customer's bank decides within 75 days after the evidence:
# https://docs.stripe.com/disputes/how-disputes-work
DECISION_TAKES = timedelta(days=75)
EVIDENCE_TAKES = timedelta(days=21)

# Errors that tell that the charge's money has moved since it was read.
MOVED = {"charge_already_refunded", "charge_disputed"}

# Stripe's available balance does not cover the refund: https://docs.stripe.com/error-codes
TOO_LITTLE_BALANCE = {"balance_insufficient", "insufficient_funds"}


def refund(account: Account, request: RefundRequest) -> RefundAnswer:
    """Give back the rest of a charge, unless its refunds and disputes cover it or will do so.

    The charge is read first, because money may have moved by hand.
    """
    money = balances.read(account, request.charge_id)
    if not money.is_captured:
        raise NoAnswer(
            f"Stripe has not captured the charge {request.charge_id}, so it cannot be refunded. "
            "Look it up in Stripe's dashboard."
        )
    return _answer(money, request) or _refund_rest(account, money, request)


def _answer(money: ChargeMoney, request: RefundRequest) -> RefundAnswer | None:
    """Return the answer for a charge that needs no other refund now; None if it needs one."""
    balance, wanted = money.balance, _wanted(money.balance, request)
    lost = sum_of(balance, DisputeStatus.LOST)
    if balance.refunded + lost >= wanted:
        return Refunded(last_reference(money), balance.refunded, lost)

    is_open = [each for each in balance.disputes if each.status is DisputeStatus.OPEN]
    if is_open:
        return waiting_for_dispute(is_open[0], request)
    if _rest(balance, request) <= 0:
        return waiting_for_refund(money.refunds)
    return pausing(money, request)


def _refund_rest(account: Account, money: ChargeMoney, request: RefundRequest) -> RefundAnswer:
    """Refund the rest under the first key that is not used up."""
    failed = {each.id for each in failed_ours(money, request)}

    for key in _keys(request.key, number=len(failed) + 1):
        try:
            made = account.create_refund(request, key, _rest(money.balance, request))
        except stripe.StripeError as error:
            if not (is_replayed(error) or isinstance(error, stripe.IdempotencyError)):
                return _answer_to_refusal(account, request, error)
            # A replayed error does not tell whether the refund was made.
            money = balances.read(account, request.charge_id)
            if answer := _answer(money, request):
                return answer
            continue

        if made.id not in failed:
            return _answer_to_refund(account, money, request, made)

    raise NoAnswer(
        f"Stripe repeats earlier failures for the keys of refund {request.key}. "
        "The refund is tried again under a new key in a minute."
    )


def _keys(key: str, *, number: int) -> Iterator[str]:
    """Yield the keys to try: the one of this number, then the one of this minute.

    Each failed refund raises the number, for all workers alike. A key may replay an error that is
    over, as while Stripe's balance was too low, so each minute has a key of its own. Two workers
    with different keys cannot refund too much, because Stripe refuses more than the charge has
    left.
    """
    first = numbered(key, number)
    yield first
    yield f"{first}-{int(datetime.now(UTC).timestamp() // 60)}"


def _answer_to_refund(
    account: Account, money: ChargeMoney, request: RefundRequest, made: Refund
) -> RefundAnswer:
    if is_replayed_answer(made):
        made = account.refund(made.id)
    if made.status in FAILED:
        return failure(made, datetime.now(UTC))

    others = [each for each in money.refunds if each.id != made.id]
    after = ChargeMoney(money.charge, [made, *others], money.disputes)
    answer = _answer(after, request)
    return answer or Pending(f"Stripe made the refund {made.id}; the rest is refunded next.")


def _answer_to_refusal(
    account: Account, request: RefundRequest, error: stripe.StripeError
) -> RefundAnswer:
    """Return the answer to a new error. No refusal is final, because the customer's money stays."""
    amount = with_currency(request.amount, request.currency)
    if error.code in TOO_LITTLE_BALANCE:
        return Unanswered(
            f"Stripe's balance does not cover the refund of {amount}. Add funds to the balance in "
            "Stripe's dashboard. The refund is tried again."
        )
    if error.code in MOVED or getattr(error, "param", None) == "amount":
        answer = _answer(balances.read(account, request.charge_id), request)
        return answer or Unanswered(
            f"Stripe refuses to refund {amount} of the charge {request.charge_id}, because it has "
            f"less left. The charge is read again. {in_words(error)}"
        )

    meaning = answer_to_error(error)
    if isinstance(meaning, Unanswered):
        return meaning
    return Unanswered(f"Stripe refuses the refund of {amount}: {in_words(error)}")


def _wanted(balance: ChargeBalance, request: RefundRequest) -> int:
    return min(request.amount, balance.captured)


def _rest(balance: ChargeBalance, request: RefundRequest) -> int:
    given_back = balance.refunded + balance.refund_pending + balance.disputed
    return _wanted(balance, request) - given_back


def sum_of(balance: ChargeBalance, status: DisputeStatus) -> int:
    """Return the amount of the disputes with a status."""
    return sum(each.amount for each in balance.disputes if each.status is status)


def last_reference(money: ChargeMoney) -> str:
    """Return the id of the last refund or lost dispute; empty if there is none."""
    succeeded = [each.id for each in money.refunds if each.status == "succeeded"]
    lost = [each.id for each in money.balance.disputes if each.status is DisputeStatus.LOST]
    return next(iter(succeeded + lost), "")


def failed_ours(money: ChargeMoney, request: AnyRequest) -> list[Refund]:
    """Return the refunds under the request's key that have failed."""
    return [
        each
        for each in money.refunds
        if each.status in FAILED and metadata_of(each, "key") == request.key
    ]


def pausing(money: ChargeMoney, request: AnyRequest) -> Declined | None:
    """Return a decline until the pause after the last failed refund is over."""
    failed = failed_ours(money, request)
    if len(failed) < 2:
        return None

    last = max(failed, key=lambda each: each.created)
    doublings = min(len(failed) - 2, 10)
    next_at = time_of(last.created) + min(FIRST_PAUSE * 2**doublings, LONGEST_PAUSE)
    return failure(last, next_at) if datetime.now(UTC) < next_at else None


def failure(failed: Refund, next_at: datetime) -> Declined:
    """Return the decline for a refund that failed at the bank."""
    reason = getattr(failed, "failure_reason", None) or failed.status
    amount = with_currency(from_stripe(failed.amount, failed.currency), failed.currency)
    return Declined(
        "refund_failed",
        f"The Stripe refund {failed.id} of {amount} failed: {reason}. Another refund is tried "
        f"after {next_at:%Y-%m-%d %H:%M} UTC. Or refund it in Stripe's dashboard.",
    )


def waiting_for_dispute(dispute: Dispute, request: AnyRequest) -> Pending:
    """Return the wait for the decision of an open dispute."""
    amount = with_currency(dispute.amount, request.currency)
    evidence_until = dispute.respond_by or dispute.opened_at + EVIDENCE_TAKES
    return Pending(
        f"The refund waits for the dispute {dispute.id} of {amount}, which has withdrawn the "
        "money. If the dispute is lost, the customer has the money; if it is won, the refund goes "
        "on.",
        evidence_until + DECISION_TAKES,
    )


def waiting_for_refund(refunds: Sequence[Refund]) -> Pending:
    """Return the wait for the first unfinished refund of some."""
    waiting = next(each for each in refunds if each.status in UNFINISHED)
    details = getattr(getattr(waiting, "next_action", None), "display_details", None)
    expires_at = getattr(details, "expires_at", None)
    expected_at = time_of(expires_at) if expires_at else time_of(waiting.created) + REFUND_TAKES

    reason = f"Stripe has not finished the refund {waiting.id} yet."
    if waiting.status == "requires_action":
        reason += " The customer has to give a bank account, for which Stripe sent an e-mail."
    elif getattr(waiting, "pending_reason", None) == "insufficient_funds":
        reason += " Stripe's balance does not cover it: add funds in Stripe's dashboard."
    return Pending(reason, expected_at)
