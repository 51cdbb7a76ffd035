"""`doctor` reads the time limits of sessions, the sequences and the migrations of each database."""

import pytest
from django.core.management import call_command
from django.db import connections

from services import NAMES as SERVICES
from services import VARIABLES
from tests.integration.doctor.harness import DATABASES, doctor, hear_worker, wrong
from tests.outside.harness import superuser_in
from tests.pooler import pooler, pooler_urls

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

POOLED = {"DATABASE_POOLER": "transaction"}
DROPS_OPTIONS = {"ignore_startup_parameters": "extra_float_digits,options"}


@wrong("session-limits")
def test_limits_that_a_pooler_drops(roles_without_limits):
    with pooler(settings=DROPS_OPTIONS) as port:
        found = doctor("--only", "session-limits", environ=pooler_urls(port))
    assert found.code == 1
    assert len(found.faults) == len(DATABASES)
    orders = next(line for line in found.faults if line.startswith(DATABASES["default"]))
    for part in (
        "not in force through a pooler for the role orders",
        "lock_timeout is 0",
        "statement_timeout is 0",
        "idle_in_transaction_session_timeout is 0",
        "Set DATABASE_POOLER=transaction",
        "migrate_all",
        "SET lock_timeout = '5s';",
    ):
        assert part in orders


@wrong("session-limits")
def test_a_session_of_the_pooler_that_is_older_than_the_limits(roles_without_limits):
    with pooler(settings={"default_pool_size": "1"}) as port:
        environ = {**pooler_urls(port), **POOLED}
        assert len(doctor("--only", "session-limits", environ=environ).faults) == len(DATABASES)

        call_command("migrate_all", verbosity=0)
        found = doctor("--only", "session-limits", environ=environ)

    assert len(found.faults) == len(DATABASES)
    assert all("RECONNECT in the console of PgBouncer" in line for line in found.faults)


@wrong("session-limits")
def test_a_role_that_serves_but_does_not_migrate(roles_with_limits):
    """The limits are stored in the role that migrates. Another role has none."""
    config = connections["payments"].settings_dict
    with superuser_in("payments") as session:
        session.execute("DROP ROLE IF EXISTS reader")
        session.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
        session.execute(f'GRANT CONNECT ON DATABASE "{config["NAME"]}" TO reader')
        session.commit()
    try:
        with pooler(users={"reader": "reader"}) as port:
            urls = pooler_urls(port)
            urls["PAYMENTS_DATABASE_URL"] = (
                f"postgres://reader:reader@127.0.0.1:{port}/{config['NAME']}"
            )
            found = doctor("--only", "session-limits", environ={**urls, **POOLED})
    finally:
        with superuser_in("payments") as session:
            session.execute(f'REVOKE ALL ON DATABASE "{config["NAME"]}" FROM reader')
            session.execute("DROP ROLE reader")
            session.commit()

    assert len(found.faults) == 1
    assert "payments database: not in force through a pooler for the role reader" in found.faults[0]
    assert 'ALTER ROLE "reader" IN DATABASE' in found.faults[0]


def test_limits_in_force_directly_and_through_a_pooler(roles_with_limits):
    direct = doctor("--only", "session-limits")
    with pooler() as port:
        pooled = doctor("--only", "session-limits", environ={**pooler_urls(port), **POOLED})
    assert (direct.code, pooled.code) == (0, 0)
    assert len(direct.proved) == len(pooled.proved) == len(DATABASES)
    limits = "idle_in_transaction_session_timeout 15s, lock_timeout 5s, statement_timeout 20s"
    assert all(f"{limits} in force, read back from a session |" in line for line in direct.proved)
    assert all(
        f"{limits} in force, read back from a session through a pooler" in line
        for line in pooled.proved
    )


@wrong("sequences")
def test_a_sequence_that_is_behind_its_table():
    with superuser_in("payments") as session:
        session.execute(
            "INSERT INTO django_migrations (id, app, name, applied) "
            "VALUES (900001, 'x', 'y', now())"
        )
        session.commit()
        try:
            found = doctor("--only", "sequences")
        finally:
            session.execute("DELETE FROM django_migrations WHERE id = 900001")
            session.commit()
    assert found.code == 1
    (line,) = found.faults
    assert "payments database: django_migrations_id_seq gives" in line
    assert "but django_migrations.id has 900001" in line
    assert "SELECT setval('public.\"django_migrations_id_seq\"', 900001);" in line


