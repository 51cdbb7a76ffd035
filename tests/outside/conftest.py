"""Fixtures for a whole module: workers and beat that detect lost messages quickly."""

import pytest
from django.db import connections

from api.auth.tokens import issue_token
from tests.outside import customer
from tests.outside.harness import SHORT_TIMES, as_superuser, running_system
from tests.plugin import running
from tests.system.harness import shop

__all__ = ["shop"]


@pytest.fixture(scope="module")
def system(django_db_setup):
    """Run workers and beat."""
    with running_system(SHORT_TIMES) as system:
        yield system


@pytest.fixture(scope="module")
def api(django_db_setup):
    """Run the API in a separate process; return its address."""
    with customer.api(**SHORT_TIMES) as address:
        yield address


@pytest.fixture
def ada(api, shop):
    """Return a customer of the API."""
    return customer.Customer(api, issue_token(shop))


@pytest.fixture(autouse=True)
def short_times(settings):
    """Use the workers' stall time for orders that the test process places."""
    settings.SAGA_STALL_SECONDS = float(SHORT_TIMES["SAGA_STALL_SECONDS"])


@pytest.fixture
def postgres():
    """Return PostgreSQL, and restart it after the test. A kill loses no committed transaction."""
    server = running().postgres
    roles = sorted({connections.settings[alias]["USER"] for alias in connections})
    for role in roles:
        as_superuser("ALTER ROLE {} SET synchronous_commit = on", role)

    yield server
    server.start()
    connections.close_all()
    for role in roles:
        as_superuser("ALTER ROLE {} RESET synchronous_commit", role)
