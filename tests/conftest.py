import psycopg
import pytest
from django.db import connections
from django.test import Client

from api.auth.tokens import issue_token
from tests.plugin import running

END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
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


def _end_other_sessions() -> None:
    ours = [
        one.connection.info.backend_pid
        for one in connections.all(initialized_only=True)
        if one.connection
    ]
    with psycopg.connect(running().postgres.superuser_url, autocommit=True) as session:
        session.execute(END_OTHERS, [ours])
