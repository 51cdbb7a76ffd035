"""Stores discrepancies, and schedules the follow-up of the payments that a comparison found."""

from collections.abc import Sequence

from payments import followup
from payments.models import Drift, Payment
from payments.reconciliation.comparison import Comparison, Discrepancy
from sagas import sql
from sagas.ids import uuid7

__all__ = ["open_discrepancies", "store"]

Status = Payment.Status

STORE = """
INSERT INTO payments_drift AS drift
       (id, kind, reference, order_id, ours, theirs, currency, closed_by, closed_why)
SELECT * FROM unnest(%(ids)s::uuid[], %(kinds)s::text[], %(references)s::text[],
                     %(orders)s::uuid[], %(ours)s::bigint[], %(theirs)s::bigint[],
                     %(currencies)s::text[]), (VALUES ('', '')) AS open
ON CONFLICT (kind, reference) DO UPDATE
   SET last_seen_at = clock_timestamp(), ours = EXCLUDED.ours, theirs = EXCLUDED.theirs
"""


def store(comparison: Comparison) -> None:
    """Store the discrepancies and schedule the follow-ups. Call it inside a transaction."""
    if comparison.discrepancies:
        _store(comparison.discrepancies)
    followup.schedule(comparison.to_refund, (Status.VOID, Status.DECLINED))
    followup.schedule(comparison.to_read, (Status.CAPTURED, Status.REFUNDED))


def open_discrepancies(discrepancies: Sequence[Discrepancy]) -> tuple[Discrepancy, ...]:
    """Return the discrepancies that no person has closed."""
    references = [each.reference for each in discrepancies]
    stored = Drift.objects.filter(closed_at=None, reference__in=references)
    open_keys = set(stored.values_list("kind", "reference"))
    return tuple(each for each in discrepancies if (each.kind, each.reference) in open_keys)


def _store(discrepancies: Sequence[Discrepancy]) -> None:
    distinct = {(each.kind, each.reference): each for each in discrepancies}
    rows = [each for _, each in sorted(distinct.items())]
    params = {
        "ids": [uuid7() for _ in rows],
        "kinds": [str(each.kind) for each in rows],
        "references": [each.reference for each in rows],
        "orders": [each.order_id for each in rows],
        "ours": [each.ours for each in rows],
        "theirs": [each.theirs for each in rows],
        "currencies": [each.currency for each in rows],
    }
    sql.run("payments", STORE, params)
