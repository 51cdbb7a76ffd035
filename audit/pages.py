"""One page of a scheduled audit: which rows it checks, and the violations that it finds."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeAlias
from uuid import UUID

from audit.catalogue import INVARIANTS
from audit.changes import (
    SKUS_PAGE,
    ChangedOrders,
    changed_payments,
    ended_orders,
    ended_sagas,
    next_skus,
    with_findings,
)
from audit.checks.kinds import child_faults
from audit.checks.stock import wrong_counters, wrong_reservations, wrong_returns
from audit.databases import TookTooLong, fetch
from audit.invariant_types import Violation
from audit.ledger import get_ledger
from audit.load import load_orders
from audit.load_kinds import load_some, other_kinds
from audit.models import AuditRun
from audit.orphans import find_orphans
from audit.run import UNSENT_SECONDS
from audit.runs import FoundViolation, PageResult, Run
from audit.snapshot import OrderSnapshot, SagaSnapshot
from orders.models import Order
from sagas.kinds import SagaKind, kind_of

__all__ = ["check_next_page"]

Phase = AuditRun.Phase

# Milliseconds of a statement that sums up the reservations of SKUs.
STOCK_TIMEOUT = 8_000

SAGAS_OF: Mapping[str, tuple[Callable[[Run], ChangedOrders], str]] = {
    Phase.FINDINGS: (with_findings, Phase.ORDERS),
    Phase.ORDERS: (ended_orders, Phase.PAYMENTS),
    Phase.PAYMENTS: (changed_payments, Phase.SAGAS),
    Phase.SAGAS: (ended_sagas, Phase.STOCK),
}

NO_ORDER = "payments_payment has a row of it, but there is no such order"

PAYMENTS_OF = """
SELECT order_id FROM payments_payment WHERE order_id = ANY(%(orders)s::uuid[]) ORDER BY order_id
"""

# The texts of the violations of one saga, by the id of the invariant.
Details: TypeAlias = defaultdict[str, list[str]]


def check_next_page(run: Run) -> PageResult:
    """Check the next page of an audit. Raises `DatabaseUnavailable`."""
    if run.phase == Phase.STOCK:
        return _check_stock(run)

    next_sagas, next_phase = SAGAS_OF[run.phase]
    page = next_sagas(run)
    checked = [str(saga) for saga in page.orders]
    find = partial(_violations_of_kind, page.kind) if page.kind else _violations
    return PageResult(
        phase=next_phase if page.is_last else run.phase,
        after_at=None if page.is_last else page.after_at,
        after_key="" if page.is_last else page.after_key,
        orders=() if page.kind else checked,
        sagas=checked if page.kind else (),
        violations=_confirmed_violations(page.orders, find),
    )


def _check_stock(run: Run) -> PageResult:
    skus = next_skus(run)
    try:
        found = [
            *_of_skus("I6", wrong_counters(skus, milliseconds=STOCK_TIMEOUT)),
            *_of_skus("I7", wrong_reservations(skus, milliseconds=STOCK_TIMEOUT)),
            *_of_skus("I7", wrong_returns(skus, milliseconds=STOCK_TIMEOUT)),
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


def _confirmed_violations(
    sagas: Sequence[UUID], find: Callable[[Sequence[UUID]], list[FoundViolation]]
) -> list[FoundViolation]:
    """Return the violations of orders or of other sagas that two checks find.

    A follow-up may change a payment while the tables are read one after the other.
    """
    found = find(sagas)
    if not found:
        return []
    invariants = {(each.subject, each.invariant) for each in found}
    again = find([UUID(subject) for subject in {each.subject for each in found}])
    return [each for each in again if (each.subject, each.invariant) in invariants]


def _violations(orders: Sequence[UUID]) -> list[FoundViolation]:
    """Return one violation for each order and invariant that does not hold.

    The ids of findings may be of sagas of any kind.
    """
    if not orders:
        return []

    snapshots = load_orders(orders, ledger=get_ledger(ask_gateway=False))
    unknown = sorted(set(orders) - {snapshot.id for snapshot in snapshots})
    others = other_kinds() if unknown else []
    return [
        *(violation for snapshot in snapshots for violation in _violations_of(snapshot)),
        *(found for kind in others for found in _violations_of_kind(kind, unknown)),
        *(FoundViolation(str(order), "I5", NO_ORDER) for order in _orphaned_payments(unknown)),
    ]


def _orphaned_payments(orders: Collection[UUID]) -> list[UUID]:
    """Return the ids that have a payment, and are of no saga of any kind."""
    if not orders:
        return []
    rows = fetch("payments", PAYMENTS_OF, {"orders": list(orders)})
    return find_orphans([[order for (order,) in rows]]).ids


def _violations_of_kind(kind: SagaKind, sagas: Sequence[UUID]) -> list[FoundViolation]:
    """Return one violation for each saga of a kind and invariant that does not hold."""
    if not sagas:
        return []
    found = [
        violation
        for snapshot in load_some(kind, sagas, unsent_after=UNSENT_SECONDS)
        for violation in _violations_of_saga(kind, snapshot)
    ]
    faults = child_faults(kind, sagas)
    return found + [
        FoundViolation(each.subject, "I22", f"{kind.singular}: {each.detail}", kind.name)
        for each in faults
    ]


def _violations_of(snapshot: OrderSnapshot) -> list[FoundViolation]:
    details: Details = defaultdict(list)
    for invariant in INVARIANTS:
        for check in invariant.checks_of(snapshot):
            details[invariant.id] += check(snapshot)
    return _joined(snapshot, kind_of(Order), details)


def _violations_of_saga(kind: SagaKind, snapshot: SagaSnapshot) -> list[FoundViolation]:
    details: Details = defaultdict(list)
    for invariant in INVARIANTS:
        for check in invariant.checks_of_saga(snapshot):
            details[invariant.id] += (f"{kind.singular}: {text}" for text in check(snapshot))
    return _joined(snapshot, kind, details)


def _joined(snapshot: SagaSnapshot, kind: SagaKind, details: Details) -> list[FoundViolation]:
    return [
        FoundViolation(str(snapshot.id), invariant, "; ".join(found), kind.name)
        for invariant, found in details.items()
        if found
    ]
