import pytest

from api.authentication import issue_token
from tests.outside.customer import Customer


@pytest.fixture
def place(shop):
    """Place an order over HTTP, under a key that is the request's id as well; return the order's id."""

    def placed(address, key, **wanted):
        customer = Customer(address, issue_token(shop))
        customer.headers["X-Request-ID"] = key
        assert customer.order(key, **wanted) == 201
        return customer.placed[key]

    return placed
