import pytest
from django.core.management import call_command
from django.db import connections

from sagas.operations import heartbeats
from services import VARIABLES
from tests.outside.harness import superuser_in
from tests.plugin import running


@pytest.fixture(autouse=True)
def _forget_heartbeats():
    """Begin without workers and without beat."""
    client = heartbeats._redis()
    client.delete(heartbeats.KEY, heartbeats.BEAT_KEY)


@pytest.fixture
def roles_without_limits():
    """Remove the stored limits from the roles of the test's databases."""
    for alias in VARIABLES:
        config = connections[alias].settings_dict
        with superuser_in(alias) as session:
            session.execute(
                f'ALTER ROLE "{config["USER"]}" IN DATABASE "{config["NAME"]}" RESET ALL'
            )
            session.commit()


@pytest.fixture
def roles_with_limits():
    """Store the limits in the roles, as `migrate_all` does."""
    call_command("migrate_all", verbosity=0)


@pytest.fixture
def broker_address():
    """Return the host and port of the test's broker."""
    valkey = running().valkey
    return "127.0.0.1", valkey.port