@wrong("connections")
def test_more_connections_than_the_server_allows():
    found = doctor("--only", "connections", environ={"DATABASE_POOL_SIZE": "500"})
    assert found.code == 1
    number = len(DATABASES)
    assert len(found.faults) == number
    for line in found.faults:
        assert "too few connections" in line
        assert f"of the server, for {number} databases, but {number * 1005} are needed" in line
        assert "max_connections" in line


@wrong("connections")
def test_a_role_with_a_limit_of_its_own():
    with superuser_in("payments") as session:
        session.execute("ALTER ROLE payments CONNECTION LIMIT 3")
        session.commit()
        try:
            found = doctor("--only", "connections")
        finally:
            session.execute("ALTER ROLE payments CONNECTION LIMIT -1")
            session.commit()
    (line,) = found.faults
    needed = "3 of the role, for one database, but 25 are needed"
    assert f"payments database: too few connections: {needed}" in line


@wrong("connections")
def test_a_role_that_serves_several_databases_has_one_limit_for_them_together():
    """Its limit of 60 is enough for two of the databases, which need 25 each, and not for all."""
    urls, names = {}, {}
    with superuser_in("payments") as session:
        session.execute("DROP ROLE IF EXISTS sharer")
        session.execute("CREATE ROLE sharer LOGIN PASSWORD 'sharer' CONNECTION LIMIT 60")
        for alias, variable in VARIABLES.items():
            config = connections[alias].settings_dict
            names[alias] = config["NAME"]
            session.execute(f'GRANT CONNECT ON DATABASE "{names[alias]}" TO sharer')
            place = f"{config['HOST'] or '127.0.0.1'}:{config['PORT']}"
            urls[variable] = f"postgres://sharer:sharer@{place}/{names[alias]}"
        session.commit()
    try:
        found = doctor("--only", "connections", environ=urls)
    finally:
        with superuser_in("payments") as session:
            for name in names.values():
                session.execute(f'REVOKE ALL ON DATABASE "{name}" FROM sharer')
            session.execute("DROP ROLE sharer")
            session.commit()
    number = len(DATABASES)
    assert len(found.faults) == number
    for line in found.faults:
        assert f"60 of the role, for {number} databases, but {number * 25} are needed" in line


def test_without_workers_the_needed_connections_are_unknown_and_never_proved():
    found = doctor("--only", "connections")
    assert (found.faults, found.proved, len(found.unknown)) == ([], [], len(DATABASES))
    assert f"no worker is alive on {', '.join(sorted(SERVICES))}, so" in found.unknown[0]

    hear_worker(queues=[service for service in SERVICES if service != "inventory"])
    (line, *_) = doctor("--only", "connections").unknown
    assert "no worker is alive on inventory, so it is not known" in line


def test_enough_connections_directly_and_through_a_pooler():
    hear_worker()
    direct = doctor("--only", "connections")
    with pooler() as port:
        pooled = doctor("--only", "connections", environ={**pooler_urls(port), **POOLED})
    number = len(DATABASES)
    assert (direct.code, len(direct.proved)) == (0, number)
    assert "enough connections: " in direct.proved[0]
    needed = f"of the server, for {number} databases, and {number * 35} are needed"
    assert needed in direct.proved[0]
    assert (pooled.code, len(pooled.proved)) == (0, number)
    assert all("a pooler shares the server's" in line for line in pooled.proved)


@pytest.fixture
def migrations_of_payments():
    """Yield a function that changes the table of migrations; undo the change after the test."""
    with superuser_in("payments") as session:
        rows = session.execute("SELECT id, app, name, applied FROM django_migrations").fetchall()

        def change(statement):
            session.execute(statement)
            session.commit()

        yield change
        session.execute("DELETE FROM django_migrations")
        with session.cursor() as cursor:
            cursor.executemany("INSERT INTO django_migrations VALUES (%s, %s, %s, %s)", rows)
        session.commit()


@wrong("migrations")
def test_a_migration_that_is_not_applied(migrations_of_payments):
    migrations_of_payments(
        "DELETE FROM django_migrations WHERE app = 'payments' AND name = '0017_difference'"
    )
    found = doctor("--only", "migrations")
    assert found.code == 1
    (line,) = found.faults
    assert "payments database: not applied: payments.0017_difference" in line
    assert "manage.py migrate_all" in line


@wrong("migrations")
def test_a_migration_of_a_newer_release(migrations_of_payments):
    migrations_of_payments(
        "INSERT INTO django_migrations (app, name, applied) VALUES ('payments', '9999_new', now())"
    )
    found = doctor("--only", "migrations")
    assert found.code == 1
    (line,) = found.faults
    assert "payments database: of another release, unknown to this one: payments.9999_new" in line
