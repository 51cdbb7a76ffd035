"""Set-based SQL for the engine's own tables, on the database of one service."""

from collections.abc import Mapping
from typing import Any

from django.db import InterfaceError, OperationalError, connections

__all__ = ["fetch", "is_passing", "run"]

# SQLSTATE classes and codes of trouble that passes: connection, transaction rollback (deadlock, serialization),
# resources, operator intervention and object in use; a read-only server; an idle session ended.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
PASSING_CLASSES = ("08", "40", "53", "55", "57")
PASSING_CODES = ("25006", "25P03", "25P04")


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


def is_passing(error: BaseException) -> bool:
    """Tell whether a database error says nothing about the work: the same transaction may succeed when run again."""
    state = getattr(error.__cause__, "sqlstate", None)
    if state is None:
        return isinstance(error, OperationalError | InterfaceError)
    return state.startswith(PASSING_CLASSES) or state in PASSING_CODES
