"""The windows of the scheduled reconciliation: which is next, which worker has it, and its cursor.

A window is one row. The worker that leases it moves its cursor, part by part. Each part commits
together with its differences.
"""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from msgspec import Struct

from payments.models import Reconciliation
from payments.reconciliation import drifts
from payments.reconciliation.missing import stored_names
from payments.reconciliation.parts import FIRST_PART, PartResult
from sagas import sql

__all__ = [
    "LeaseLost",
    "Window",
    "advance",
    "claim",
    "gateways_in_use",
    "next_window",
    "open_due",
    "release",
    "whole_second",
]

# A window ends this long ago, because newer movements may not be recorded yet, here or there.
SETTLING_TIME = timedelta(minutes=10)

# Windows overlap, because clocks differ. The first window reaches back by FIRST_WINDOW.
OVERLAP = timedelta(hours=1)
FIRST_WINDOW = timedelta(days=1)

# The end of a scheduled window, or its last time that had settled when the window was compared.
LAST = """
SELECT now(), (SELECT max(least(until, finished_at - %(settling)s::interval))
                 FROM payments_reconciliation
                WHERE scheduled AND finished_at IS NOT NULL
                  AND gateway = ANY(%(gateways)s::text[]))
"""

# The first part is as long as the last part of the window before, if that had shorter ones. Opens
# none if another worker has finished a window since the times were read.
OPEN = """
INSERT INTO payments_reconciliation
       (gateway, scheduled, since, until, compared_until, movements, drifts, finished_at,
        part_seconds)
SELECT %(gateway)s::text, true, %(since)s::timestamptz, %(until)s::timestamptz,
       %(since)s::timestamptz, 0, 0, NULL,
       least(%(part_seconds)s::float8,
             (SELECT part_seconds FROM payments_reconciliation
               WHERE scheduled AND finished_at IS NOT NULL AND gateway = %(gateway)s::text
               ORDER BY id DESC LIMIT 1))
 WHERE NOT EXISTS (SELECT 1 FROM payments_reconciliation
                    WHERE scheduled AND gateway = %(gateway)s::text
                      AND finished_at > %(until)s::timestamptz + %(settling)s::interval)
ON CONFLICT (gateway) WHERE finished_at IS NULL AND scheduled DO NOTHING
"""

CLAIM = """
UPDATE payments_reconciliation
   SET leased_until = clock_timestamp() + make_interval(secs => %(seconds)s)
 WHERE gateway = %(gateway)s AND scheduled AND finished_at IS NULL
   AND (leased_until IS NULL OR leased_until <= clock_timestamp())
RETURNING id, gateway, compared_until, until, part_seconds, leased_until
"""

ADVANCE = """
UPDATE payments_reconciliation
   SET compared_until = %(until)s, movements = movements + %(movements)s,
       drifts = drifts + %(drifts)s, part_seconds = %(part_seconds)s, error = '',
       finished_at = CASE WHEN %(until)s >= until THEN clock_timestamp() END
 WHERE id = %(id)s AND compared_until = %(since)s AND finished_at IS NULL
   AND leased_until IS NOT DISTINCT FROM %(leased_until)s
RETURNING id
"""

RELEASE = """
UPDATE payments_reconciliation
   SET leased_until = NULL, error = %(error)s, part_seconds = %(part_seconds)s
 WHERE id = %(id)s AND leased_until = %(leased_until)s
"""

# A loose index scan: one lookup for each name, also in a table of millions.
NAMES = """
WITH RECURSIVE names (gateway) AS (
    (SELECT gateway FROM payments_payment ORDER BY gateway LIMIT 1)
    UNION ALL
    SELECT (SELECT gateway FROM payments_payment
             WHERE gateway > names.gateway ORDER BY gateway LIMIT 1)
      FROM names WHERE names.gateway IS NOT NULL
)
SELECT gateway FROM names WHERE gateway IS NOT NULL
   AND EXISTS (SELECT 1 FROM payments_payment AS payment
                WHERE payment.gateway = names.gateway AND payment.updated_at >= %(since)s)
"""


class LeaseLost(Exception):
    """Another worker has taken the window, or has already compared the part."""


