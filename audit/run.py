"""The audit: first every order, then every saga of another kind, then the whole tables."""

from collections import Counter
from collections.abc import Sequence

from django.conf import settings

from audit.catalogue import INVARIANTS
from audit.checks.money import add_to_balance
from audit.invariant_types import AuditContext, Invariant, Violation
from audit.ledger import get_ledger
from audit.load import load_snapshots
from audit.load_kinds import load_sagas, other_kinds
from audit.report import Report, Verdict
from audit.snapshot import OrderSnapshot, SagaSnapshot
from sagas.kinds import SagaKind

__all__ = ["audit"]

# I13 promises that every order ends within this time after the last fault. An outbox row that has
# been due for longer is stuck.
UNSENT_SECONDS = 120.0

# Where all orders should have ended, a row that has been due for this many flush periods is stuck.
UNSENT_FLUSHES = 10


def audit(*, expect_ended: bool = False, limit: int = 20, ask_gateway: bool = True) -> Report:
    """Check the invariants; keep up to `limit` violations of each.

    `expect_ended`: an order that has not ended is a violation, not information. `ask_gateway`:
    fetch the statement of a gateway that keeps its ledger outside our databases. Raises
    `DatabaseUnavailable` or `StatementUnavailable`.
    """
    context = AuditContext(expect_ended=expect_ended, ledger=get_ledger(ask_gateway=ask_gateway))
    verdicts = [Verdict(invariant, note=_note(invariant, context)) for invariant in INVARIANTS]
    report = Report(verdicts)

    flushes = UNSENT_FLUSHES * settings.OUTBOX_FLUSH_SECONDS
    unsent_after = flushes if expect_ended else UNSENT_SECONDS
    for page in load_snapshots(ledger=context.ledger, unsent_after=unsent_after):
        _check_page(page, context, report, limit)
    for kind in other_kinds():
        for sagas in load_sagas(kind, unsent_after=unsent_after):
            _check_sagas(kind, sagas, report, limit)

    for verdict in report.verdicts:
        for check in verdict.invariant.tables:
            for result in check(context):
                verdict.add_result(result, limit=limit)
    return report


def _check_page(
    page: Sequence[OrderSnapshot], context: AuditContext, report: Report, limit: int
) -> None:
    for snapshot in page:
        report.orders.update(_kinds(snapshot))
        if snapshot.ended:
            add_to_balance(context, snapshot)
        for verdict in report.verdicts:
            _check(snapshot, verdict, limit)


def _check(snapshot: OrderSnapshot, verdict: Verdict, limit: int) -> None:
    checks = tuple(verdict.invariant.checks_of(snapshot))
    verdict.checked["orders"] += bool(checks)
    for check in checks:
        for detail in check(snapshot):
            verdict.add(Violation(str(snapshot.id), detail), limit=limit)


def _check_sagas(kind: SagaKind, page: Sequence[SagaSnapshot], report: Report, limit: int) -> None:
    for snapshot in page:
        report.sagas.setdefault(kind.plural, Counter()).update(_kinds(snapshot))
        for verdict in report.verdicts:
            checks = tuple(verdict.invariant.checks_of_saga(snapshot))
            verdict.checked[kind.plural] += bool(checks)
            for check in checks:
                for detail in check(snapshot):
                    violation = Violation(str(snapshot.id), f"{kind.singular}: {detail}")
                    verdict.add(violation, limit=limit)


def _kinds(snapshot: SagaSnapshot) -> list[str]:
    kinds = ["ended" if snapshot.ended else "open"]
    if not snapshot.has_messages:
        kinds.append("purged")
    return kinds


def _note(invariant: Invariant, context: AuditContext) -> str:
    return context.ledger.note if invariant.uses_ledger else ""
