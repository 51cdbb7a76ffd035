"""The money of one order, as its page shows it: one line for each fact about its payment."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from django.utils import timezone

from backoffice.discrepancies import in_words
from payments.models import Dispute, Drift, Payment
from payments.open_money import captured_in_words
from sagas.currencies import with_currency

__all__ = ["Fact", "money_alarms", "payment_facts"]


class Fact(NamedTuple):
    """A label and its value."""

    label: str
    value: str


def payment_facts(payment: Payment, *, capture_is_open: bool) -> list[Fact]:
    """Return the facts. `capture_is_open`: a capture may have been requested."""
    captured = captured_in_words(payment, capture_is_open=capture_is_open)
    return [
        Fact("Status", payment.status),
        Fact("Amount of the order", _money(payment.amount, payment)),
        Fact("Captured", _captured(payment, captured)),
        *(_moved(payment) if payment.charge_id else ()),
        *_waits(payment),
        *_follow_up(payment),
        Fact("Charge", payment.charge_id or captured),
        *([Fact("Declined", payment.decline_code)] if payment.decline_code else ()),
    ]


def money_alarms(
    payment: Payment | None, disputes: Sequence[Dispute], discrepancies: Sequence[Drift]
) -> list[str]:
    """Return the sentences about money that a person must look at."""
    open_disputes = [each for each in disputes if each.status == Dispute.Status.OPEN]
    return [
        *([_owed(payment)] if payment and payment.owed_amount else ()),
        *map(_open_dispute, open_disputes),
        *(f"Reconciliation found a difference. {in_words(found)}." for found in discrepancies),
    ]


def _owed(payment: Payment) -> str:
    answer = f" Last answer: {payment.follow_error}" if payment.follow_error else ""
    return (
        f"{_money(payment.owed_amount, payment)} are owed to the customer: the order has ended, "
        f"and this money is not back yet. Its refund is repeated automatically.{answer}"
    )


def _captured(payment: Payment, captured: str) -> str:
    if captured == "unknown":
        return "unknown: only the gateway knows whether it captured the charge"
    if payment.charge_id and payment.captured != payment.amount:
        return f"{captured}, which is not the amount of the order"
    return captured


def _moved(payment: Payment) -> Iterator[Fact]:
    yield Fact("Refunded", _money(payment.refunded_amount, payment))
    if payment.dispute_status:
        withdrawn = _money(payment.disputed_amount, payment)
        yield Fact("Disputed", f"{withdrawn} withdrawn; dispute {payment.dispute_status}")
    if payment.owed_amount:
        yield Fact("Owed to the customer", _money(payment.owed_amount, payment))
    if payment.paid_otherwise_amount:
        paid = _money(payment.paid_otherwise_amount, payment)
        reference = f": {payment.refund_reference}" if payment.refund_reference else ""
        yield Fact("Paid in another way", f"{paid}{reference}")

    remaining = payment.captured - payment.refunded_amount - payment.disputed_amount
    yield Fact("Remaining with us", _money(remaining, payment))


def _waits(payment: Payment) -> Iterator[Fact]:
    pending = payment.status == Payment.Status.PENDING
    captured = payment.status == Payment.Status.CAPTURED
    waits = (
        ("Customer confirms until", payment.action_expires_at if pending else None),
        ("Refund is decided until" if captured else "Bank decides until", payment.expected_at),
    )
    for label, deadline in waits:
        if deadline:
            late = ", which has passed" if deadline < timezone.now() else ""
            yield Fact(label, f"{deadline:%Y-%m-%d %H:%M:%S} UTC{late}")


def _follow_up(payment: Payment) -> Iterator[Fact]:
    times = [time for time in (payment.follow_at, payment.balance_due_at) if time]
    if times:
        yield Fact("Gateway is asked again", f"{min(times):%Y-%m-%d %H:%M:%S} UTC")
    if payment.follow_error:
        yield Fact("Last answer", payment.follow_error)


def _open_dispute(dispute: Dispute) -> str:
    amount = with_currency(dispute.amount, dispute.currency)
    until = f" {_evidence(dispute.respond_by)}" if dispute.respond_by else ""
    return f"The customer disputes {amount}: {dispute.reason}.{until}"


def _evidence(respond_by: datetime) -> str:
    if respond_by < timezone.now():
        return f"The time for evidence ended at {respond_by:%Y-%m-%d %H:%M} UTC."
    return f"Send evidence in the gateway's dashboard until {respond_by:%Y-%m-%d %H:%M} UTC."


def _money(amount: int, payment: Payment) -> str:
    return with_currency(amount, payment.currency)
