"""The sections of payments in `/metrics`. No sample is exported for a currency without money."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from api.monitoring.sections import gauge, section
from payments.open_money import (
    charges_of_unknown_outcome,
    money_owed,
    open_discrepancies,
    open_disputes,
    owed_late,
)

__all__ = ["discrepancies_metrics", "open_payments_metrics"]


@section("open payments")
def open_payments_metrics() -> Iterator[Metric]:
    """Yield the charges of unknown outcome, the money owed to customers, and the open disputes."""
    yield from _of_unknown_outcome()
    yield from _owed()
    yield from _disputed()


@section("discrepancies")
def discrepancies_metrics() -> Iterator[Metric]:
    """Yield the open discrepancies by kind."""
    number = "Differences from the gateway's statement that no person has closed."
    for kind, discrepancies in open_discrepancies().items():
        yield gauge("payments_discrepancies_open", number, kind=kind)(discrepancies)


def _of_unknown_outcome() -> Iterator[Metric]:
    amount = "Charges whose outcome only the gateway knows, in minor units."
    number = "Number of charges whose outcome only the gateway knows."
    age = "Age of the oldest charge whose outcome only the gateway knows."
    for currency, unknown in charges_of_unknown_outcome().items():
        labels = {"currency": currency}
        yield gauge("money_outcome_unknown_minor_units", amount, **labels)(unknown.amount)
        yield gauge("money_outcome_unknown_payments", number, **labels)(unknown.payments)
        yield gauge("money_outcome_unknown_oldest_seconds", age, **labels)(unknown.seconds)


def _owed() -> Iterator[Metric]:
    amount = "Owed to customers whose orders or returns have ended, in minor units."
    number = "Payments with money that is owed to the customer."
    age = "Age of the oldest money that is owed to a customer."
    late = "Payments with owed money whose refund is not under way as agreed."
    for currency, payments in owed_late().items():
        yield gauge("money_owed_late_payments", late, currency=currency)(payments)
    for currency, owed in money_owed().items():
        labels = {"currency": currency}
        yield gauge("money_owed_minor_units", amount, **labels)(owed.amount)
        yield gauge("money_owed_payments", number, **labels)(owed.payments)
        yield gauge("money_owed_oldest_seconds", age, **labels)(owed.seconds)


def _disputed() -> Iterator[Metric]:
    number = "Disputes that are not decided."
    amount = "Withdrawn by disputes that are not decided, in minor units."
    deadline = "The next time until which the gateway takes evidence in a dispute."
    for currency, open_ in open_disputes().items():
        labels = {"currency": currency}
        yield gauge("payments_disputes_open", number, **labels)(open_.disputes)
        yield gauge("payments_disputes_open_minor_units", amount, **labels)(open_.amount)
        if open_.respond_by:
            respond_by = open_.respond_by.timestamp()
            yield gauge("payments_disputes_respond_by_timestamp_seconds", deadline, **labels)(
                respond_by
            )
