"""PostgreSQL restarts, ends sessions or refuses writes. Every answer of the API stays true, and no
order is left half done.
"""

from collections import Counter

import pytest
from django.db import connections

from orders.models import Order
from services import VARIABLES
from tests.outside.harness import as_superuser, end_sessions, in_database, name_of, superuser_in
from tests.processes import until
from tests.system.harness import net, outcome

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

FULFILLED = ("fulfilled", "")
IN_TRANSACTION = "backend_type = 'client backend' AND xact_start IS NOT NULL"


@pytest.fixture(autouse=True)
def durable(postgres):
    """End all sessions, because only new sessions use the setting that makes commits durable."""
    end_sessions()
    connections.close_all()


def assert_orders_match_answers(customer):
    """Check that each answered key has one fulfilled order, and that no other order exists."""
    assert {str(order) for order in Order.objects.values_list("id", flat=True)} == set(
        customer.placed.values()
    )
    assert len(set(customer.placed.values())) == len(customer.placed)
    assert {outcome(order) for order in customer.placed.values()} == {FULFILLED}
    assert {net(order) for order in customer.placed.values()} == {1_000}


@pytest.mark.parametrize("action", ["kill", "stop"])
def test_a_restart_under_load_loses_no_answered_order(ada, system, postgres, action):
    with ada.ordering():
        ada.wait_for_orders(5)
        getattr(postgres, action)()
        until(lambda: 503 in ada.refusals, "the API answers 503")
        postgres.start()
        ada.wait_for_orders(5)

    system.wait_until_idle()
    assert set(ada.refusals) <= {503}
    assert_orders_match_answers(ada)


def test_sessions_ended_during_transactions_only_delay_orders(ada, system):
    ended: Counter[str] = Counter()
    with ada.ordering():
        ada.wait_for_orders(5)
        until(
            lambda: _end_some(ended) and ended.total() >= 15 and len(ended) == len(VARIABLES),
            "15 sessions are ended, some in each database",
        )
        ada.wait_for_orders(5)

    system.wait_until_idle()
    assert set(ada.refusals) <= {409, 503}
    assert_orders_match_answers(ada)


def _end_some(ended):
    ended.update(end_sessions(IN_TRANSACTION))
    return True


def test_a_read_only_server_refuses_orders_and_answers_reads(ada, system):
    ada.order_until_placed("before")
    _read_only("on")

    def only_reads_are_answered() -> bool:
        order = f"orders/{ada.placed['before']}/"
        return ada.order("read-only") == 503 and bool(ada.get(order).status_code == 200)

    try:
        until(only_reads_are_answered, "the API answers 503 to orders, and 200 to reads")
        assert ada.get("products/").json()["results"][0]["sku"] == "MUG"
    finally:
        _read_only("off")

    ada.order_until_placed("read-only")
    system.wait_until_idle()
    assert_orders_match_answers(ada)


def _read_only(switch):
    as_superuser(f"ALTER SYSTEM SET default_transaction_read_only = {switch}")
    as_superuser("SELECT pg_reload_conf()")


WAITING_SESSIONS = """
SELECT 1 FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
   AND query LIKE '%inventory_stockitem%'
"""
# The first event that is written meets the error of a lost deadlock. A sequence counts, because no
# rollback takes its numbers back.
LOSE_ONE_DEADLOCK = """
CREATE SEQUENCE deadlocks;
GRANT USAGE ON SEQUENCE deadlocks TO PUBLIC;
CREATE FUNCTION lose_one_deadlock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF nextval('deadlocks') = 1 THEN
    RAISE EXCEPTION 'deadlock detected' USING ERRCODE = 'deadlock_detected';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER lose_one_deadlock BEFORE INSERT ON inventory_outbox
   FOR EACH ROW EXECUTE FUNCTION lose_one_deadlock();
"""
LOSE_NO_DEADLOCK = """
DROP TRIGGER lose_one_deadlock ON inventory_outbox;
DROP FUNCTION lose_one_deadlock;
DROP SEQUENCE deadlocks;
"""


def test_a_step_that_loses_a_deadlock_is_repeated_as_a_whole(ada, system):
    with superuser_in("inventory") as session:
        session.execute(LOSE_ONE_DEADLOCK)
        session.commit()
    try:
        ada.order_until_placed("deadlocked")
        system.wait_for_output("deadlock detected")
        system.wait_until_idle()
    finally:
        with superuser_in("inventory") as session:
            session.execute(LOSE_NO_DEADLOCK)
            session.commit()
    assert outcome(ada.placed["deadlocked"]) == FULFILLED


def test_a_step_with_a_serialization_failure_is_repeated_as_a_whole(ada, system):
    as_superuser(
        "ALTER DATABASE {} SET default_transaction_isolation = 'repeatable read'",
        name_of("inventory"),
    )
    try:
        end_sessions()
        connections.close_all()

        with superuser_in("inventory") as rival:
            rival.execute("UPDATE inventory_stockitem SET on_hand = on_hand WHERE sku = 'MUG'")
            ada.order_until_placed("serialized")
            until(lambda: in_database("inventory", WAITING_SESSIONS), "the step waits for the mug")
            rival.commit()

        system.wait_for_output("could not serialize access")
        system.wait_until_idle()
    finally:
        as_superuser("ALTER DATABASE {} RESET default_transaction_isolation", name_of("inventory"))
        end_sessions()
        connections.close_all()

    assert_orders_match_answers(ada)
