"""The scheduled audit: its last result, for the start page and the metrics."""

from datetime import datetime

from msgspec import Struct

from audit.models import AuditRun, Finding

__all__ = ["LastResult", "last_result"]


class LastResult(Struct, frozen=True, kw_only=True):
    """The last scheduled audit that finished; all None before the first.

    `since` and `until`: it checked the orders and payments that changed between them, and all
    stock. `violations`: open findings, as they are now. `error` says why the audit in progress
    could not read a database, so that its result is unknown; empty if it could.
    """

    finished_at: datetime | None
    since: datetime | None
    until: datetime | None
    orders: int
    violations: int
    error: str


def last_result() -> LastResult:
    """Return the result of the last scheduled audit.

    It is of the orders database, so it raises if that is down.
    """
    last = AuditRun.objects.exclude(finished_at=None).order_by("-finished_at").first()
    in_progress = AuditRun.objects.filter(finished_at=None).first()
    return LastResult(
        finished_at=last.finished_at if last else None,
        since=last.since if last else None,
        until=last.until if last else None,
        orders=last.orders if last else 0,
        violations=Finding.objects.count(),
        error=in_progress.error if in_progress else "",
    )
