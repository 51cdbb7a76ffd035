"""Set-based SQL for the engine's own tables, on the database of one service."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError, connections

from sagas.definition.messages import to_json

__all__ = [
    "ASYNC_COMMIT",
    "LEASE_END",
    "CommonTableExpressions",
    "array_literal",
    "fetch",
    "is_transient",
    "json_rows",
    "lease_statement",
    "run",
    "seconds_from_now",
]

# SQLSTATE classes and codes of transient errors: connection, transaction rollback (deadlock,
# serialization), resources, operator intervention and object in use; a read-only server; an idle
# session ended.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
TRANSIENT_CLASSES = ("08", "40", "53", "55", "57")
TRANSIENT_CODES = ("25006", "25P03", "25P04")

# In a FROM list: the commit of this statement does not wait for the disk. Only the relay uses it,
# for the columns that say when a row is sent. A crash of the database server may lose such an
# update, and then the row is sent again. Rows and their contents are never written this way.
# https://www.postgresql.org/docs/current/wal-async-commit.html
ASYNC_COMMIT = "set_config('synchronous_commit', 'off', true)"

# A statement with a lease needs the parameters `limit` and `lease` (seconds).
# now() finds the rows, because clock_timestamp() is volatile and so cannot use an index.
LEASE = """
UPDATE {table}
   SET {due} = {lease_end}{changes}{source}
 WHERE id = ANY(ARRAY(SELECT id FROM {table}
                       WHERE {due} <= now() AND {condition}
                       ORDER BY {due} {direction} LIMIT %(limit)s
                         FOR NO KEY UPDATE SKIP LOCKED))
RETURNING {returning}
"""


class CommonTableExpressions(NamedTuple):
    """Common table expressions without the word WITH, and their parameters.

    Another statement runs them as a part of itself, which saves a round trip.
    """

    sql: str
    params: Mapping[str, Any]


def fetch(alias: str, sql: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows."""
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def run(alias: str, sql: str, params: Mapping[str, Any]) -> int:
    """Run a statement and return how many rows it changed."""
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, params)
        changed: int = cursor.rowcount
    return changed


def seconds_from_now(seconds: str) -> str:
    """Return an SQL expression for a time. `seconds` is SQL as well, and null gives null."""
    return f"clock_timestamp() + make_interval(secs => {seconds})"


LEASE_END = seconds_from_now("%(lease)s")


def lease_statement(  # noqa: PLR0913  named parts of one statement
    table: str,
    *,
    due: str,
    returning: str,
    condition: str = "true",
    changes: Sequence[str] = (),
    seconds: str = "%(lease)s",
    newest_first: bool = False,
    async_commit: bool = False,
) -> str:
    """Return a statement that leases due rows: it moves their time ahead, and returns them.

    `due` is the column that holds the time. Until then no other process takes the rows; if this
    process dies, they become due again. The statement takes up to `%(limit)s` rows, the longest
    due first, and skips rows that are locked. `changes` are further assignments, and `condition`
    says which rows take part. The lease lasts `seconds`, an SQL expression.
    """
    return LEASE.format(
        table=table,
        due=due,
        lease_end=seconds_from_now(seconds),
        changes="".join(f", {change}" for change in changes),
        source=f"\n  FROM {ASYNC_COMMIT}" if async_commit else "",
        condition=condition,
        direction="DESC" if newest_first else "ASC",
        returning=returning,
    )


def json_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as one JSON parameter for `jsonb_to_recordset`.

    JSON is encoded in C. The driver would quote arrays in Python, which is slower.
    """
    return to_json(list(rows))


def array_literal(values: Iterable[object]) -> str:
    """Return an array literal of values that need no quoting, such as ids, numbers and names."""
    return f"{{{','.join(map(str, values))}}}"


def is_transient(error: BaseException) -> bool:
    """Return whether a database error may go away when the same transaction runs again."""
    state = getattr(error.__cause__, "sqlstate", None)
    if state is None:
        return isinstance(error, OperationalError | InterfaceError)
    return state.startswith(TRANSIENT_CLASSES) or state in TRANSIENT_CODES
