import pytest

from tests.integration.orders import shop


@pytest.fixture
def ada(db):
    """A customer's client."""
    return shop.client_of("ada")


@pytest.fixture
def bob(db):
    """Another customer's client."""
    return shop.client_of("bob")


@pytest.fixture
def staff(db):
    """The client of a staff member."""
    return shop.client_of("sam", is_staff=True)


@pytest.fixture
def mug(db):
    """A product: a mug for 12.50 EUR."""
    return shop.stocked("MUG")
