from contextlib import ExitStack, contextmanager

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from sagas.delivery import wakeup
from sagas.sql import run
from services import NAMES
from tests.integration.audit.conftest import place_and_end_orders
from tests.integration.audit.harness import temporary_changes
from tests.integration.console.operators import member
from tests.integration.orders import harness

VIEWS = {*NAMES, "django_celery_results", "console", "staff"}


def client_of(name, *codenames, **wanted):
    """Return the admin's client of a member of staff with these permissions."""
    person = harness.user(name, is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=codenames, **wanted))
    client = Client()
    client.force_login(person)
    return client


@contextmanager
def count_queries():
    """Give a function that returns how many queries there were, in all databases together."""
    with ExitStack() as stack:
        captured = [
            stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in connections
        ]
        yield lambda: sum(map(len, captured))


@pytest.fixture
def broken():
    """Rename a table of a service in this transaction, so that queries fail until the test ends."""
    with ExitStack() as stack:
        yield lambda alias, table: stack.enter_context(
            temporary_changes(alias, f"ALTER TABLE {table} RENAME TO gone")
        )


@pytest.fixture
def renamed():
    """Rename a table of a service for all connections until the test ends."""
    with ExitStack() as stack:

        def rename(alias, table):
            run(alias, f"ALTER TABLE {table} RENAME TO gone", {})
            stack.callback(run, alias, f"ALTER TABLE gone RENAME TO {table}", {})

        yield rename


@pytest.fixture
def quiet(monkeypatch):
    """Let no thread flush after an action."""
    monkeypatch.setattr(wakeup, "request_flush", lambda service: None)


@pytest.fixture
def olga(db):
    """An operator."""
    return member("olga", "operator")


@pytest.fixture
def viewer(db):
    """The client of a user who may view everything and change nothing."""
    names = Permission.objects.filter(
        codename__startswith="view_", content_type__app_label__in=VIEWS
    )
    return client_of("vera", *names.values_list("codename", flat=True))


@pytest.fixture
def whole(client):
    """The client of a user who may view all kinds of sagas, in the group of viewers."""
    client.force_login(member("vince", "viewer"))
    return client


@pytest.fixture(scope="module")
def orders(django_db_setup, django_db_blocker):
    """A shop after a day's work, shared by the tests of a module, which roll back their changes."""
    with django_db_blocker.unblock():
        yield place_and_end_orders()
        for alias in connections:
            call_command("flush", database=alias, interactive=False, verbosity=0)


@pytest.fixture
def flushed(monkeypatch):
    """The services whose relay was woken. No thread flushes, and no message leaves for a worker."""
    services: list[str] = []
    monkeypatch.setattr(wakeup, "request_flush", services.append)
    monkeypatch.setattr("sagas.operations.manual.request_flush", services.append)
    monkeypatch.setattr("console.views.runs.work_soon", lambda: None)
    return services


@pytest.fixture
def anna(db):
    return member("anna", "approver")


@pytest.fixture
def operator(client, olga):
    client.force_login(olga)
    return client
