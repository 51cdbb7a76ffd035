"""The scheduled audit of money, stock and the sagas of every kind, and its last result.

It checks the orders and payments that changed since the last one, the sagas of other kinds that
ended, those with open findings, and all stock counters. The ledger of the simulated gateway is
read; for the other gateways, the reconciliation compares their statements with payments.
`manage.py audit` checks all sagas and messages.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime

from django.core.exceptions import ImproperlyConfigured
from django.db.models import F
from msgspec import Struct

from audit import runs
from audit.databases import DatabaseUnavailable
from audit.models import AuditRun
from audit.pages import check_next_page
from audit.runs import LeaseLost, Run
from sagas import sql
from sagas.operations.table_stats import COUNT_LIMIT

__all__ = ["LastResult", "Progress", "last_result", "run_scheduled"]

logger = logging.getLogger(__name__)

# Findings of SKUs have no kind.
FINDINGS = """
SELECT kind, count(*) FROM (SELECT kind FROM audit_finding LIMIT %(most)s) found GROUP BY kind
"""


class LastResult(Struct, frozen=True, kw_only=True):
    """The last scheduled audit that finished; all None before the first.

    `since` and `until`: it checked the orders, payments and other sagas that changed between them,
    and all stock. `violations`: open findings, as they are now, up to COUNT_LIMIT. `by_kind`: how
    many of them are of each kind of saga, by its name. `error` says what could
    not be checked, as while a database is down, so that the result is unknown; empty if all was.
    """

    finished_at: datetime | None
    since: datetime | None
    until: datetime | None
    orders: int
    violations: int
    error: str
    by_kind: dict[str, int] = {}


class Progress(Struct):
    """The progress of a task: the pages that it checked, and whether it could go on at once."""

    pages: int = 0
    unfinished: bool = False


def last_result() -> LastResult:
    """Return the result of the last scheduled audit.

    It is of the orders database, so it raises if that is down.
    """
    # The audit in progress, if there is one, comes first. Both are read by one statement.
    newest = list(AuditRun.objects.order_by(F("finished_at").desc(nulls_first=True))[:2])
    in_progress = next((run for run in newest if run.finished_at is None), None)
    last = next((run for run in newest if run.finished_at is not None), None)
    by_kind = dict(sql.fetch("default", FINDINGS, {"most": COUNT_LIMIT}))
    return LastResult(
        finished_at=last.finished_at if last else None,
        since=last.since if last else None,
        until=last.until if last else None,
        orders=last.orders if last else 0,
        violations=sum(by_kind.values()),
        error=_error(last, in_progress),
        by_kind=by_kind,
    )


def run_scheduled(seconds: float, *, clock: Callable[[], float] = time.monotonic) -> Progress:
    """Check pages of the audit that is due or in progress, for some seconds. One worker at a time
    does so.
    """
    end = clock() + seconds
    progress = Progress()
    if run := runs.claim():
        error = ""
        try:
            _check_pages(run, progress, lambda: clock() < end)
        except LeaseLost as lost:
            logger.warning("The scheduled audit stops: %s", lost)
            return progress
        except (DatabaseUnavailable, ImproperlyConfigured) as unavailable:
            error = str(unavailable)
            logger.warning("The scheduled audit is tried again: %s", error)
        finally:
            runs.release(run, error=error or run.error)
        progress.unfinished = not error and run.phase != AuditRun.Phase.DONE
    return progress


def _check_pages(run: Run, progress: Progress, has_time: Callable[[], bool]) -> None:
    while run.phase != AuditRun.Phase.DONE and has_time():
        runs.advance(run, check_next_page(run))
        progress.pages += 1


def _error(last: AuditRun | None, in_progress: AuditRun | None) -> str:
    errors = [run.error for run in (last, in_progress) if run]
    return "\n".join(filter(None, errors))
