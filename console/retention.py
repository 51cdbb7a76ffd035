"""Deletes old drafts, runs, log entries and rows of the admin's history, in small batches.

Drafts are kept for days, runs for months, and the log longest: at least a year, because the
database refuses to delete younger entries. The history of Django's admin is kept as long as the
log. A run that is running or awaits approval is kept.
"""

from collections.abc import Mapping

from django.db import transaction

from console.conf import setting
from sagas import sql

__all__ = ["purge"]

# Rows deleted in one transaction.
DELETED_AT_ONCE = 1_000

# The runs of the last 24 hours count towards the refunds of their requester.
COUNTED_DAYS = 2

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

# Entries are deleted in their order, up to the first that is too young. A database trigger refuses
# any other order, and logs the deletion.
LOG = """
DELETE FROM console_logentry WHERE seq <= (
  SELECT max(seq) FROM (
    SELECT seq, bool_and(at < now() - make_interval(days => %(log)s)) OVER (ORDER BY seq) AS is_old
      FROM (SELECT seq, at FROM console_logentry ORDER BY seq LIMIT %(batch)s) oldest) numbered
   WHERE is_old)
"""

# Once a day, because each deletion adds an entry.
LOG_IS_DUE = """
SELECT at < now() - make_interval(days => %(log)s + 1) FROM console_logentry ORDER BY seq LIMIT 1
"""

HISTORY = "old.action_time < now() - make_interval(days => %(log)s)"


def purge() -> int:
    """Delete the rows that are old enough; return how many."""
    params = {
        "drafts": setting("CONSOLE_DRAFT_DAYS"),
        "runs": max(setting("CONSOLE_RUN_DAYS"), COUNTED_DAYS),
        "log": setting("CONSOLE_LOG_DAYS"),
        "batch": DELETED_AT_ONCE,
    }
    batches = (_purge_run, *([_purge_log] if _log_is_due(params) else []))
    purged = 0
    for batch in batches:
        while count := batch(params):
            purged += count
    return purged + sql.delete_in_batches(
        "default", "django_admin_log", HISTORY, params, order="action_time"
    )


def _purge_run(params: Mapping[str, object]) -> int:
    """Delete some items of the oldest run, and the run itself once it has none left."""
    with transaction.atomic():
        found = sql.fetch("default", OLD, params)
        if not found:
            return 0
        run_params = {**params, "run": found[0][0]}
        return sql.run("default", ITEMS, run_params) + sql.run("default", RUN, run_params)


def _log_is_due(params: Mapping[str, object]) -> bool:
    return any(is_due for (is_due,) in sql.fetch("default", LOG_IS_DUE, params))


def _purge_log(params: Mapping[str, object]) -> int:
    return sql.run("default", LOG, params)
