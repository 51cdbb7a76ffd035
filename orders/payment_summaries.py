"""The payments of orders, for staff: read from another service, which may be unreachable.

Orders must not import payments, so the setting PAYMENT_SUMMARIES names the function by its dotted
path. An order can be read without its payment: after a time limit, the payment is unknown.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeAlias
from uuid import UUID

from django.db import Error, connections

from api.chosen_function import chosen_function

__all__ = ["UNKNOWN", "read_payments"]

logger = logging.getLogger(__name__)

Summary: TypeAlias = Mapping[str, Any]

# Takes order ids; returns the summary of each order that has a payment, by order id.
Summaries: TypeAlias = Callable[[Collection[UUID]], Mapping[UUID, Summary]]

# The payments did not answer. This is not the absence of a payment.
UNKNOWN: Summary = {
    "status": "unknown",
    **dict.fromkeys(
        (
            *("amount", "captured_amount", "refunded_amount", "owed_amount"),
            "paid_otherwise_amount",
        )
    ),
    "disputed": None,
}

# Seconds that a request waits for the payments. Its other data are there already.
LIMIT = 2.0

# A database that hangs blocks these threads only, until its connections time out.
_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="payment-summaries")


def read_payments(orders: Sequence[UUID]) -> Mapping[UUID, Summary]:
    """Return the payments of some orders by order id; `UNKNOWN` for all if they do not answer.

    An order without a payment is missing.
    """
    reading = _threads.submit(_read, chosen_function("PAYMENT_SUMMARIES"), orders)
    try:
        return reading.result(timeout=LIMIT)
    except (Error, FutureTimeoutError) as error:
        reading.cancel()
        logger.warning(
            "The payments of %d orders are shown as unknown, because payments did not answer: %r",
            len(orders),
            error,
        )
        return dict.fromkeys(orders, UNKNOWN)


def _read(summaries: Summaries, orders: Sequence[UUID]) -> Mapping[UUID, Summary]:
    try:
        return summaries(orders)
    finally:
        connections.close_all()  # the connections of this thread
