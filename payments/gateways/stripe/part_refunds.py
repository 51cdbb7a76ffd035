"""One refund of a part of a charge through Stripe.

Unlike a refund of the whole rest, Stripe's own limit does not protect a part from being given back
twice. So the keys of a part follow each other strictly. A worker uses the next one only after the
one before has failed for good, or keeps an error. Then no other worker can move money under it.
"""

from typing import TypeVar

import stripe
from msgspec.structs import replace
from stripe import Refund

from payments.gateways.base import (
    Declined,
    DisputeStatus,
    KeySpent,
    PartRefundAnswer,
    PartRefunded,
    PartRefundRequest,
    PartSoFar,
    Pending,
    Unanswered,
)
from payments.gateways.refund_keys import numbered
from payments.gateways.stripe import balances
from payments.gateways.stripe.account import Account, NoAnswer
from payments.gateways.stripe.balances import FAILED, UNFINISHED, ChargeMoney
from payments.gateways.stripe.currencies import from_stripe, is_refundable
from payments.gateways.stripe.error_meanings import answer_to_error, in_words, is_replayed
from payments.gateways.stripe.objects import is_replayed as is_replayed_answer
from payments.gateways.stripe.objects import metadata_of
from payments.gateways.stripe.refunds import (
    failed_ours,
    last_reference,
    pausing,
    sum_of,
    waiting_for_dispute,
    waiting_for_refund,
)
from sagas.currencies import with_currency

__all__ = ["refund_part"]

NotFinal = TypeVar("NotFinal", bound=Pending | Declined | KeySpent)


def refund_part(account: Account, request: PartRefundRequest) -> PartRefundAnswer:
    """Give back a part of a charge, unless its refunds cover it or will do so.

    The charge is read first. Stripe's list of refunds is complete at once, so it also has a refund
    whose key Stripe has forgotten.
    """
    money = balances.read(account, request.charge_id)
    if not money.is_captured:
        raise NoAnswer(
            f"Stripe has not captured the charge {request.charge_id}, so no part of it can be "
            "refunded. Look it up in Stripe's dashboard."
        )
    return _answer(money, request) or _make(account, money, request)


def _answer(money: ChargeMoney, request: PartRefundRequest) -> PartRefundAnswer | None:
    """Return the answer for a part that needs no refund now; None if it needs one."""
    is_whole = _left(money) <= 0
    if is_whole or _given_back(_refunds_of(money, request)) >= request.amount:
        return _refunded(money, request)
    answer = _waiting(money, request)
    return answer and _with_part(answer, money, request)


def _waiting(money: ChargeMoney, request: PartRefundRequest) -> Pending | Declined | None:
    """Return the wait of a part that is not given back; None if it needs another refund now."""
    own, balance = _refunds_of(money, request), money.balance
    is_open = [each for each in balance.disputes if each.status is DisputeStatus.OPEN]
    if is_open:
        return waiting_for_dispute(is_open[0], request)
    if any(each.status in UNFINISHED for each in own):
        return waiting_for_refund(own)
    if _rest(money, request) <= 0:
        return waiting_for_refund(money.refunds)
    return pausing(money, request)


def _make(account: Account, money: ChargeMoney, request: PartRefundRequest) -> PartRefundAnswer:
    rest = _rest(money, request)
    if not is_refundable(rest, request.currency):
        declined = Declined(
            "invalid_amount",
            f"Stripe cannot refund {with_currency(rest, request.currency)}, because it has no such "
            "amount. Pay it in another way, and mark the step as done.",
        )
        return _with_part(declined, money, request)
    try:
        made = account.create_refund(request, _key(money, request, rest), rest)
    except stripe.StripeError as error:
        return _answer_to_error(account, request, error)

    if is_replayed_answer(made) or made.status in FAILED:
        return _answer_after(account, request, made)
    others = [each for each in money.refunds if each.id != made.id]
    after = ChargeMoney(money.charge, [made, *others], money.disputes)
    next_one = Pending(f"Stripe made the refund {made.id}; the rest is refunded next.")
    return _answer(after, request) or _with_part(next_one, after, request)


def _answer_after(account: Account, request: PartRefundRequest, made: Refund) -> PartRefundAnswer:
    """Read the charge again, because a repeated answer tells the past."""
    money = balances.read(account, request.charge_id)
    failed = Declined(
        "refund_failed", f"The Stripe refund {made.id} failed. Another refund follows at once."
    )
    return _answer(money, request) or _with_part(failed, money, request)


def _answer_to_error(
    account: Account, request: PartRefundRequest, error: stripe.StripeError
) -> PartRefundAnswer:
    """Return the answer to an error. No refusal is final, because the customer's money stays.

    A repeated error does not tell whether the refund was made, and a refusal may mean that money
    has moved since the charge was read. So it is read again.
    """
    if is_replayed(error) or isinstance(error, stripe.InvalidRequestError):
        money = balances.read(account, request.charge_id)
        answer = _answer(money, request)
        if answer:
            return answer
        if is_replayed(error):
            return _with_part(_key_spent(request, error), money, request)

    meaning = answer_to_error(error)
    if isinstance(meaning, Unanswered):
        return meaning
    amount = with_currency(request.amount, request.currency)
    return Unanswered(f"Stripe refuses the refund of {amount}: {in_words(error)}")


def _key_spent(request: PartRefundRequest, error: stripe.StripeError) -> KeySpent:
    return KeySpent(
        f"Stripe repeats an earlier error for the key of refund {request.key}. The refund is "
        f"tried again under its next key. {in_words(error)}",
        request.key_number,
    )


def _key(money: ChargeMoney, request: PartRefundRequest, rest: int) -> str:
    """Return the key of the next refund. A key belongs to one amount.

    Only the rest of the charge limits `rest`, so Stripe refuses a second refund beyond it.
    """
    number = request.key_number + len(failed_ours(money, request))
    key = numbered(request.key, number)
    return key if rest == request.amount else f"{key}-of-{rest}"


def _refunds_of(money: ChargeMoney, request: PartRefundRequest) -> list[Refund]:
    return [each for each in money.refunds if metadata_of(each, "key") == request.key]


def _given_back(refunds: list[Refund]) -> int:
    succeeded = (each for each in refunds if each.status == "succeeded")
    return sum(from_stripe(each.amount, each.currency) for each in succeeded)


def _rest(money: ChargeMoney, request: PartRefundRequest) -> int:
    missing = request.amount - _given_back(_refunds_of(money, request))
    return min(missing, money.balance.remaining)


def _left(money: ChargeMoney) -> int:
    """Return the captured amount that the customer does not have back."""
    balance = money.balance
    return balance.captured - balance.refunded - sum_of(balance, DisputeStatus.LOST)


def _with_part(answer: NotFinal, money: ChargeMoney, request: PartRefundRequest) -> NotFinal:
    """Add the money of the part that is back."""
    given_back = _given_back(_refunds_of(money, request))
    part = PartSoFar.of(request.amount, given_back=given_back, left=_left(money))
    return replace(answer, part=part)


def _refunded(money: ChargeMoney, request: PartRefundRequest) -> PartRefunded:
    own = _refunds_of(money, request)
    last = next((each.id for each in own if each.status == "succeeded"), "")
    return PartRefunded(
        refund_id=last or last_reference(money),
        amount=_given_back(own),
        total=money.balance.refunded,
        disputed=sum_of(money.balance, DisputeStatus.LOST),
    )
