from typing import Any

import psycopg
import pytest
from django.db import connections
from django.db.backends.postgresql.creation import DatabaseCreation
from django.db.models.signals import post_migrate
from django.test import Client, TransactionTestCase

from api.auth.tokens import issue_token
from orders.saga import AUTHORIZE_FIRST, PLACE_ORDER
from tests.emptying import empty_tables
from tests.migrated import copied_or_kept
from tests.plugin import running
from tests.shop import only_shop

END_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
 WHERE datname LIKE 'test\\_%%' AND NOT pid = ANY(%s) AND pid <> pg_backend_pid()
"""


@pytest.fixture(autouse=True)
def _end_leftover_sessions(request):
    """End the database sessions that a test has left, before its tables are emptied."""
    mark = request.node.get_closest_marker("django_db")
    commits = mark is not None and mark.kwargs.get("transaction")
    if commits:
        request.getfixturevalue("transactional_db")
    yield
    if commits:
        _end_other_sessions()


@pytest.fixture(scope="session")
def django_db_modify_db_settings():
    """Let Django empty the log's table after each test.

    A test may create a database anew, so the table's trigger goes after every migration.
    """
    post_migrate.connect(_allow_truncate)


def _empty_databases(case) -> None:
    for alias in case._databases_names(include_mirrors=False):
        empty_tables(alias)


# Django calls this hook after each test that commits. A test that is rolled back has its own hook.
TransactionTestCase._fixture_teardown = _empty_databases  # type: ignore[attr-defined]


def _create_or_copy(creation: Any, *args: Any, **options: Any) -> str:
    with copied_or_kept(creation.connection):
        return _create_test_db(creation, *args, **options)


_create_test_db = DatabaseCreation.create_test_db
DatabaseCreation.create_test_db = _create_or_copy  # type: ignore[method-assign, assignment]


@pytest.fixture(scope="session", autouse=True)
def _databases_can_be_dropped(django_db_setup):
    yield
    _end_other_sessions()


@pytest.fixture
def broker():
    """The broker. It is running again after the test."""
    valkey = running().valkey
    yield valkey
    valkey.thaw()
    valkey.start()


@pytest.fixture
def api_client(django_user_model):
    """A client of the API: a customer called Ada, with her token."""
    ada, _ = django_user_model.objects.get_or_create(username="ada")
    return Client(headers={"Authorization": f"Bearer {issue_token(ada)}"})


@pytest.fixture
def steps_of_the_shop():
    """Let an order that the test's process places have the steps of the shop alone."""
    with only_shop(PLACE_ORDER, AUTHORIZE_FIRST):
        yield


def _end_other_sessions() -> None:
    ours = [
        one.connection.info.backend_pid
        for one in connections.all(initialized_only=True)
        if one.connection
    ]
    with psycopg.connect(running().postgres.superuser_url, autocommit=True) as session:
        session.execute(END_OTHERS, [ours])


def _allow_truncate(sender, using, **_signal) -> None:
    if sender.label == "staff":
        with connections[using].cursor() as cursor:
            cursor.execute(
                "ALTER TABLE IF EXISTS console_logentry DISABLE TRIGGER console_log_no_truncate"
            )
