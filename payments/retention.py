"""Deletes old webhook events, finished reconciliations and closed differences, in small batches."""

from django.conf import settings

from sagas import sql

__all__ = ["purge_differences", "purge_events", "purge_reconciliations"]

# Stripe repeats an event for three days.
SHORTEST_EVENT_DAYS = 7

# As long as the runs of the audit.
RECONCILIATION_DAYS = 90

# As long as the log of staff by default, which also has the reason for each closing.
DIFFERENCE_DAYS = 730

OLD_EVENT = "old.received_at < now() - make_interval(days => %(days)s)"

# The last scheduled window of each gateway is kept, because the next one begins where it ended. The
# LIMIT makes PostgreSQL look up the next window in the index, and not read the whole table.
OLD_WINDOW = """
old.finished_at < now() - make_interval(days => %(days)s)
AND (NOT old.scheduled
     OR (SELECT newer.id FROM payments_reconciliation AS newer
          WHERE newer.finished_at > old.finished_at AND newer.scheduled
            AND newer.gateway = old.gateway
          ORDER BY newer.finished_at LIMIT 1) IS NOT NULL)
"""

# A window that a command has left unfinished. Ids grow, so it began before a window that finished
# long ago.
OLD_UNFINISHED = """
old.finished_at IS NULL AND NOT old.scheduled
AND old.id < (SELECT max(id) FROM payments_reconciliation
               WHERE finished_at < now() - make_interval(days => %(days)s))
"""

# An open difference is kept until a person closes it.
OLD_DIFFERENCE = """
old.closed_at < now() - make_interval(days => %(days)s)
AND old.last_seen_at < now() - make_interval(days => %(days)s)
"""


def purge_events() -> int:
    """Delete the events that Stripe repeats no more; return how many."""
    days = max(settings.SAGA_RETENTION_DAYS, SHORTEST_EVENT_DAYS)
    return sql.delete_in_batches(
        "payments", "payments_webhookevent", OLD_EVENT, {"days": days}, order="received_at"
    )


def purge_reconciliations() -> int:
    """Delete the windows that were compared more than RECONCILIATION_DAYS ago; return how many."""
    return sum(
        sql.delete_in_batches(
            "payments",
            "payments_reconciliation",
            condition,
            {"days": RECONCILIATION_DAYS},
            order="finished_at",
        )
        for condition in (OLD_UNFINISHED, OLD_WINDOW)
    )


def purge_differences() -> int:
    """Delete the differences that were closed and last seen more than DIFFERENCE_DAYS ago.

    Return how many.
    """
    return sql.delete_in_batches(
        "payments",
        "payments_drift",
        OLD_DIFFERENCE,
        {"days": DIFFERENCE_DAYS},
        order="closed_at",
    )
