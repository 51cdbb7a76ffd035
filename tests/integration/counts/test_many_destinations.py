"""Many destinations of a step on hold: each statement reads the rows of a hold only for that hold,
however many rows wait at the others.
"""

import json
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from console.holds import troubled_steps
from sagas import sql
from sagas.storage import automatic_holds, hold_probes
from tests.integration.sagas.in_flight import PAY
from tests.trips.harness import TRIPS
from tests.trips.models import Hold

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

# The rows that wait at the first destination, and the holds with one row each, and with none.
ROWS, HOLDS = 10_000, 50

HELD = """
INSERT INTO trips_inbox (saga, saga_started_at, step, state, attempts, error, due_at, message,
                         destination)
SELECT uuidv7(), now(), %(step)s, 'held', 1, 'HTTP 503', now(),
       '{"plan": {"abort": "trips.drop"}}', 'bank/' || GREATEST(0, n - %(rows)s)
  FROM generate_series(1, %(rows)s + %(holds)s) n
"""

STATEMENTS = {
    "find the homes": lambda: automatic_holds.homes(TRIPS),
    "release the holds": lambda: hold_probes.release_proven(TRIPS),
    "choose the probes": lambda: hold_probes.send_probes(TRIPS),
    "show the holds": lambda: troubled_steps(TRIPS),
}


@pytest.mark.parametrize("work", STATEMENTS.values(), ids=STATEMENTS)
def test_a_hold_of_a_destination_does_not_read_the_rows_of_the_others(work):
    sql.run("default", HELD, {"step": PAY, "rows": ROWS, "holds": HOLDS})
    earlier = timezone.now() - timedelta(seconds=1)
    Hold.objects.bulk_create(
        Hold(calling_step=PAY, destination=f"bank/{n}", automatic=True, probe_at=earlier, why="503")
        for n in range(2 * HOLDS)
    )
    sql.run("default", "ANALYZE trips_inbox, trips_hold", {})

    assert rows_read(work) < 3 * ROWS


def rows_read(work):
    """Return how many rows the statements of a function read from the inbox, and passed by."""
    with CaptureQueriesContext(connection) as ran, transaction.atomic():
        work()
        transaction.set_rollback(True)
    statements = [one["sql"] for one in ran.captured_queries if "trips_inbox" in one["sql"]]
    assert statements

    rows = 0
    for statement in statements:
        with transaction.atomic():
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}".replace("%", "%%")
            [(found,)] = sql.fetch("default", explain, {})
            transaction.set_rollback(True)
        [plan] = json.loads(found) if isinstance(found, str) else found
        rows += sum(map(_read, _nodes(plan["Plan"])))
    return rows


def _nodes(plan):
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _read(node):
    if node.get("Relation Name") != "trips_inbox" or "Scan" not in node["Node Type"]:
        return 0
    return node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