class Window(Struct, kw_only=True):
    """A window in progress: its cursor, its end, and the length of its next part."""

    id: int
    gateway: str
    compared_until: datetime
    until: datetime
    part: timedelta = FIRST_PART
    leased_until: datetime | None = None

    @property
    def part_until(self) -> datetime:
        """The end of the next part."""
        return min(self.compared_until + self.part, self.until)

    @property
    def is_finished(self) -> bool:
        """Whether the whole window is compared."""
        return self.compared_until >= self.until


def next_window(gateway: str = "") -> tuple[datetime, datetime]:
    """Return the start and end of a gateway's next scheduled window, which overlaps the last one.

    The default is the configured gateway.
    """
    now, last = _now_and_last(gateway or settings.PAYMENT_GATEWAY)
    return last - OVERLAP if last else now - FIRST_WINDOW, now - SETTLING_TIME


def gateways_in_use(since: datetime) -> list[str]:
    """Return the configured gateway, and each gateway with a payment that changed since a time."""
    names = {name for (name,) in sql.fetch("payments", NAMES, {"since": since})}
    return sorted({settings.PAYMENT_GATEWAY, *(name for name in names if name)})


def open_due() -> list[str]:
    """Open the windows that are due, and return the gateways with a window in progress."""
    earliest, _ = next_window()
    unfinished = Reconciliation.objects.filter(scheduled=True, finished_at=None)
    names = {*gateways_in_use(earliest), *unfinished.values_list("gateway", flat=True)}
    for name in names:
        if _is_due(name):
            since, until = next_window(name)
            params = {
                "gateway": name,
                "since": since,
                "until": until,
                "settling": SETTLING_TIME,
                "part_seconds": FIRST_PART.total_seconds(),
            }
            sql.run("payments", OPEN, params)
    return sorted(unfinished.values_list("gateway", flat=True))


def claim(gateway: str) -> Window | None:
    """Lease a gateway's window; None if another worker has it, or none is in progress.

    The lease is longer than the time limit of a task, and ends by itself if the worker dies. Work
    that takes longer may lose the window to another worker: it then stores nothing more.
    """
    params = {"gateway": gateway, "seconds": 1.2 * settings.CELERY_TASK_TIME_LIMIT}
    for row in sql.fetch("payments", CLAIM, params):
        id_, name, compared_until, until, seconds, leased_until = row
        return Window(
            id=id_,
            gateway=name,
            compared_until=compared_until,
            until=until,
            part=timedelta(seconds=seconds),
            leased_until=leased_until,
        )
    return None


def advance(window: Window, result: PartResult, part: timedelta) -> None:
    """Store a part's differences and move the cursor to its end, in one transaction.

    `part`: the length of the next part. Raise LeaseLost without storing any.
    """
    params = {
        **_columns(window),
        "since": window.compared_until,
        "until": window.part_until,
        "movements": result.movements,
        "drifts": len(result.comparison.discrepancies),
        "part_seconds": part.total_seconds(),
    }
    with transaction.atomic(using="payments"):
        if not sql.fetch("payments", ADVANCE, params):
            raise LeaseLost(f"Another worker compares the window {window.id} of {window.gateway}.")
        drifts.store(result.comparison)
    window.compared_until, window.part = window.part_until, part


def release(window: Window, *, error: str = "") -> None:
    """Give back the lease, with the length of the next part and the reason of a failure."""
    params = {**_columns(window), "error": error, "part_seconds": window.part.total_seconds()}
    sql.run("payments", RELEASE, params)


def whole_second(moment: datetime) -> datetime:
    """Return the first whole second that is not before a moment."""
    return moment + timedelta(microseconds=-moment.microsecond % 1_000_000)


def _is_due(gateway: str) -> bool:
    now, last = _now_and_last(gateway)
    pause = timedelta(seconds=settings.RECONCILE_SECONDS)
    return last is None or now - SETTLING_TIME - last >= pause


def _now_and_last(gateway: str) -> tuple[datetime, datetime | None]:
    params = {"settling": SETTLING_TIME, "gateways": stored_names(gateway)}
    ((now, last),) = sql.fetch("payments", LAST, params)
    return now, last


def _columns(window: Window) -> dict[str, Any]:
    return {"id": window.id, "leased_until": window.leased_until}
