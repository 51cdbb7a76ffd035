"""The audit: every order, page by page, then the whole tables."""

from collections.abc import Sequence

from django.conf import settings

from audit import gather
from audit.case import Case
from audit.catalogue import INVARIANTS
from audit.checks.money import weigh
from audit.invariant import Invariant, Scope, Violation
from audit.ledger import ledger
from audit.report import Report, Verdict

__all__ = ["audit"]

# Everything has ended so long after the last fault has, as I13 promises. A message that is due for
# longer is stuck.
MOST_SECONDS = 120.0

# Periods of the flush. Where nothing is expected to move any more, a message that is due for longer
# is stuck.
FLUSHES = 10


def audit(*, expect_ended: bool = False, limit: int = 20, ask_gateway: bool = True) -> Report:
    """Check the invariants; keep up to `limit` violations of each.

    `expect_ended`: an order that has not ended is a violation, rather than information.
    `ask_gateway`: a gateway that keeps its ledger elsewhere is asked for its statement. Raises
    `DatabaseUnavailable` or `StatementUnavailable`.
    """
    scope = Scope(expect_ended=expect_ended, ledger=ledger(ask_gateway=ask_gateway))
    report = Report([Verdict(invariant, note=_note(invariant, scope)) for invariant in INVARIANTS])
    patience = FLUSHES * settings.OUTBOX_FLUSH_SECONDS if expect_ended else MOST_SECONDS
    for page in gather.cases(ledger=scope.ledger, patience=patience):
        _check_page(page, scope, report, limit)
    for verdict in report.verdicts:
        for check in verdict.invariant.tables:
            for seen in check(scope):
                verdict.take(seen, limit=limit)
    return report


def _check_page(page: Sequence[Case], scope: Scope, report: Report, limit: int) -> None:
    for case in page:
        report.orders.update(_kinds(case))
        if case.order.ended:
            weigh(scope, case)
        for verdict in report.verdicts:
            _check(case, verdict, limit)


def _check(case: Case, verdict: Verdict, limit: int) -> None:
    checks = tuple(verdict.invariant.checks_of(case))
    verdict.looked_at["orders"] += bool(checks)
    for check in checks:
        for detail in check(case):
            verdict.add(Violation(str(case.order.id), detail), limit=limit)


def _kinds(case: Case) -> list[str]:
    return ["ended" if case.order.ended else "open", *([] if case.remembered else ["forgotten"])]


def _note(invariant: Invariant, scope: Scope) -> str:
    return scope.ledger.note if invariant.uses_ledger else ""
