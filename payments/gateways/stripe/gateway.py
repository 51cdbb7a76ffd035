"""Charging through Stripe. A charge is an intent: created under the charge's key, which moves
nothing, then confirmed.

An authorization is confirmed with manual capture, and captured later.

So the fence is to create under the same key and cancel: whoever comes later, however late, gets the
cancelled intent. What became of a key is asked under the key itself; only where it has nothing to
say, or Stripe has forgotten it, is the intent looked for by the key in its metadata. Two intents
for one charge are never made.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar, cast
from uuid import UUID

import stripe
from stripe import Charge, PaymentIntent, Refund

from payments.gateways.base import (
    Absent,
    ActionRequired,
    Authorized,
    Captured,
    ChargeAnswer,
    ChargeRequest,
    Declined,
    FindAnswer,
    Movement,
    PaymentGateway,
    Pending,
    RefundAnswer,
    Refunded,
    RefundRequest,
    StatementUnavailable,
    Unanswered,
    Voided,
    refuse_open_transactions,
)
from payments.gateways.stripe.account import AT_ONCE, BUDGET, CONNECT, READ, Account, NoAnswer
from payments.gateways.stripe.error_meanings import declined, meaning_of
from payments.gateways.stripe.intents import capture, confirm, intent_of, written_on

__all__ = ["StripeGateway"]

logger = logging.getLogger(__name__)

# https://docs.stripe.com/payments/place-a-hold-on-a-payment-method#authorization-validity-windows
HELD_AT_LEAST = timedelta(days=4, hours=18)

OPEN_REFUNDS = {"pending", "requires_action"}
FAILED_REFUNDS = {"failed", "canceled"}

R = TypeVar("R")
A = TypeVar("A")


class StripeGateway(PaymentGateway):
    """Charges through Stripe. One of it serves one step: it begins no request after `budget`
    seconds.
    """

    def __init__(self, budget: float = BUDGET) -> None:
        self.until = time.monotonic() + budget

    def charge(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Create and confirm."""
        return self._ask(partial(_charge, capture_later=False), requests)

    def authorize(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Create, and confirm with manual capture."""
        return self._ask(partial(_charge, capture_later=True), requests)

    def capture(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Capture what requires it; cancel what never came so far."""
        return self._ask(_capture, requests)

    def find(self, requests: Sequence[ChargeRequest]) -> list[FindAnswer]:
        """Look up what became of each key. At worst it leaves an intent behind that nobody has
        confirmed.
        """
        return self._ask(_find, requests)

    def void(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Create and cancel."""
        return self._ask(_void, requests)

    def refund(self, requests: Sequence[RefundRequest]) -> list[RefundAnswer]:
        """Refund what is not refunded yet, and say how far that has come."""
        return self._ask(_refund, requests)

    def statement(self, since: datetime, until: datetime) -> Iterator[Movement]:
        """Yield the charges and refunds of a window that have moved money. It may take long, and
        has no limit.
        """
        refuse_open_transactions()
        account = Account(math.inf)
        try:
            for charge in account.charges(since, until):
                if charge.captured and charge.status == "succeeded":
                    yield _movement("capture", charge, charge.id, charge.amount_captured)
            for refund in account.refunds(since, until):
                if refund.status == "succeeded":
                    yield _movement("refund", refund, _id_of(refund.charge), refund.amount)
        except stripe.StripeError as error:
            raise StatementUnavailable(str(meaning_of(error))) from error

    def _ask(self, one: Callable[[Account, R], A], requests: Sequence[R]) -> list[A | Unanswered]:
        """Ask for all, many at once. Whatever goes wrong with one is its answer.

        A thread that a server keeps busy byte by byte, beyond every limit, is left to itself.
        """
        refuse_open_transactions()
        account = Account(self.until)
        threads = ThreadPoolExecutor(min(AT_ONCE, len(requests) or 1), thread_name_prefix="stripe")
        try:
            asked: list[Future[A | Unanswered]] = [
                threads.submit(_answered, one, account, request) for request in requests
            ]
            wait(asked, timeout=max(0.0, self.until - time.monotonic()) + CONNECT + READ)
            return [
                future.result() if future.done() else Unanswered("Stripe took too long.")
                for future in asked
            ]
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def _answered(one: Callable[[Account, R], A], account: Account, request: R) -> A | Unanswered:
    try:
        return _understood(one, account, request)
    except NoAnswer as error:
        return Unanswered(str(error))
    except Exception as error:  # that of one must not become that of all
        logger.exception("Asking Stripe for %s raised", getattr(request, "key", request))
        return Unanswered(repr(error))


def _understood(one: Callable[[Account, R], A], account: Account, request: R) -> A | Unanswered:
    try:
        return one(account, request)
    except stripe.StripeError as error:
        answer: Any = meaning_of(error)  # which may be a decline: whatever is asked can be declined
        return cast("A", answer)


def _charge(account: Account, request: ChargeRequest, *, capture_later: bool) -> ChargeAnswer:
    intent = intent_of(account, request)
    if intent is None:
        return Voided()
    if intent.status != "requires_confirmation":
        return _answer_to_charge(account, intent)
    return _unless_declined(
        account, intent, lambda: confirm(account, intent, request.key, capture_later=capture_later)
    )


def _capture(account: Account, request: ChargeRequest) -> ChargeAnswer:
    intent = intent_of(account, request)
    if intent is None:
        return Voided()
    if intent.status == "requires_confirmation":  # never authorized, and it must not be now
        return _barred(account, intent.id, Voided())
    if intent.status != "requires_capture":
        return _answer_to_charge(account, intent)
    return _unless_declined(account, intent, lambda: capture(account, intent, request.key))


def _unless_declined(
    account: Account, intent: PaymentIntent, act: Callable[[], PaymentIntent]
) -> ChargeAnswer:
    """Act on an intent, and say what came of it; one that is declined is barred for every other
    try.
    """
    try:
        return _answer_to_charge(account, act())
    except stripe.CardError as error:
        no = meaning_of(error)
        return _barred(account, intent.id, no) if isinstance(no, Declined) else no


def _find(account: Account, request: ChargeRequest) -> FindAnswer:
    intent = intent_of(account, request)
    if intent is None:
        return Voided()
    return (
        Absent() if intent.status == "requires_confirmation" else _answer_to_charge(account, intent)
    )


def _void(account: Account, request: ChargeRequest) -> ChargeAnswer:
    intent = intent_of(account, request)
    return (
        Voided() if intent is None else _barred(account, intent.id, _decline_of(intent) or Voided())
    )


def _refund(account: Account, request: RefundRequest) -> RefundAnswer:
    """Look first: a refund may be under way, have failed, or have been made by hand."""
    made = account.refunds_of(request.charge_id)
    given_back = [refund for refund in made if refund.status == "succeeded"]
    if sum(refund.amount for refund in given_back) >= request.amount:
        return Refunded(given_back[0].id, request.amount)
    ours = next((refund for refund in made if written_on(refund, "key") == request.key), None)
    return _answer_to_refund(ours or account.give_back(request))


def _barred(account: Account, intent: str, otherwise: Declined | Voided) -> ChargeAnswer:
    """Cancel an intent, so that nobody can pay it any more, and answer so; or what became of it
    before.
    """
    barred = account.cancel(intent)
    return otherwise if barred.status == "canceled" else _answer_to_charge(account, barred)


def _answer_to_charge(account: Account, intent: PaymentIntent) -> ChargeAnswer:
    match intent.status:
        case "succeeded":
            return Captured(_id_of(intent.latest_charge), intent.amount_received)
        case "requires_capture":
            return Authorized(_capture_before(account, intent))
        case (
            "requires_payment_method"
        ):  # declined, and waiting for another card: there will be none
            return _barred(account, intent.id, _decline_of(intent) or Voided())
        case "canceled":
            return _decline_of(intent) or Voided()
    return _undecided(intent)


def _capture_before(account: Account, intent: PaymentIntent) -> datetime:
    """Return until when it can be captured, as the card's network says; where it does not, the
    least of all of them.
    """
    told = account.capture_before(_id_of(intent.latest_charge))
    return (
        datetime.fromtimestamp(told, UTC)
        if told
        else datetime.fromtimestamp(intent.created, UTC) + HELD_AT_LEAST
    )


def _undecided(intent: PaymentIntent) -> ChargeAnswer:
    redirect = getattr(intent.next_action, "redirect_to_url", None)
    if intent.status == "requires_action" and redirect and redirect.url:
        return ActionRequired(redirect.url)
    if intent.status == "processing":
        return Pending("The customer's bank has not decided yet.")
    return Unanswered(f"The intent {intent.id} is {intent.status}, which is not to be expected.")


def _answer_to_refund(refund: Refund) -> RefundAnswer:
    if refund.status in OPEN_REFUNDS:
        return Pending(f"The refund {refund.id} is on its way.")
    if refund.status in FAILED_REFUNDS:
        reason = getattr(refund, "failure_reason", None) or refund.status
        return Declined(
            "refund_failed",
            f"The refund {refund.id} failed: {reason}. Give the money back by hand.",
        )
    return Refunded(refund.id, refund.amount)


def _decline_of(intent: PaymentIntent) -> Declined | None:
    return declined(intent.last_payment_error) if intent.last_payment_error else None


def _movement(kind: str, of: Charge | Refund, charge: str, amount: int) -> Movement:
    return Movement(
        kind=kind,
        id=of.id,
        charge_id=charge,
        amount=amount,
        currency=of.currency,
        order_id=_order_of(of),
        key=written_on(of, "key"),
        at=datetime.fromtimestamp(of.created, UTC),
    )


def _order_of(thing: Charge | Refund) -> UUID | None:
    try:
        return UUID(written_on(thing, "order_id"))
    except ValueError:
        return None


def _id_of(charge: Any) -> str:
    return str(getattr(charge, "id", charge))
