"""The scheduled audits as rows: which is due, which worker has it, its cursor, and its findings."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from msgspec import Struct

from audit.models import AuditRun
from sagas import sql

__all__ = [
    "FoundViolation",
    "LeaseLost",
    "PageResult",
    "Run",
    "advance",
    "claim",
    "purge_finished",
    "release",
]

Phase = AuditRun.Phase

# A window ends this long ago, because a transaction may commit after the time that it has written.
SETTLING_TIME = timedelta(minutes=2)

# Windows overlap, because the clocks of the databases may differ. The first window reaches back by
# FIRST_WINDOW; `manage.py audit` checks all orders.
OVERLAP = timedelta(minutes=10)
FIRST_WINDOW = timedelta(days=1)

# Days after which finished runs are deleted.
KEPT_DAYS = 90

OPEN = """
INSERT INTO audit_auditrun (since, until)
SELECT coalesce(last - %(overlap)s::interval, now() - %(first)s::interval),
       now() - %(settling)s::interval
  FROM (SELECT max(until) AS last FROM audit_auditrun WHERE finished_at IS NOT NULL) AS finished
 WHERE last IS NULL OR now() - %(settling)s::interval - last >= make_interval(secs => %(pause)s)
ON CONFLICT DO NOTHING
"""

CLAIM = """
UPDATE audit_auditrun
   SET leased_until = clock_timestamp() + make_interval(secs => %(seconds)s)
 WHERE finished_at IS NULL AND (leased_until IS NULL OR leased_until <= clock_timestamp())
RETURNING id, since, until, phase, after_at, after_key, error, leased_until
"""

# The count of the findings is taken last, in the transaction that stores them.
ADVANCE = """
UPDATE audit_auditrun
   SET phase = %(phase)s::text, after_at = %(after_at)s, after_key = %(after_key)s,
       orders = orders + %(orders)s, sagas = sagas + %(sagas)s, skus = skus + %(skus)s,
       error = %(error)s,
       violations = CASE WHEN %(phase)s::text = 'done'
                         THEN (SELECT count(*) FROM audit_finding) ELSE violations END,
       finished_at = CASE WHEN %(phase)s::text = 'done' THEN clock_timestamp() END
 WHERE id = %(id)s AND finished_at IS NULL AND leased_until = %(leased_until)s
RETURNING id
"""

RELEASE = """
UPDATE audit_auditrun SET leased_until = NULL, error = %(error)s
 WHERE id = %(id)s AND leased_until = %(leased_until)s
"""

# A subject that was checked keeps only the findings of this check.
FORGET = """
DELETE FROM audit_finding
 WHERE subject = ANY(%(checked)s::text[])
   AND (subject, invariant) NOT IN (SELECT * FROM unnest(%(subjects)s::text[],
                                                         %(invariants)s::text[]))
"""

STORE = """
INSERT INTO audit_finding AS finding (invariant, subject, detail, kind)
SELECT * FROM unnest(%(invariants)s::text[], %(subjects)s::text[], %(details)s::text[],
                     %(kinds)s::text[])
ON CONFLICT (subject, invariant) DO UPDATE
   SET detail = EXCLUDED.detail, kind = EXCLUDED.kind, last_seen_at = clock_timestamp()
"""

OLD = "old.finished_at < now() - make_interval(days => %(days)s)"


class LeaseLost(Exception):
    """Another worker has taken the audit."""


class Run(Struct, kw_only=True):
    """A scheduled audit in progress: its window, and its cursor in the rows of a phase."""

    id: int
    since: datetime
    until: datetime
    phase: str
    after_at: datetime | None
    after_key: str
    error: str
    leased_until: datetime


class FoundViolation(Struct, frozen=True, order=True):
    """A violation of an invariant by a saga, such as an order, or by a SKU.

    `kind` is the name of the saga's kind; empty for a SKU.
    """

    subject: str
    invariant: str
    detail: str
    kind: str = ""


class PageResult(Struct, frozen=True, kw_only=True):
    """The result of a page: the checked subjects, their violations, and the next cursor.

    `sagas` are of kinds besides orders. `error`: the reason for rows that could not be checked.
    """

    phase: str
    after_at: datetime | None = None
    after_key: str = ""
    orders: Sequence[str] = ()
    sagas: Sequence[str] = ()
    skus: Sequence[str] = ()
    violations: Sequence[FoundViolation] = ()
    error: str = ""


def claim() -> Run | None:
    """Open a window if one is due, and lease it; None if none is due or another worker has it.

    The lease outlasts every task, and ends by itself if the worker dies.
    """
    opening = {
        "overlap": OVERLAP,
        "first": FIRST_WINDOW,
        "settling": SETTLING_TIME,
        "pause": settings.AUDIT_SECONDS,
    }
    sql.run("default", OPEN, opening)
    columns = ("id", "since", "until", "phase", "after_at", "after_key", "error", "leased_until")
    for row in sql.fetch("default", CLAIM, {"seconds": 1.2 * settings.CELERY_TASK_TIME_LIMIT}):
        return Run(**dict(zip(columns, row, strict=True)))
    return None


def advance(run: Run, page: PageResult) -> None:
    """Store a page's findings and move the cursor, in one transaction. After the last page, delete
    old runs.

    Raise LeaseLost without storing any.
    """
    cursor = {"phase": page.phase, "after_at": page.after_at, "after_key": page.after_key}
    params = {
        "id": run.id,
        "leased_until": run.leased_until,
        "orders": len(page.orders),
        "sagas": len(page.sagas),
        "skus": len(page.skus),
        "error": page.error,
        **cursor,
    }
    with transaction.atomic(using="default"):
        _store([*page.orders, *page.sagas, *page.skus], page.violations)
        if not sql.fetch("default", ADVANCE, params):
            raise LeaseLost(f"Another worker continues the scheduled audit {run.id}.")
    run.phase, run.after_at, run.after_key = page.phase, page.after_at, page.after_key
    run.error = page.error
    if page.phase == Phase.DONE:
        purge_finished()


def release(run: Run, *, error: str = "") -> None:
    """Give back the lease, with the reason of a failure."""
    params = {"id": run.id, "leased_until": run.leased_until, "error": error}
    sql.run("default", RELEASE, params)


def purge_finished() -> int:
    """Delete the runs that finished more than KEPT_DAYS ago; return how many."""
    return sql.delete_in_batches(
        "default", "audit_auditrun", OLD, {"days": KEPT_DAYS}, order="finished_at"
    )


def _store(checked: Sequence[str], violations: Iterable[FoundViolation]) -> None:
    found = sorted(violations)
    params = {
        "checked": list(checked),
        "subjects": [each.subject for each in found],
        "invariants": [each.invariant for each in found],
        "details": [each.detail for each in found],
        "kinds": [each.kind for each in found],
    }
    if checked:
        sql.run("default", FORGET, params)
    if found:
        sql.run("default", STORE, params)
