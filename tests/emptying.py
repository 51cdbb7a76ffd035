"""Empties the tables after a test that commits. Only tables that have pages on disk are emptied:
there are some 120 tables, and Django's flush costs more than most tests.

Django writes some rows in each flush, such as permissions. As long as a test leaves them as they
are, they stay, and nothing writes them again.
"""

from collections.abc import Collection, Mapping
from typing import Any

from django.core.management import CommandError, call_command
from django.db import OperationalError, connections
from psycopg.errors import DeadlockDetected

__all__ = ["empty_tables"]

# The tables that a flush fills. No other rows belong to the baseline: they are of a test, or of a
# process that it has left.
SEEDED = {"auth_group", "auth_group_permissions", "auth_permission", "django_content_type"}

# A database is emptied again after this number of deadlocks at most.
MOST_DEADLOCKS = 4

# A fingerprint for each table of a database that a flush has filled.
_left_by_flush: dict[str, dict[str, str]] = {}

# For each database, the tables whose rows refer to a table, directly or through others.
_referring: dict[str, dict[str, set[str]]] = {}

REFERENCES = """
SELECT confrelid::regclass::text, conrelid::regclass::text FROM pg_constraint WHERE contype = 'f'
"""

# The tables with pages on disk, and whether to truncate each. A few rows are faster to delete than
# the files of a table are to replace. The rows of a table with triggers are not deleted one by one.
PAGES = """
SELECT c.relname, pg_relation_size(c.oid) > 65536
       OR EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
  FROM pg_class c
 WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND pg_relation_size(c.oid) > 0
"""


def empty_tables(alias: str) -> None:
    """Leave the rows in a database that a flush leaves.

    A process that a test has left may still be in its last transaction. If this one and that one
    wait for each other, PostgreSQL ends one of them. Then the tables are emptied again.
    """
    for deadlocks_left in reversed(range(MOST_DEADLOCKS + 1)):
        try:
            _empty_once(alias)
        except (CommandError, OperationalError) as error:
            if not deadlocks_left or not _is_deadlock(error):
                raise
        else:
            return


def _empty_once(alias: str) -> None:
    expected = _left_by_flush.get(alias)
    if expected is None or not _empty_others(alias, expected):
        _flush(alias)


def _is_deadlock(error: BaseException) -> bool:
    """Tell whether an error comes from a deadlock. `flush` raises one of its own from that of the
    database.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, DeadlockDetected):
        cause = cause.__cause__
    return cause is not None


def _empty_others(alias: str, expected: Mapping[str, str]) -> bool:
    """Empty the tables that a flush leaves empty; return False if this is not possible."""
    pages = _tables_with_pages(alias)
    if not expected.keys() <= pages.keys() or _fingerprints(alias, expected) != expected:
        return False

    others = pages.keys() - expected.keys()
    truncated: set[str] = set()
    for table in others:
        if pages[table]:
            truncated |= {table} | _referring[alias].get(table, set())
    if truncated & expected.keys():
        return False

    statements = [f"DELETE FROM {_quoted(table)}" for table in sorted(others - truncated)]
    if truncated:
        statements.insert(0, f"TRUNCATE {', '.join(map(_quoted, sorted(truncated)))}")
    if statements:
        _run(alias, "; ".join(statements))
    return True


def _flush(alias: str) -> None:
    call_command("flush", verbosity=0, interactive=False, database=alias, reset_sequences=False)
    filled = _with_rows(alias, _tables_with_pages(alias).keys() & SEEDED)
    _left_by_flush[alias] = _fingerprints(alias, filled)
    _referring[alias] = _closure(_run(alias, REFERENCES))


def _tables_with_pages(alias: str) -> dict[str, bool]:
    """Return the tables of models that may have rows, and for each whether to truncate it."""
    ours = set(connections[alias].introspection.django_table_names())
    return {table: truncate for table, truncate in _run(alias, PAGES) if table in ours}


def _with_rows(alias: str, tables: Collection[str]) -> set[str]:
    """Return those of some tables that have rows."""
    asked = [f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {_quoted(table)})" for table in tables]
    return {table for (table,) in _run(alias, " UNION ALL ".join(asked))} if asked else set()


def _fingerprints(alias: str, tables: Collection[str]) -> dict[str, str]:
    """Return a fingerprint of all rows of each table."""
    asked = [
        f"SELECT '{table}', md5(string_agg(held::text, ',' ORDER BY held::text))"
        f" FROM {_quoted(table)} held"
        for table in tables
    ]
    return dict(_run(alias, " UNION ALL ".join(asked))) if asked else {}


def _closure(references: list[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for referred, referring in references:
        found.setdefault(referred, set()).add(referring)
    for _ in found:
        for direct in found.values():
            direct |= {further for one in direct for further in found.get(one, ())}
    return found


def _quoted(table: str) -> str:
    return f'"{table}"'


def _run(alias: str, statement: str) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []
