"""One page of a scheduled audit: which rows it checks, and the violations that it finds."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from uuid import UUID

from audit.catalogue import INVARIANTS
from audit.changes import (
    SKUS_PAGE,
    ChangedOrders,
    changed_payments,
    ended_orders,
    next_skus,
    orders_with_findings,
)
from audit.checks.stock import wrong_counters, wrong_reservations
from audit.databases import TookTooLong, fetch
from audit.invariant_types import Violation
from audit.ledger import get_ledger
from audit.load import load_orders
from audit.models import AuditRun
from audit.runs import FoundViolation, PageResult, Run
from audit.snapshot import OrderSnapshot

__all__ = ["check_next_page"]

Phase = AuditRun.Phase

# Milliseconds of a statement that sums up the reservations of SKUs.
STOCK_TIMEOUT = 8_000

ORDERS_OF: Mapping[str, tuple[Callable[[Run], ChangedOrders], str]] = {
    Phase.FINDINGS: (orders_with_findings, Phase.ORDERS),
    Phase.ORDERS: (ended_orders, Phase.PAYMENTS),
    Phase.PAYMENTS: (changed_payments, Phase.STOCK),
}

NO_ORDER = "payments_payment has a row of it, but there is no such order"

PAYMENTS_OF = """
SELECT order_id FROM payments_payment WHERE order_id = ANY(%(orders)s::uuid[]) ORDER BY order_id
"""


def check_next_page(run: Run) -> PageResult:
    """Check the next page of an audit. Raises `DatabaseUnavailable`."""
    if run.phase == Phase.STOCK:
        return _check_stock(run)

    next_orders, next_phase = ORDERS_OF[run.phase]
    page = next_orders(run)
    return PageResult(
        phase=next_phase if page.is_last else run.phase,
        after_at=None if page.is_last else page.after_at,
        after_key="" if page.is_last else page.after_key,
        orders=[str(order) for order in page.orders],
        violations=_confirmed_violations(page.orders),
    )


def _check_stock(run: Run) -> PageResult:
    skus = next_skus(run)
    try:
        found = [
            *_of_skus("I6", wrong_counters(skus, milliseconds=STOCK_TIMEOUT)),
            *_of_skus("I7", wrong_reservations(skus, milliseconds=STOCK_TIMEOUT)),
        ]
    except TookTooLong:
        return PageResult(
            phase=Phase.DONE,
            error=f"The stock of the SKUs after {run.after_key!r} was not checked, because "
            f"summing it up takes more than {STOCK_TIMEOUT // 1000} s. Run manage.py audit.",
        )
    is_last = len(skus) < SKUS_PAGE
    return PageResult(
        phase=Phase.DONE if is_last else run.phase,
        after_key="" if is_last else skus[-1],
        skus=skus,
        violations=found,
    )


def _of_skus(invariant: str, violations: Iterable[Violation]) -> list[FoundViolation]:
    return [FoundViolation(each.subject, invariant, each.detail) for each in violations]


def _confirmed_violations(orders: Sequence[UUID]) -> list[FoundViolation]:
    """Return the violations of orders that two checks find.

    A follow-up may change a payment while the tables are read one after the other.
    """
    found = _violations(orders)
    if not found:
        return []
    invariants = {(each.subject, each.invariant) for each in found}
    again = _violations([UUID(subject) for subject in {each.subject for each in found}])
    return [each for each in again if (each.subject, each.invariant) in invariants]


def _violations(orders: Sequence[UUID]) -> list[FoundViolation]:
    """Return one violation for each order and invariant that does not hold."""
    if not orders:
        return []

    snapshots = load_orders(orders, ledger=get_ledger(ask_gateway=False))
    unknown = set(orders) - {snapshot.order.id for snapshot in snapshots}
    return [
        *(violation for snapshot in snapshots for violation in _violations_of(snapshot)),
        *(FoundViolation(str(order), "I5", NO_ORDER) for order in _with_payment(unknown)),
    ]


def _with_payment(orders: Collection[UUID]) -> list[UUID]:
    if not orders:
        return []
    rows = fetch("payments", PAYMENTS_OF, {"orders": list(orders)})
    return [order for (order,) in rows]


def _violations_of(snapshot: OrderSnapshot) -> list[FoundViolation]:
    details: defaultdict[str, list[str]] = defaultdict(list)
    for invariant in INVARIANTS:
        for check in invariant.checks_of(snapshot):
            details[invariant.id] += check(snapshot)
    return [
        FoundViolation(str(snapshot.order.id), invariant, "; ".join(found))
        for invariant, found in details.items()
        if found
    ]
