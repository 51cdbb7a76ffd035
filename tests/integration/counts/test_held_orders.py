"""Very many sagas on hold: a periodic round reads a few of their rows, and not all of them."""

from datetime import timedelta

import pytest
from django.utils import timezone

from sagas import deadlines, sql
from sagas.definition.hold_scope import HoldScope
from sagas.definition.messages import to_json
from sagas.delivery import relay
from sagas.operations import holds, probing, redrive
from sagas.storage import automatic_holds, hold_probes, inbox
from tests.broker import empty
from tests.integration.counts.rows_read import rows_read
from tests.integration.sagas.in_flight import PAY
from tests.trips.harness import HOME, PLAN, TRIPS, row
from tests.trips.models import Hold, Inbox

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

# The sagas on hold, and the older rows that are done. A round may read `READ` of the rows.
ROWS = 10_000
READ = 1_500
TABLES = ("trips_inbox", "trips_trip", "trips_outbox")
BANK = "bank/1"

OLD = """
INSERT INTO trips_inbox (saga, saga_started_at, step, state, attempts, error, due_at)
SELECT uuidv7(), now(), %(step)s, 'done', 1, '', now() FROM generate_series(1, %(rows)s)
"""
SAGAS = """
INSERT INTO trips_trip (id, plan, created_at, rescue_at, redrives, needs_attention, on_hold,
                        followed)
SELECT uuidv7(), %(plan)s::jsonb, now(), now() - interval '1 minute', 0, false, %(step)s, 0
  FROM generate_series(1, %(rows)s)
"""
HELD = """
INSERT INTO trips_inbox (saga, saga_started_at, step, state, attempts, error, due_at, message,
                         destination)
SELECT id, now(), on_hold, 'held', 1, 'HTTP 503', now(), jsonb_build_object('plan', plan),
       %(destination)s
  FROM trips_trip WHERE NOT EXISTS (SELECT 1 FROM trips_inbox i WHERE i.saga = trips_trip.id)
"""

HOLDS = {
    "of the step": [HoldScope(PAY)],
    "of a destination": [HoldScope(PAY, BANK)],
    "of both": [HoldScope(PAY), HoldScope(PAY, BANK)],
}


def release_held():
    probing.run_once(TRIPS)
    holds.resume(TRIPS)


ROUNDS = {
    "release_held": release_held,
    "flush": lambda: (inbox.free_lost(TRIPS), relay.flush(TRIPS)),
    "rescue": lambda: (deadlines.run_once(HOME), redrive.run_once(HOME)),
}


@pytest.fixture(autouse=True)
def no_messages():
    yield
    empty()


def hold(rows, destination=BANK):
    """Let some more sagas wait at the payment, at a destination."""
    params = {"rows": rows, "step": PAY, "destination": destination, "plan": to_json(PLAN)}
    sql.run("default", SAGAS, params)
    sql.run("default", HELD, params)


def analyze():
    sql.run("default", "ANALYZE trips_inbox, trips_trip, trips_hold", {})


@pytest.fixture(params=["analyzed", "analyzed while empty"])
def many(request):
    """Let very many sagas wait at the payment, behind as many that have paid."""
    if request.param == "analyzed while empty":
        analyze()
    sql.run("default", OLD, {"rows": ROWS, "step": PAY})
    hold(ROWS)
    if request.param == "analyzed":
        analyze()


def place(scopes, *, automatic):
    for scope in scopes:
        automatic_holds.place(TRIPS, scope, why="HTTP 503")
    earlier = timezone.now() - timedelta(minutes=6)
    Hold.objects.update(automatic=automatic, since=earlier, probe_at=earlier)


@pytest.mark.parametrize("automatic", [True, False], ids=["automatic", "manual"])
@pytest.mark.parametrize("scopes", HOLDS.values(), ids=HOLDS)
@pytest.mark.parametrize("work", ROUNDS.values(), ids=ROUNDS)
@pytest.mark.usefixtures("many")
def test_a_round_reads_a_few_of_the_sagas_on_hold(work, scopes, automatic):
    place(scopes, automatic=automatic)
    assert rows_read(work, *TABLES) < READ


@pytest.mark.usefixtures("many")
def test_a_round_after_the_release_reads_the_rows_that_it_sends():
    assert rows_read(lambda: holds._make_due(TRIPS), "trips_inbox") < 4 * holds.BATCH_SIZE


@pytest.mark.usefixtures("many")
def test_a_round_after_the_release_of_one_of_two_destinations_reads_the_rows_that_it_sends():
    hold(ROWS, "bank/2")
    place([HoldScope(PAY, BANK)], automatic=False)
    assert rows_read(lambda: holds._make_due(TRIPS), "trips_inbox") < 4 * holds.BATCH_SIZE


@pytest.mark.usefixtures("many")
def test_a_stalled_saga_behind_those_on_hold_is_found():
    place(HOLDS["of the step"], automatic=True)
    sql.run("default", SAGAS, {"rows": 1, "step": "", "plan": to_json(PLAN)})
    assert redrive.run_once(HOME) == 1
    assert redrive.run_once(HOME) == 0


@pytest.mark.usefixtures("many")
def test_the_only_saga_at_another_destination_is_tried_first():
    hold(1, "bank/2")
    place(HOLDS["of both"], automatic=True)
    read = rows_read(lambda: hold_probes.send_probes(TRIPS), "trips_inbox")
    [tried] = hold_probes.send_probes(TRIPS).values()
    assert row(tried, PAY).destination == "bank/2"
    assert read < READ


@pytest.mark.usefixtures("many")
def test_a_call_under_way_lets_no_round_read_all_sagas_that_wait_for_its_end():
    place(HOLDS["of the step"], automatic=True)
    hold(1, "")
    Inbox.objects.filter(destination="").exclude(state="done").update(
        state="started", destination=BANK, session_pid=1
    )
    assert rows_read(lambda: hold_probes.send_probes(TRIPS), "trips_inbox") < 3 * READ


@pytest.mark.parametrize("scope", [HoldScope(PAY), HoldScope(PAY, BANK)], ids=str)
def test_very_many_sagas_with_holds_of_their_own_keep_no_other_saga_from_its_turn(scope):
    hold(hold_probes.MOST_READ + 1)
    place([scope], automatic=True)
    *held, other = Inbox.objects.order_by("id").values_list("saga", flat=True)
    Hold.objects.bulk_create(Hold(saga=saga, by="olga", why="A question is open.") for saga in held)
    assert list(hold_probes.send_probes(TRIPS).values()) == [other]


def test_destinations_of_sagas_with_holds_of_their_own_keep_no_other_from_its_turn(monkeypatch):
    monkeypatch.setattr(holds, "BATCH_SIZE", 2)
    for destination in ("bank/2", "bank/3", "bank/4"):
        hold(1, destination)
    place([HoldScope(PAY, BANK)], automatic=False)
    *held, other = Inbox.objects.order_by("id").values_list("saga", flat=True)
    Hold.objects.bulk_create(Hold(saga=saga, by="olga", why="A question is open.") for saga in held)
    assert holds._make_due(TRIPS) == 1
    assert row(other, PAY).state == "waiting"
