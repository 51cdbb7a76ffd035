"""The rows that a scheduled audit checks next: a page of each phase, after its cursor."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from audit.databases import fetch
from audit.ledger import GATEWAYS
from audit.load_kinds import other_kinds
from audit.runs import Run
from sagas.kinds import SagaKind
from sagas.storage.registry import get_home

__all__ = [
    "ORDERS_PAGE",
    "SKUS_PAGE",
    "ChangedOrders",
    "changed_payments",
    "ended_orders",
    "ended_sagas",
    "next_skus",
    "with_findings",
]

# Rows of one page: few round trips, and a page takes less than a second.
ORDERS_PAGE = 500
SKUS_PAGE = 5_000

WITH_FINDINGS = """
SELECT DISTINCT subject FROM audit_finding
 WHERE subject > %(after)s AND subject ~ %(uuid)s ORDER BY subject LIMIT %(limit)s
"""
UUID_PATTERN = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"

# For the first page, `after_at` is the start of the window. An index finds the start of each page.
ENDED = """
SELECT ended_at, id FROM orders_order
 WHERE (ended_at, id) > (%(after_at)s::timestamptz, %(after)s::uuid) AND ended_at < %(until)s
 ORDER BY ended_at, id LIMIT %(limit)s
"""

CHANGED = """
SELECT updated_at, order_id FROM payments_payment
 WHERE gateway = %(gateway)s AND updated_at >= %(after_at)s::timestamptz AND updated_at < %(until)s
   AND (updated_at, order_id) > (%(after_at)s::timestamptz, %(after)s::uuid)
 ORDER BY updated_at, order_id LIMIT %(limit)s
"""

# The orders that the phase before has checked.
ENDED_IN_WINDOW = """
SELECT id FROM orders_order
 WHERE id = ANY(%(orders)s::uuid[]) AND ended_at >= %(since)s AND ended_at < %(until)s
"""

# A table with an index on (ended_at, id) finds the start of each page by it.
ENDED_OF_KIND = """
SELECT ended_at, {key} FROM {tracked}
 WHERE (ended_at, {key}) > (%(after_at)s::timestamptz, %(after)s::uuid) AND ended_at < %(until)s
 ORDER BY ended_at, {key} LIMIT %(limit)s
"""

# Milliseconds of that statement, well below the time limit of a task.
ENDED_TIMEOUT = 8_000

SKUS = "SELECT sku FROM inventory_stockitem WHERE sku > %(after)s ORDER BY sku LIMIT %(limit)s"

# Before every id, for the first page.
FIRST_ID = UUID(int=0)


class ChangedOrders(Struct, frozen=True, kw_only=True):
    """A page of orders or of other sagas, and the cursor after it.

    `is_last`: the phase has no more. `kind`: their kind; None for orders and subjects of findings.
    """

    orders: Sequence[UUID]
    kind: SagaKind | None = None
    after_at: datetime | None = None
    after_key: str = ""
    is_last: bool


def with_findings(run: Run) -> ChangedOrders:
    """Return the next orders and other sagas with an open finding."""
    params = {"after": run.after_key, "uuid": UUID_PATTERN, "limit": ORDERS_PAGE}
    subjects = [subject for (subject,) in fetch("default", WITH_FINDINGS, params)]
    return ChangedOrders(
        orders=[UUID(subject) for subject in subjects],
        after_key=subjects[-1] if subjects else "",
        is_last=len(subjects) < ORDERS_PAGE,
    )


def ended_orders(run: Run) -> ChangedOrders:
    """Return the next orders that ended in the window."""
    params = {
        "until": run.until,
        "after_at": run.after_at or run.since,
        "after": run.after_key or FIRST_ID,
        "limit": ORDERS_PAGE,
    }
    rows = fetch("default", ENDED, params)
    return ChangedOrders(
        orders=[order for _, order in rows],
        after_at=rows[-1][0] if rows else None,
        after_key=str(rows[-1][1]) if rows else "",
        is_last=len(rows) < ORDERS_PAGE,
    )


def changed_payments(run: Run) -> ChangedOrders:
    """Return the orders of the next payments that changed in the window, gateway by gateway.

    It leaves out the orders that ended in the window, because they were checked before.
    """
    last_gateway, _, last_order = run.after_key.rpartition("/")
    for (gateway,) in sorted(fetch("payments", GATEWAYS)):
        if gateway < last_gateway:
            continue
        goes_on = gateway == last_gateway and run.after_at
        params = {
            "gateway": gateway,
            "until": run.until,
            "after_at": run.after_at if goes_on else run.since,
            "after": last_order if goes_on else FIRST_ID,
            "limit": ORDERS_PAGE,
        }
        if rows := fetch("payments", CHANGED, params):
            updated_at, order = rows[-1]
            return ChangedOrders(
                orders=_not_ended_in_window(run, [order for _, order in rows]),
                after_at=updated_at,
                after_key=f"{gateway}/{order}",
                is_last=False,
            )
    return ChangedOrders(orders=[], is_last=True)


def ended_sagas(run: Run) -> ChangedOrders:
    """Return the next sagas of other kinds that ended in the window, kind by kind."""
    last_kind, _, last_saga = run.after_key.rpartition("/")
    for kind in sorted(other_kinds(), key=lambda kind: kind.name):
        if kind.name < last_kind:
            continue
        goes_on = kind.name == last_kind and run.after_at
        params = {
            "until": run.until,
            "after_at": run.after_at if goes_on else run.since,
            "after": last_saga if goes_on else FIRST_ID,
            "limit": ORDERS_PAGE,
        }
        statement = ENDED_OF_KIND.format(key=kind.key, tracked=kind.table)
        alias = get_home(kind.home).alias
        if rows := fetch(alias, statement, params, milliseconds=ENDED_TIMEOUT):
            ended_at, saga = rows[-1]
            return ChangedOrders(
                orders=[saga for _, saga in rows],
                kind=kind,
                after_at=ended_at,
                after_key=f"{kind.name}/{saga}",
                is_last=False,
            )
    return ChangedOrders(orders=[], is_last=True)


def next_skus(run: Run) -> list[str]:
    """Return the next SKUs."""
    params = {"after": run.after_key, "limit": SKUS_PAGE}
    return [sku for (sku,) in fetch("inventory", SKUS, params)]


def _not_ended_in_window(run: Run, orders: Sequence[UUID]) -> list[UUID]:
    params = {"orders": orders, "since": run.since, "until": run.until}
    ended = {order for (order,) in fetch("default", ENDED_IN_WINDOW, params)}
    return [order for order in orders if order not in ended]
