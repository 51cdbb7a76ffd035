"""Each fault that the soak puts into a database breaks its table, and mends it, also twice."""

import psycopg
import pytest
from django.db import connections, transaction
from psycopg.conninfo import make_conninfo

from services import ALIASES, SERVICES
from tools.chaos.database_faults import DATABASE_FAULTS, run_until_done
from tools.chaos.fault_schedule import COLUMN, GRANT, SEQUENCE
from tools.chaos.hold_reader import automatic_holds

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

SHAPE = """
SELECT table_name, column_name FROM information_schema.columns
 WHERE table_schema = 'public' ORDER BY 1, 2
"""
GRANTS = """
SELECT table_name, privilege_type FROM information_schema.role_table_grants
 WHERE table_schema = 'public' AND grantee = current_user ORDER BY 1, 2
"""


def address(alias):
    """Return the address of a database as the role of its service."""
    parameters = connections[alias].get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    return make_conninfo(**{name: parameters[name] for name in names if parameters.get(name)})


def fetch(alias, statement):
    with psycopg.connect(address(alias)) as session:
        return session.execute(statement).fetchall()


@pytest.mark.parametrize("fault", DATABASE_FAULTS[COLUMN], ids=lambda fault: fault.title)
def test_a_column_is_missing_and_comes_back(fault):
    alias = ALIASES[fault.service]
    before = fetch(alias, SHAPE)
    for _ in range(2):  # the answer to the first one may be lost
        run_until_done(address(alias), fault.breaks)
    assert fetch(alias, SHAPE) != before
    for _ in range(2):
        run_until_done(address(alias), fault.mends)
    assert fetch(alias, SHAPE) == before


@pytest.mark.parametrize("fault", DATABASE_FAULTS[GRANT], ids=lambda fault: fault.title)
def test_a_grant_is_revoked_and_comes_back(fault):
    alias = ALIASES[fault.service]
    before = fetch(alias, GRANTS)
    for _ in range(2):
        run_until_done(address(alias), fault.breaks)
    assert len(fetch(alias, GRANTS)) == len(before) - 1
    for _ in range(2):
        run_until_done(address(alias), fault.mends)
    assert fetch(alias, GRANTS) == before


@pytest.mark.parametrize("fault", DATABASE_FAULTS[SEQUENCE], ids=lambda fault: fault.title)
def test_a_sequence_is_behind_and_then_ahead(fault):
    alias = ALIASES[fault.service]
    sequence = (
        f"SELECT nextval(pg_get_serial_sequence('{fault.shows.removesuffix('_pkey')}', 'id'))"
    )
    run_until_done(address(alias), fault.breaks)
    assert fetch(alias, sequence) == [(1,)]
    run_until_done(address(alias), fault.mends)
    assert fetch(alias, sequence)[0][0] > 10_000


def test_the_steps_on_hold_are_read_from_every_service():
    env = {service.variable: address(service.alias) for service in SERVICES}
    assert automatic_holds(env) == []
    with transaction.atomic(using="payments"), connections["payments"].cursor() as cursor:
        cursor.execute(
            "INSERT INTO payments_hold (step, since, by, why, automatic)"
            " VALUES ('payments.charge', now(), '', 'It fails alike', true)"
        )
        cursor.execute(
            "INSERT INTO payments_hold (calling_step, destination, since, by, why, automatic)"
            " VALUES ('payments.refund', 'stripe', now(), '', 'No answer', true)"
        )
    assert automatic_holds(env) == ["payments.charge", "payments.refund to stripe"]
