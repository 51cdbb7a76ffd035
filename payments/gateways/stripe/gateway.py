"""The Stripe gateway. A charge is a payment intent, created under the charge's key, then confirmed.

Creating an intent moves no money. An authorization is confirmed with manual capture, and captured
later. To void a charge is to create its intent under the same key and cancel it: any later request
under that key gets the cancelled intent. There is never a second intent for one charge, because a
charge with an old key is searched for before it is made.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import msgspec
import stripe
from django.conf import settings

from payments.gateways.base import (
    BalanceAnswer,
    ChargeAnswer,
    ChargeRequest,
    Declined,
    FindAnswer,
    Movement,
    PartRefundAnswer,
    PartRefundRequest,
    PaymentGateway,
    RefundAnswer,
    RefundRequest,
    StatementUnavailable,
    Unanswered,
    refuse_open_transactions,
)
from payments.gateways.stripe import balances, charges
from payments.gateways.stripe.account import AT_ONCE, BUDGET, CONNECT, READ, Account, NoAnswer
from payments.gateways.stripe.currencies import STRIPE_CURRENCIES
from payments.gateways.stripe.error_meanings import answer_to_error
from payments.gateways.stripe.objects import id_of
from payments.gateways.stripe.part_refunds import refund_part
from payments.gateways.stripe.refunds import refund
from payments.gateways.stripe.statement import movements
from sagas import Limit
from sagas.currencies import with_currency

__all__ = ["StripeGateway"]

logger = logging.getLogger(__name__)

# Declines of the order's amount or currency, whose reason is in our table of currencies.
NOT_CHARGEABLE = {"invalid_amount", "invalid_currency"}

# Stripe permits 100 requests a second in live mode, and 25 in test mode. An order takes about two
# requests, and the follow-up, the reconciliation and the webhooks need some as well.
# https://docs.stripe.com/rate-limits
STRIPE_HOST = "api.stripe.com"
LIVE_ORDERS = 40
TEST_ORDERS = 10
TEST_KEYS = ("sk_test_", "rk_test_")

Request = TypeVar("Request", bound=ChargeRequest | RefundRequest | PartRefundRequest)
Answer = TypeVar("Answer")


class StripeGateway(PaymentGateway):
    """Charges through Stripe. Make a new one for each step.

    It starts no request later than `budget` seconds after it was made.
    """

    # A page of a hundred movements may take 1.5 s, so one reader could not keep up with 50 charges
    # a second while it reads each movement twice.
    statement_readers = 4

    def __init__(self, budget: float = BUDGET) -> None:
        self.until = time.monotonic() + budget

    @classmethod
    def call_limit(cls) -> Limit | None:
        """Return the orders per second that keep Stripe's own limit. Another server has none."""
        if urlsplit(settings.STRIPE_API_BASE).hostname != STRIPE_HOST:
            return None
        is_test = settings.STRIPE_API_KEY.startswith(TEST_KEYS)
        return Limit(per_second=TEST_ORDERS if is_test else LIVE_ORDERS)

    @classmethod
    def reason_not_chargeable(cls, amount: int, currency: str) -> str:
        """Return in words why Stripe cannot charge an amount; empty if it can."""
        return STRIPE_CURRENCIES.reason_not_chargeable(amount, currency)

    def charge(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Create and confirm each intent."""
        return self._send(partial(charges.charge, capture_later=False), requests)

    def authorize(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Create each intent, and confirm it with manual capture."""
        return self._send(partial(charges.charge, capture_later=True), requests)

    def capture(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Capture the authorized intents, and cancel the intents that were never confirmed."""
        return self._send(charges.capture, requests)

    def find(self, requests: Sequence[ChargeRequest]) -> list[FindAnswer]:
        """Look up each key. An unused key gets an intent that is not confirmed."""
        return self._send(charges.find, requests)

    def void(self, requests: Sequence[ChargeRequest]) -> list[ChargeAnswer]:
        """Create and cancel each intent."""
        return self._send(charges.void, requests)

    def refund(self, requests: Sequence[RefundRequest]) -> list[RefundAnswer]:
        """Refund each charge that is not refunded yet."""
        return self._send(refund, requests)

    def refund_part(self, requests: Sequence[PartRefundRequest]) -> list[PartRefundAnswer]:
        """Refund a part of each charge."""
        return self._send(refund_part, requests)

    def balance(self, requests: Sequence[ChargeRequest]) -> list[BalanceAnswer]:
        """Read each charge with its refunds and disputes."""
        return self._send(balances.balance, requests)

    def statement(self, since: datetime, until: datetime) -> Iterator[Movement]:
        """Yield the charges and refunds of a window that have moved money. There is no time limit,
        because a long window has many pages.
        """
        with _complete_statement(since, until):
            yield from movements(Account(math.inf), since, until)

    def failed_refunds(self, since: datetime, until: datetime) -> Iterator[str]:
        """Yield the charges of refunds that failed in a window, from the balance's transactions."""
        with _complete_statement(since, until):
            for refund in Account(math.inf).refunds_moved(since, until):
                if refund.status in balances.FAILED:
                    yield id_of(refund.charge)

    def _send(
        self, operation: Callable[[Account, Request], Answer], requests: Sequence[Request]
    ) -> list[Answer | Unanswered]:
        """Run an operation for all requests, many at once. A failed request is `Unanswered`.

        A lone request runs in the caller's thread: that of a call in flight, or of offloaded work.
        In a batch, a thread that Stripe keeps busy beyond every limit is abandoned.
        """
        refuse_open_transactions()
        account = Account(self.until)
        if len(requests) == 1:
            return [_run(operation, account, requests[0])]
        threads = ThreadPoolExecutor(min(AT_ONCE, len(requests) or 1), thread_name_prefix="stripe")
        try:
            futures: list[Future[Answer | Unanswered]] = [
                threads.submit(_run, operation, account, request) for request in requests
            ]
            seconds_left = max(0.0, self.until - time.monotonic())
            wait(futures, timeout=seconds_left + CONNECT + READ)
            return [
                future.result() if future.done() else Unanswered("Stripe took too long to answer.")
                for future in futures
            ]
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _complete_statement(since: datetime, until: datetime) -> Iterator[None]:
    """Raise StatementUnavailable if Stripe does not return all lines of a window."""
    refuse_open_transactions()
    try:
        yield
    except stripe.StripeError as error:
        answer = answer_to_error(error)
        reason = answer.reason if isinstance(answer, Unanswered) else answer.detail
        raise StatementUnavailable(
            f"Stripe returned no complete statement of {since} to {until}: {reason}"
        ) from error


def _run(
    operation: Callable[[Account, Request], Answer], account: Account, request: Request
) -> Answer | Unanswered:
    """Run an operation for one request. Errors become answers, because the batch goes on."""
    try:
        return _answer(operation, account, request)
    except NoAnswer as error:
        return Unanswered(str(error))
    except Exception as error:
        logger.exception(
            "Stripe request %s for order %s (%s) raised an unexpected error. Its outcome is "
            "unknown; the step asks Stripe again. Report the error below as a bug.",
            request.key,
            request.order_id,
            with_currency(request.amount, request.currency),
        )
        return Unanswered(f"The Stripe client raised an unexpected error: {error!r}")


def _answer(
    operation: Callable[[Account, Request], Answer], account: Account, request: Request
) -> Answer | Unanswered:
    try:
        return operation(account, request)
    except stripe.StripeError as error:
        answer: Any = answer_to_error(error)  # may be a decline, which every operation can answer
        if isinstance(answer, Declined) and answer.code in NOT_CHARGEABLE:
            reason = STRIPE_CURRENCIES.reason_not_chargeable(request.amount, request.currency)
            answer = msgspec.structs.replace(answer, detail=reason or answer.detail)
        return cast("Answer", answer)
