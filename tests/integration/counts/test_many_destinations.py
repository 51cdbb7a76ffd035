"""Many destinations of a step on hold: each statement reads the rows of a hold only for that hold,
however many rows wait at the others.
"""

from datetime import timedelta

import pytest
from django.utils import timezone

from console.holds import troubled_steps
from sagas import sql
from sagas.storage import automatic_holds, hold_probes
from tests.integration.counts.rows_read import rows_read
from tests.integration.sagas.in_flight import PAY
from tests.trips.harness import TRIPS
from tests.trips.models import Hold

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

# The rows that wait at the first destination, and the holds with one row each, and with none.
ROWS, HOLDS = 10_000, 50

# Enough holds to show whether a statement reads each of them again and again.
MANY_HOLDS = 1_000

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
    place_holds(2 * HOLDS, rows=ROWS, others=HOLDS)
    assert rows_read(work, "trips_inbox") < 3 * ROWS


def test_the_choice_of_probes_reads_no_hold_again_for_each_of_the_others():
    place_holds(MANY_HOLDS, rows=0, others=MANY_HOLDS)
    assert rows_read(lambda: hold_probes.send_probes(TRIPS), "trips_hold") < 20 * MANY_HOLDS


def place_holds(holds, *, rows, others):
    """Put destinations on hold, with a number of rows at the first one, and one at some others."""
    sql.run("default", HELD, {"step": PAY, "rows": rows, "holds": others})
    earlier = timezone.now() - timedelta(minutes=6)
    Hold.objects.bulk_create(
        Hold(
            calling_step=PAY,
            destination=f"bank/{n}",
            automatic=True,
            since=earlier,
            probe_at=earlier,
            why="503",
        )
        for n in range(holds)
    )
    sql.run("default", "ANALYZE trips_inbox, trips_hold", {})
