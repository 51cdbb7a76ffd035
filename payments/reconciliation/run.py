"""One reconciliation: its window, its comparison, and the discrepancies it stores."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from msgspec import Struct

from payments.gateways import get_gateway
from payments.models import Drift, Reconciliation
from payments.reconciliation.comparison import (
    Discrepancy,
    compare_movements,
    follow_up_missing_refunds,
    pages,
    payments_missing_in_statement,
    schedule_refunds,
)
from sagas.ids import uuid7
from sagas.storage import sql

__all__ = ["Result", "next_window", "reconcile"]

# Movements in one comparison.
PAGE = 500

# A window ends this long ago, because newer movements may not be recorded yet, here or there.
SETTLING_TIME = timedelta(minutes=10)

# Windows overlap, because clocks differ. The first window reaches back by FIRST_WINDOW.
OVERLAP = timedelta(hours=1)
FIRST_WINDOW = timedelta(days=1)

STORE = """
INSERT INTO payments_drift AS drift
       (id, kind, reference, order_id, ours, theirs, currency, closed_by, closed_why)
SELECT * FROM unnest(%(ids)s::uuid[], %(kinds)s::text[], %(references)s::text[],
                     %(orders)s::uuid[], %(ours)s::bigint[], %(theirs)s::bigint[],
                     %(currencies)s::text[]), (VALUES ('', '')) AS open
ON CONFLICT (kind, reference) DO UPDATE
   SET last_seen_at = clock_timestamp(), ours = EXCLUDED.ours, theirs = EXCLUDED.theirs
"""


class Result(Struct, frozen=True, kw_only=True):
    """The result of a comparison. `open` has the discrepancies that no person has closed."""

    since: datetime
    until: datetime
    movements: int
    open: tuple[Discrepancy, ...]


def next_window() -> tuple[datetime, datetime]:
    """Return the start and end of the next window, which overlaps the last one."""
    ((now,),) = sql.fetch("payments", "SELECT now()", {})
    last = Reconciliation.objects.order_by("-until").values_list("until", flat=True).first()
    since = last - OVERLAP if last else now - FIRST_WINDOW
    return since, now - SETTLING_TIME


def reconcile(since: datetime, until: datetime) -> Result:
    """Compare a window and store its discrepancies.

    Raise StatementUnavailable without storing any.
    """
    charged: set[str] = set()
    refunded: set[str] = set()
    discrepancies: list[Discrepancy] = []
    movements = 0
    for page in pages(get_gateway().statement(since, until), PAGE):
        movements += len(page)
        charged |= {movement.charge_id for movement in page if movement.kind == "capture"}
        refunded |= {movement.charge_id for movement in page if movement.kind == "refund"}

        comparison = compare_movements(page)
        discrepancies += comparison.discrepancies
        if comparison.payments_to_refund:
            schedule_refunds(comparison.payments_to_refund)

    discrepancies += payments_missing_in_statement(since, until, charged)
    follow_up_missing_refunds(since, until, refunded)

    with transaction.atomic(using="payments"):
        _store(discrepancies)
        Reconciliation.objects.create(
            since=since, until=until, movements=movements, drifts=len(discrepancies)
        )
    return Result(since=since, until=until, movements=movements, open=_open(discrepancies))


def _store(discrepancies: Sequence[Discrepancy]) -> None:
    distinct = {(each.kind, each.reference): each for each in discrepancies}.values()
    params = {
        "ids": [uuid7() for _ in distinct],
        "kinds": [str(each.kind) for each in distinct],
        "references": [each.reference for each in distinct],
        "orders": [each.order_id for each in distinct],
        "ours": [each.ours for each in distinct],
        "theirs": [each.theirs for each in distinct],
        "currencies": [each.currency for each in distinct],
    }
    sql.run("payments", STORE, params)


def _open(discrepancies: Sequence[Discrepancy]) -> tuple[Discrepancy, ...]:
    references = [each.reference for each in discrepancies]
    stored = Drift.objects.filter(closed_at=None, reference__in=references)
    open_keys = set(stored.values_list("kind", "reference"))
    return tuple(each for each in discrepancies if (each.kind, each.reference) in open_keys)
