"""Set-based SQL for the engine's own tables, on the database of one service."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError, connections

from sagas.definition.messages import to_json

__all__ = [
    "ASYNC_COMMIT",
    "CommonTableExpressions",
    "array_literal",
    "fetch",
    "is_transient",
    "json_rows",
    "run",
]

# SQLSTATE classes and codes of trouble that passes: connection, transaction rollback (deadlock,
# serialization), resources, operator intervention and object in use; a read-only server; an idle
# session ended.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
PASSING_CLASSES = ("08", "40", "53", "55", "57")
PASSING_CODES = ("25006", "25P03", "25P04")

# In a FROM list: this statement's transaction does not wait until the log is on disk. For what the
# relay writes about sending and nothing else. The crash of a server may undo the last of it, and
# then a row is sent again, as after the crash of a relay; no row, and nothing that a row tells of,
# is ever written this way.
# https://www.postgresql.org/docs/current/wal-async-commit.html
ASYNC_COMMIT = "set_config('synchronous_commit', 'off', true)"


class CommonTableExpressions(NamedTuple):
    """Common table expressions, as they stand behind WITH, and their parameters: to be run with
    another statement.
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
    """Run a statement and return how many rows it touched."""
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, params)
        touched: int = cursor.rowcount
    return touched


def json_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as one parameter, for `jsonb_to_recordset`: encoded in C, not quoted in Python
    as arrays are.
    """
    return to_json(list(rows))


def array_literal(values: Iterable[object]) -> str:
    """Return ids or numbers, which need no quoting, as an array's literal."""
    return f"{{{','.join(map(str, values))}}}"


def is_transient(error: BaseException) -> bool:
    """Tell whether a database error says nothing about the work: the same transaction may
    succeed when run again.
    """
    state = getattr(error.__cause__, "sqlstate", None)
    if state is None:
        return isinstance(error, OperationalError | InterfaceError)
    return state.startswith(PASSING_CLASSES) or state in PASSING_CODES
