"""Every change of a model has its migration, and migrations can be taken back."""

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import AddIndex, RemoveIndex

from sagas.definition.hold_scope import HoldScope
from sagas.operations import holds
from sagas.storage import automatic_holds
from sagas.storage.registry import get_service
from services import NAMES

APPS = (*NAMES, "audit", "console", "staff")

# The migrations before holds of destinations
BEFORE = {
    "orders": "0023_validate_amounts",
    "payments": "0028_partial_refund",
    "inventory": "0015_validate_returned",
    "returns": "0008_view_permissions",
}


@pytest.mark.django_db(databases="__all__")
def test_no_model_differs_from_its_migrations(capsys):
    try:
        call_command("makemigrations", *APPS, check=True, dry_run=True)
    except SystemExit:
        pytest.fail(f"Run makemigrations:\n{capsys.readouterr().out}")


def test_no_index_is_removed_in_the_transaction_that_has_added_one_before():
    """The addition keeps out writers until the end of the transaction, and the removal also waits
    for them: a deadlock, if a writer has read the table before.
    """
    migrations = MigrationLoader(None).disk_migrations
    for name, migration in migrations.items():
        kinds = [type(operation) for operation in migration.operations]
        if migration.atomic and not migration.initial and AddIndex in kinds:
            assert RemoveIndex not in kinds[kinds.index(AddIndex) :], name


@pytest.fixture
def migrate_forward(transactional_db):
    """Bring all services to their last migrations after the test."""
    yield
    for service in BEFORE:
        connection = connections[get_service(service).alias]
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes(service))


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("name", BEFORE)
@pytest.mark.usefixtures("migrate_forward")
def test_going_back_deletes_the_holds_of_destinations_and_keeps_the_others(name):
    service = get_service(name)
    scope = HoldScope(f"{name}.charge", "stripe")
    automatic_holds.place(service, scope, why="HTTP 503")
    holds.hold(service, step=scope.step, destination="best", by="olga", why="It moves.")
    holds.hold(service, step=scope.step, by="olga", why="It moves.")

    connection = connections[service.alias]
    MigrationExecutor(connection).migrate([(name, BEFORE[name])])
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT step, by FROM {service.hold}")
        assert cursor.fetchall() == [(scope.step, "olga")]
