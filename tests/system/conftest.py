from collections.abc import Callable, Iterator

import pytest

from api.auth.tokens import issue_token
from sagas import sql
from tests.outside.customer import Customer


@pytest.fixture
def place(shop):
    """Place an order over HTTP and return its id. The key is also the request id."""

    def placed(address, key, **wanted):
        customer = Customer(address, issue_token(shop))
        customer.headers["X-Request-ID"] = key
        assert customer.order(key, **wanted) == 201
        return customer.placed[key]

    return placed


@pytest.fixture
def shipping_fails() -> Iterator[Callable[[], object]]:
    """Make every attempt to ship seven pieces fail until the test calls the fixture's value, or
    ends.
    """

    def allow_shipping() -> object:
        return sql.run(
            "inventory", "ALTER TABLE inventory_reservation DROP CONSTRAINT IF EXISTS broken", {}
        )

    sql.run(
        "inventory",
        "ALTER TABLE inventory_reservation"
        " ADD CONSTRAINT broken CHECK (state <> 'shipped' OR quantity <> 7) NOT VALID",
        {},
    )
    yield allow_shipping
    allow_shipping()
