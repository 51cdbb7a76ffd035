import pytest

from tests.integration.orders import harness


@pytest.fixture
def ada(db):
    """A customer's client."""
    return harness.client_of("ada")


@pytest.fixture
def bob(db):
    """Another customer's client."""
    return harness.client_of("bob")


@pytest.fixture
def staff(db):
    """The client of a staff member."""
    return harness.client_of("sam", *harness.STAFF)


@pytest.fixture
def mug(db):
    """A product: a mug for 12.50 EUR."""
    return harness.stocked("MUG")
