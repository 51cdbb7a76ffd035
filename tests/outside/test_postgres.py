"""PostgreSQL goes away, comes back, ends sessions or refuses to write: no answer lies, and
nothing is half done.
"""

from collections import Counter

import pytest
from django.db import connections

from orders.models import Order
from tests.outside.harness import as_superuser, end_sessions, in_database, name_of, superuser_in
from tests.processes import until
from tests.system.harness import net, outcome

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

FULFILLED = ("fulfilled", "")
IN_TRANSACTION = "backend_type = 'client backend' AND xact_start IS NOT NULL"


@pytest.fixture(autouse=True)
def durable(postgres):
    """Make commits survive a kill. Only new sessions get the setting, so the old sessions end."""
    end_sessions()
    connections.close_all()


def assert_the_record_is_true(customer):
    """Every order that was answered exists, once for its key, and no other does."""
    assert {str(order) for order in Order.objects.values_list("id", flat=True)} == set(
        customer.placed.values()
    )
    assert len(set(customer.placed.values())) == len(customer.placed)
    assert {outcome(order) for order in customer.placed.values()} == {FULFILLED}
    assert {net(order) for order in customer.placed.values()} == {1_000}


@pytest.mark.parametrize("way", ["kill", "stop"])
def test_a_restart_under_load_loses_nothing_that_was_answered(ada, system, postgres, way):
    with ada.ordering():
        ada.wait_for_orders(5)
        getattr(postgres, way)()
        until(lambda: 503 in ada.refusals, "the API says that it cannot")
        postgres.start()
        ada.wait_for_orders(5)

    system.wait_until_idle()
    assert set(ada.refusals) <= {503}
    assert_the_record_is_true(ada)


def test_sessions_ended_in_the_midst_of_their_transactions_cost_time_and_nothing_else(ada, system):
    ended: Counter[str] = Counter()
    with ada.ordering():
        ada.wait_for_orders(5)
        until(
            lambda: _end_some(ended) and ended.total() >= 15 and len(ended) == 3,
            "15 sessions are ended",
        )
        ada.wait_for_orders(5)

    system.wait_until_idle()
    assert set(ada.refusals) <= {409, 503}
    assert_the_record_is_true(ada)


def _end_some(ended):
    ended.update(end_sessions(IN_TRANSACTION))
    return True


def test_a_server_that_is_read_only_takes_no_order_and_answers_what_is_asked(ada, system):
    ada.order_until_placed("before")
    _read_only("on")

    try:
        until(lambda: ada.order("meanwhile") == 503, "the API says that it cannot")
        assert ada.get(f"orders/{ada.placed['before']}/").status_code == 200
        assert ada.get("products/").json()["results"][0]["sku"] == "MUG"
    finally:
        _read_only("off")

    ada.order_until_placed("meanwhile")
    system.wait_until_idle()
    assert_the_record_is_true(ada)


def _read_only(switch):
    as_superuser(f"ALTER SYSTEM SET default_transaction_read_only = {switch}")
    as_superuser("SELECT pg_reload_conf()")


WAITING = """
SELECT 1 FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
   AND query LIKE '%inventory_stockitem%'
"""
TAKE = "SELECT 1 FROM inventory_stockitem WHERE sku = %s FOR UPDATE"


def test_a_step_that_loses_a_deadlock_runs_again_as_a_whole(ada, system):
    with superuser_in("inventory") as rival:
        rival.execute(
            "SET deadlock_timeout = '1min'"
        )  # the other side finds out first, and gives way
        rival.execute(TAKE, ["RARE"])
        ada.order_until_placed("both", sku="MUG", and_sku="RARE")
        until(
            lambda: in_database("inventory", WAITING),
            "the step has the mug and waits for the rare one",
        )
        rival.execute(TAKE, ["MUG"])
        rival.commit()

    system.wait_for_output("deadlock detected")
    system.wait_until_idle()
    assert outcome(ada.placed["both"]) == FULFILLED


def test_a_step_that_cannot_be_serialized_runs_again_as_a_whole(ada, system):
    as_superuser(
        "ALTER DATABASE {} SET default_transaction_isolation = 'repeatable read'",
        name_of("inventory"),
    )
    try:
        end_sessions()
        connections.close_all()

        with superuser_in("inventory") as rival:
            rival.execute("UPDATE inventory_stockitem SET on_hand = on_hand WHERE sku = 'MUG'")
            ada.order_until_placed("one")
            until(lambda: in_database("inventory", WAITING), "the step waits for the mug")
            rival.commit()

        system.wait_for_output("could not serialize access")
        system.wait_until_idle()
    finally:
        as_superuser("ALTER DATABASE {} RESET default_transaction_isolation", name_of("inventory"))
        end_sessions()
        connections.close_all()

    assert_the_record_is_true(ada)
