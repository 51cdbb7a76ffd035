import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from api.auth.tokens import issue_token
from tests.fuzz import known_objects
from tests.integration.orders import harness


@pytest.fixture
def _in_one_transaction(db):
    """Keep the connections, and with them the test's transaction, when a request ends."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture
def caller(_in_one_transaction, role, settings):
    """Return the headers of a user with a role, after filling the databases."""
    settings.ALLOWED_HOSTS = ["localhost"]
    settings.FREE_PRODUCTS = True  # the schema has the price 0
    known_objects.create()
    if role == "anonymous":
        return {}
    groups = harness.STAFF if role == "staff" else ()
    return {"Authorization": f"Bearer {issue_token(harness.user(role, *groups))}"}
