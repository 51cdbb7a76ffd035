"""Deletes old drafts, runs and log entries, in small batches.

Drafts are kept for days, runs for months, and the log longest: at least a year, because the
database refuses to delete younger entries. A run that is running or awaits approval is kept.
"""

from collections.abc import Mapping

from django.conf import settings
from django.db import transaction

from sagas.storage import sql

__all__ = ["purge"]

# Rows deleted in one transaction.
DELETED_AT_ONCE = 1_000

# SKIP LOCKED passes over a draft that is being confirmed at this moment.
OLD = """
SELECT id FROM console_run
 WHERE state = 'draft' AND created_at < now() - make_interval(days => %(drafts)s)
    OR state IN ('ended', 'declined') AND ended_at < now() - make_interval(days => %(runs)s)
 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
"""
ITEMS = """
DELETE FROM console_runitem
 WHERE id = ANY(ARRAY(SELECT id FROM console_runitem WHERE run_id = %(run)s LIMIT %(batch)s))
"""
RUN = """
DELETE FROM console_run r
 WHERE id = %(run)s AND NOT EXISTS (SELECT 1 FROM console_runitem WHERE run_id = r.id)
"""

# By primary key, because the oldest entries have the lowest.
LOG = """
DELETE FROM console_logentry WHERE id = ANY(ARRAY(
  SELECT oldest.id FROM (SELECT id, at FROM console_logentry ORDER BY id LIMIT %(batch)s) oldest
   WHERE oldest.at < now() - make_interval(days => %(log)s)))
"""


def purge() -> int:
    """Delete the rows that are old enough; return how many."""
    params = {
        "drafts": settings.CONSOLE_DRAFT_DAYS,
        "runs": settings.CONSOLE_RUN_DAYS,
        "log": settings.CONSOLE_LOG_DAYS,
        "batch": DELETED_AT_ONCE,
    }
    purged = 0
    for batch in (_purge_run, _purge_log):
        while count := batch(params):
            purged += count
    return purged


def _purge_run(params: Mapping[str, object]) -> int:
    """Delete some items of the oldest run, and the run itself once it has none left."""
    with transaction.atomic():
        found = sql.fetch("default", OLD, params)
        if not found:
            return 0
        run_params = {**params, "run": found[0][0]}
        return sql.run("default", ITEMS, run_params) + sql.run("default", RUN, run_params)


def _purge_log(params: Mapping[str, object]) -> int:
    return sql.run("default", LOG, params)
