"""Detects in PostgreSQL that the long poller polls for a request."""

from datetime import datetime

from django.db import connection

from tests.processes import Process, until

__all__ = ["until_polled"]

POLLS = """
SELECT query_start FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND strpos(query, 'xmin') > 0
"""


def until_polled(process: Process | None = None) -> None:
    """Wait until the long poller has polled, on a connection that it keeps.

    A request queries its order once before it has a slot. Every later query is the poller's.
    """
    polls: set[datetime] = set()

    def polled() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(POLLS)
            polls.update(at for (at,) in cursor.fetchall())
        return len(polls) > 1

    until(polled, "the long poller polls for the order", process=process)
