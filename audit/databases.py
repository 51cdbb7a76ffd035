"""Reading the three databases, and nothing but reading: every statement runs in a transaction
that cannot write.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from django.db import DatabaseError, InterfaceError, connections, transaction

__all__ = ["DatabaseUnavailable", "fetch", "keys"]

# Milliseconds. One pass over a table of millions may take longer than the 20 s that a request or a
# step is given.
STATEMENT_TIMEOUT = 600_000

# Keys read at once: enough to make round trips cheap, few enough to hold in memory.
KEYS = 5_000

GUARD = "SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', %s, true)"

NEXT_KEYS = """
SELECT DISTINCT {column} FROM {table}
 WHERE (%(after)s::{kind} IS NULL OR {column} > %(after)s::{kind}) ORDER BY {column} LIMIT %(limit)s
"""


class DatabaseUnavailable(Exception):
    """A service's database cannot be reached, or does not hold the tables that are expected
    there.
    """

    def __init__(self, alias: str, error: Exception) -> None:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        super().__init__(f"The database {alias!r} cannot be audited: {reason}")


def fetch(alias: str, sql: str, params: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows, all as of one moment. Raises `DatabaseUnavailable`."""
    try:
        with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            cursor.execute(GUARD, [str(STATEMENT_TIMEOUT)])
            cursor.execute(sql, params or {})
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows
    except (DatabaseError, InterfaceError) as error:
        raise DatabaseUnavailable(alias, error) from error


def keys(alias: str, table: str, column: str, *, kind: str = "uuid") -> Iterator[list[Any]]:
    """Yield the distinct values of an indexed column in ascending order, in pages."""
    statement = NEXT_KEYS.format(table=table, column=column, kind=kind)
    after = None
    while found := [key for (key,) in fetch(alias, statement, {"after": after, "limit": KEYS})]:
        yield found
        after = found[-1]
