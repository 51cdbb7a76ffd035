"""Money that persons have paid to customers in another way, as the log of staff has it.

Payments sends no event about it. After a loss, the payment would look as if the money were owed,
and the gateway would give it back once more.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from uuid import UUID

from payments.paid_otherwise import ACTION, Record, parse_record
from staff.models import LogEntry

__all__ = ["paid_otherwise", "payments_in_another_way"]


def paid_otherwise(orders: Sequence[UUID]) -> dict[UUID, Record]:
    """Return the sum of each order's records, with the last reference."""
    return {
        order: records[-1]._replace(amount=sum(record.amount for record in records))
        for order, records in payments_in_another_way(orders).items()
    }


def payments_in_another_way(orders: Collection[UUID]) -> dict[UUID, list[Record]]:
    """Return the records of each order that has any, the oldest first.

    Two records with one reference are one payment: a run that is tried again says the same.
    """
    entries = LogEntry.objects.filter(
        order_id__in=orders, action=ACTION, what=LogEntry.Kind.ACTED
    ).order_by("seq")

    by_order: dict[UUID, dict[str, Record]] = defaultdict(dict)
    for order, outcome in entries.values_list("order_id", "outcome"):
        record = parse_record(outcome)
        if order and record:
            by_order[order][record.reference] = record
    return {order: list(records.values()) for order, records in by_order.items()}
