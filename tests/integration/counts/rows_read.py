"""The number of rows that statements read from large tables, as EXPLAIN (ANALYZE) counts them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from sagas import sql

__all__ = ["rows_read"]


def rows_read(work: Callable[[], object], *tables: str) -> float:
    """Return how many rows the statements of a function read from some tables, and passed by.

    Entries of an index that are read without their rows count as well.
    """
    with CaptureQueriesContext(connection) as ran, transaction.atomic():
        work()
        transaction.set_rollback(True)
    statements = [
        one["sql"] for one in ran.captured_queries if any(table in one["sql"] for table in tables)
    ]
    assert statements

    rows = 0.0
    for statement in statements:
        with transaction.atomic():
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}".replace("%", "%%")
            [(found,)] = sql.fetch("default", explain, {})
            transaction.set_rollback(True)
        [plan] = json.loads(found) if isinstance(found, str) else found
        rows += sum(_read(node, tables) for node in _nodes(plan["Plan"]))
    return rows


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _read(node: dict[str, Any], tables: tuple[str, ...]) -> float:
    is_index = node["Node Type"] == "Bitmap Index Scan"
    if not is_index and (
        node.get("Relation Name") not in tables or "Scan" not in node["Node Type"]
    ):
        return 0
    passed_by = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    rows: float = node["Actual Rows"] + sum(node.get(name, 0) for name in passed_by)
    return float(node["Actual Loops"] * rows)
