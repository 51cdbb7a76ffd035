"""The stories that name each step of an order run without the steps of further services."""

import pytest

from orders.saga import AUTHORIZE_FIRST, PLACE_ORDER
from tests.shop import only_shop


@pytest.fixture
def steps_of_the_shop():
    """Let an order have the steps of the shop alone."""
    with only_shop(PLACE_ORDER, AUTHORIZE_FIRST):
        yield
