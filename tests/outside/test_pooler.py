"""PgBouncer in transaction mode between the service and PostgreSQL. It hands a session to another
client after each transaction, and passes no session settings on.
"""

import os
import signal

import psutil
import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections

from api.auth.tokens import issue_token
from orders.models import Order
from services import VARIABLES
from tests.outside import customer
from tests.outside.harness import SHORT_TIMES, running_system, superuser_in
from tests.pooler import pooler, pooler_urls
from tests.processes import until
from tests.system.harness import net, outcome

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

DROPS_OPTIONS = {"ignore_startup_parameters": "extra_float_digits,options"}
FULFILLED = ("fulfilled", "")

SETTINGS = "SELECT name, setting, unit FROM pg_settings WHERE name = ANY(%s)"
MILLISECONDS = {
    "lock_timeout": 5_000,
    "statement_timeout": 20_000,
    "idle_in_transaction_session_timeout": 15_000,
}


@pytest.fixture
def limits_stored():
    """Store the time limits in the roles, as an operator does: with `migrate_all`."""
    call_command("migrate_all", verbosity=0)
    for alias in connections:
        connections[alias].close()


@pytest.fixture
def limits_not_stored():
    """Remove the settings of the roles; they are gone already unless another test stored them."""
    for alias in VARIABLES:
        config = connections[alias].settings_dict
        with superuser_in(alias) as session:
            session.execute(
                f'ALTER ROLE "{config["USER"]}" IN DATABASE "{config["NAME"]}" RESET ALL'
            )
            session.commit()


def limits_in(url, **options):
    """Return the time limits of a new session, in milliseconds."""
    with psycopg.connect(url, **options) as session:
        rows = session.execute(SETTINGS, [list(MILLISECONDS)]).fetchall()
    return {name: int(setting) for name, setting, _ in rows}


def test_a_pooler_drops_the_limits_of_a_client_but_not_those_of_a_role(limits_not_stored):
    given = {"options": connections["payments"].settings_dict["OPTIONS"]["options"]}
    with pooler(settings=DROPS_OPTIONS) as port:
        url = pooler_urls(port)["PAYMENTS_DATABASE_URL"]
        assert set(limits_in(url, **given).values()) == {0}

    call_command("migrate_all", verbosity=0)
    with pooler(settings=DROPS_OPTIONS) as port:
        for url in pooler_urls(port).values():
            assert limits_in(url, **given) == MILLISECONDS
            assert limits_in(url) == MILLISECONDS


def test_a_second_migration_stores_nothing_new(limits_stored, capsys):
    call_command("migrate_all")
    assert "Stored in the role" not in capsys.readouterr().out


def test_a_statement_behind_a_pooler_stops_waiting_for_a_lock(limits_stored):
    with pooler() as port, superuser_in("payments") as rival:
        rival.execute("LOCK TABLE payments_payment IN ACCESS EXCLUSIVE MODE")
        with (
            psycopg.connect(pooler_urls(port)["PAYMENTS_DATABASE_URL"]) as session,
            pytest.raises(psycopg.errors.LockNotAvailable),
        ):
            session.execute("SELECT count(*) FROM payments_payment")


def test_orders_end_through_a_pooler_although_a_worker_is_killed(shop, limits_stored):
    with pooler() as port:
        environ = {**SHORT_TIMES, **pooler_urls(port), "DATABASE_POOLER": "transaction"}
        with running_system(environ) as system, customer.api(**environ) as address:
            ada = customer.Customer(address, issue_token(shop))
            with ada.ordering():
                ada.wait_for_orders(10)
                _kill_a_child_of(system.workers[0])
                ada.wait_for_orders(10)

            system.wait_until_idle()

    assert set(ada.refusals) <= {503}
    placed = set(ada.placed.values())
    assert {str(order) for order in Order.objects.values_list("id", flat=True)} == placed
    assert {outcome(order) for order in placed} == {FULFILLED}
    assert {net(order) for order in placed} == {1_000}


def _kill_a_child_of(process):
    """Kill one process of a worker's pool; wait until the worker has replaced it."""
    children = psutil.Process(process.popen.pid).children()
    os.kill(children[0].pid, signal.SIGKILL)
    until(
        lambda: not children[0].is_running() or children[0].status() == psutil.STATUS_ZOMBIE,
        "a process of the worker is killed",
    )


def test_the_service_behind_a_pooler_sends_no_settings_of_its_own():
    assert set(settings.SAGA_SESSION_SETTINGS) > set(MILLISECONDS)
    with pooler() as port:  # it refuses a client that sends options
        for url in pooler_urls(port).values():
            with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter"):
                limits_in(url, options="-c lock_timeout=5s")
