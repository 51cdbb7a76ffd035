"""Reads the three databases. Every statement runs in a read-only transaction."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.db import DatabaseError, InterfaceError, connections, transaction

__all__ = ["STATEMENT_TIMEOUT", "DatabaseUnavailable", "TookTooLong", "fetch", "keys"]

# Milliseconds. A scan of a table of millions may take longer than the 20 s of a request or a step.
STATEMENT_TIMEOUT = 600_000

# https://www.postgresql.org/docs/current/errcodes-appendix.html
QUERY_CANCELED = "57014"

# Keys read at once: few round trips, and little memory.
KEYS = 5_000

READ_ONLY = """
SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', %s, true)
"""

NEXT_KEYS = """
SELECT DISTINCT {column} FROM {table}
 WHERE (%(after)s::{kind} IS NULL OR {column} > %(after)s::{kind}) ORDER BY {column} LIMIT %(limit)s
"""


class DatabaseUnavailable(Exception):
    """A service's database is not reachable, or does not have the expected tables."""

    def __init__(self, alias: str, error: Exception) -> None:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        super().__init__(f"The audit cannot read the database {alias!r}: {reason}")


class TookTooLong(DatabaseUnavailable):
    """A statement reached its time limit."""


def fetch(
    alias: str,
    sql: str,
    params: Mapping[str, Any] | None = None,
    *,
    milliseconds: int = STATEMENT_TIMEOUT,
) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows, all as of one moment.

    Raises `DatabaseUnavailable`, and `TookTooLong` if the statement reaches its time limit.
    """
    try:
        with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            cursor.execute(READ_ONLY, [str(milliseconds)])
            cursor.execute(sql, params or {})
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows
    except (DatabaseError, InterfaceError) as error:
        code = getattr(error.__cause__, "sqlstate", None)
        kind = TookTooLong if code == QUERY_CANCELED else DatabaseUnavailable
        raise kind(alias, error) from error


def keys(alias: str, table: str, column: str, *, kind: str = "uuid") -> Iterator[list[Any]]:
    """Yield the distinct values of an indexed column in ascending order, in pages."""
    statement = NEXT_KEYS.format(table=table, column=column, kind=kind)
    after = None
    while page := [key for (key,) in fetch(alias, statement, {"after": after, "limit": KEYS})]:
        yield page
        after = page[-1]
