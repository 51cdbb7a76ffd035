from contextlib import ExitStack, contextmanager

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from sagas.storage.sql import run
from tests.integration.audit.conftest import a_days_work
from tests.integration.audit.shop import planted
from tests.integration.console.operators import member
from tests.integration.orders import shop

VIEWS = {"orders", "payments", "inventory", "django_celery_results", "console"}


def client_of(name, *codenames, **wanted):
    """Return the admin's client of a member of staff with these permissions."""
    person = shop.user(name, is_staff=True)
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
    """Take a table away from a service, so that whatever asks it gets an error, until the test
    is done.
    """
    with ExitStack() as stack:
        yield lambda alias, table: stack.enter_context(
            planted(alias, f"ALTER TABLE {table} RENAME TO gone")
        )


@pytest.fixture
def renamed():
    """Take a table away from a service for everybody, until the test is done."""
    with ExitStack() as stack:

        def rename(alias, table):
            run(alias, f"ALTER TABLE {table} RENAME TO gone", {})
            stack.callback(run, alias, f"ALTER TABLE gone RENAME TO {table}", {})

        yield rename


@pytest.fixture
def quiet(monkeypatch):
    """Have no thread flush by itself after an action."""
    monkeypatch.setattr("console.bulk_actions.effects.request_flush", lambda service: None)


@pytest.fixture
def olga(db):
    """An operator."""
    return member("olga", "operator")


@pytest.fixture
def viewer(db):
    """The client of someone who may look at everything and do nothing."""
    names = Permission.objects.filter(
        codename__startswith="view_", content_type__app_label__in=VIEWS
    )
    return client_of("vera", *names.values_list("codename", flat=True))


@pytest.fixture(scope="module")
def orders(django_db_setup, django_db_blocker):
    """A shop after a day's work, for all tests of a module: they look at it, and roll back what
    they change.
    """
    with django_db_blocker.unblock():
        yield a_days_work()
        for alias in connections:
            call_command("flush", database=alias, interactive=False, verbosity=0)


@pytest.fixture
def nudged(monkeypatch):
    """The services whose relay was nudged; no thread flushes by itself, and no message leaves
    for a worker.
    """
    services: list[str] = []
    for module in ("console.bulk_actions.effects", "console.holds", "sagas.operations.manual"):
        monkeypatch.setattr(f"{module}.request_flush", services.append)
    monkeypatch.setattr("console.views.runs.work_soon", lambda: None)
    return services


@pytest.fixture
def anna(db):
    return member("anna", "approver")


@pytest.fixture
def operator(client, olga):
    client.force_login(olga)
    return client
