"""Workers and beat that stay up for a whole module, quick to find out that something is lost."""

from contextlib import ExitStack

import pytest
from django.db import connections

from api.authentication import issue_token
from tests.outside import customer
from tests.outside.world import BRISK, System, as_superuser
from tests.plugin import running
from tests.processes import beat, worker
from tests.system.shop import SERVICES, shop

__all__ = ["shop"]


@pytest.fixture(scope="module")
def system(django_db_setup):
    """A worker for all services, with two processes, and beat."""
    with ExitStack() as stack:
        process = stack.enter_context(worker(*SERVICES, environ=BRISK, concurrency=2))
        stack.enter_context(beat(environ=BRISK))
        yield System([process])


@pytest.fixture(scope="module")
def api(django_db_setup):
    """The address of the API, as its own process."""
    with customer.api(**BRISK) as address:
        yield address


@pytest.fixture
def ada(api, shop):
    """A customer of the API."""
    return customer.Customer(api, issue_token(shop))


@pytest.fixture(autouse=True)
def brisk(settings):
    """Orders that this process places count as stalled as soon as the workers' do."""
    settings.SAGA_STALL_SECONDS = float(BRISK["SAGA_STALL_SECONDS"])


@pytest.fixture
def postgres():
    """PostgreSQL, up again when the test is done with it; a kill takes nothing from it that was committed."""
    server = running().postgres
    for role in SERVICES:
        as_superuser("ALTER ROLE {} SET synchronous_commit = on", role)
    yield server
    server.start()
    connections.close_all()
    for role in SERVICES:
        as_superuser("ALTER ROLE {} RESET synchronous_commit", role)
