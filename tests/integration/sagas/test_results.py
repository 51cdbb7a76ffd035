"""The result backend stores failures of tasks, and raises nothing if it cannot."""

import psycopg
import pytest
from celery import current_app
from django.db import connection
from django_celery_results.models import TaskResult

from tests.plugin import running
from tools.local.ports import free_port

pytestmark = pytest.mark.django_db(transaction=True)


def store(task_id="lost"):
    return current_app.backend.store_result(task_id, ValueError("its child was killed"), "RETRY")


def end_own_session():
    """End this process's session, as a restart of PostgreSQL does. The client does not notice."""
    with psycopg.connect(running().postgres.superuser_url, autocommit=True) as session:
        session.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])


def test_a_failure_is_stored():
    store()
    assert TaskResult.objects.get().status == "RETRY"


def test_a_failure_is_stored_on_a_new_connection_if_the_old_one_is_dead():
    connection.ensure_connection()
    end_own_session()
    store()
    assert TaskResult.objects.get().task_id == "lost"


def test_a_failure_that_cannot_be_stored_raises_nothing(monkeypatch, caplog):
    connection.close()
    with monkeypatch.context() as patched:
        patched.setitem(connection.settings_dict, "PORT", free_port())
        store()
    assert "Could not store that task lost has become RETRY" in caplog.text
    assert TaskResult.objects.count() == 0
