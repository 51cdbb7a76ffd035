"""Set-based SQL on the database of one service, whose tables may also be its own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.db import DatabaseError, InterfaceError, OperationalError, connections

from sagas.definition.messages import to_json

__all__ = [
    "ASYNC_COMMIT",
    "DATABASE_ERRORS",
    "LEASE_END",
    "CommonTableExpressions",
    "array_literal",
    "delete_in_batches",
    "fetch",
    "is_lock_timeout",
    "is_transient",
    "is_transient_database_error",
    "json_rows",
    "lease_statement",
    "lock_wait",
    "run",
    "seconds_from_now",
    "to_json",
]

# The errors of Django's database layer. Its InterfaceError is not a DatabaseError.
DATABASE_ERRORS = (DatabaseError, InterfaceError)

# SQLSTATE classes and codes of transient errors: connection, transaction rollback (deadlock,
# serialization), resources, operator intervention and object in use; a read-only server; an idle
# session ended.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
TRANSIENT_CLASSES = ("08", "40", "53", "55", "57")
TRANSIENT_CODES = ("25006", "25P03", "25P04")

# The SQLSTATE of a statement that waited for a lock for longer than lock_timeout.
LOCK_NOT_AVAILABLE = "55P03"

SET_LOCK_TIMEOUT = """
SELECT current_setting('lock_timeout'), set_config('lock_timeout', %(timeout)s, true)
"""

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

# Rows that one transaction deletes, so that no other transaction waits for long.
DELETED_AT_ONCE = 1_000

# The outer condition applies to the newest version of a row, which another transaction may have
# changed since the rows were found. That row stays if it is no longer old.
DELETE_BATCH = """
DELETE FROM {table} AS old
 WHERE old.{key} = ANY(ARRAY(SELECT old.{key} FROM {table} AS old
                              WHERE {condition} ORDER BY old.{order} LIMIT %(batch)s))
   AND {condition}
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


def delete_in_batches(
    alias: str,
    table: str,
    condition: str,
    params: Mapping[str, Any],
    *,
    order: str,
    key: str = "id",
) -> int:
    """Delete the rows that a condition is true for, in small transactions; return how many.

    The condition names the row `old`. `key` is the primary key. `order` is the column with an index
    that finds the rows. Call it outside a transaction: each batch commits by itself.
    """
    statement = DELETE_BATCH.format(table=table, key=key, condition=condition, order=order)
    deleted = 0
    while count := run(alias, statement, {**params, "batch": DELETED_AT_ONCE}):
        deleted += count
    return deleted


@contextmanager
def lock_wait(alias: str, milliseconds: int) -> Iterator[None]:
    """Within a transaction, limit how long each statement waits for a lock.

    The caller's transaction or savepoint is rolled back if a statement raises.
    """
    params = {"timeout": f"{milliseconds}ms"}
    ((before, _),) = fetch(alias, SET_LOCK_TIMEOUT, params)
    yield
    fetch(alias, SET_LOCK_TIMEOUT, {"timeout": before})


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


def is_lock_timeout(error: BaseException) -> bool:
    """Return whether an error says that another transaction keeps a row or a table locked."""
    state = getattr(error.__cause__, "sqlstate", None)
    return isinstance(error, DatabaseError) and state == LOCK_NOT_AVAILABLE


def is_transient_database_error(error: BaseException) -> bool:
    """Return whether an error of any kind is a database error that may go away by itself."""
    return isinstance(error, DATABASE_ERRORS) and is_transient(error)
