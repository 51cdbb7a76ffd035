"""What the console forgets, and when: drafts, runs, and the oldest of the log. In batches that hold
nobody up.

A draft never confirmed is of no use after some days; a run is kept as long as people look back at
what it did to each order; the log answers who did what, and is kept longest, for at least a year
(the database refuses less). A run that awaits a second person, or runs, is kept.
"""

from collections.abc import Mapping

from django.conf import settings
from django.db import transaction

from sagas.storage import sql

__all__ = ["purge"]

# Rows deleted in one transaction.
BATCH = 1_000

# Locked, so that one that is being confirmed at this moment is passed by, or found to be gone.
OLD = """
SELECT id FROM console_run
 WHERE state = 'draft' AND created_at < now() - make_interval(days => %(drafts)s)
    OR state IN ('ended', 'declined') AND ended_at < now() - make_interval(days => %(runs)s)
 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
"""
ITEMS = """
DELETE FROM console_runitem WHERE id = ANY(ARRAY(SELECT id FROM console_runitem WHERE run_id = %(run)s LIMIT %(batch)s))
"""
RUN = "DELETE FROM console_run r WHERE id = %(run)s AND NOT EXISTS (SELECT 1 FROM console_runitem WHERE run_id = r.id)"

# By the primary key, as the oldest have the lowest.
LOG = """
DELETE FROM console_logentry WHERE id = ANY(ARRAY(
  SELECT oldest.id FROM (SELECT id, at FROM console_logentry ORDER BY id LIMIT %(batch)s) oldest
   WHERE oldest.at < now() - make_interval(days => %(log)s)))
"""


def purge() -> int:
    """Forget what is old enough; return how many rows were deleted."""
    params = {
        "drafts": settings.CONSOLE_DRAFT_DAYS,
        "runs": settings.CONSOLE_RUN_DAYS,
        "log": settings.CONSOLE_LOG_DAYS,
        "batch": BATCH,
    }
    purged = 0
    for batch in (_purge_run, _purge_log):
        while count := batch(params):
            purged += count
    return purged


def _purge_run(params: Mapping[str, object]) -> int:
    """Delete some orders of the oldest run, and the run once it has none left."""
    with transaction.atomic():
        found = sql.fetch("default", OLD, params)
        if not found:
            return 0
        of_run = {**params, "run": found[0][0]}
        return sql.run("default", ITEMS, of_run) + sql.run("default", RUN, of_run)


def _purge_log(params: Mapping[str, object]) -> int:
    return sql.run("default", LOG, params)
