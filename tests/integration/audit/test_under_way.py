"""An order that is under way gives no finding, wherever it is."""

import pytest

from audit.run import audit
from tests.integration.audit import shop

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments", "inventory"])


def test_an_empty_shop_is_clean() -> None:
    assert audit(expect_ended=True).violations == 0


def test_an_order_under_way_is_clean_at_every_hop() -> None:
    shop.open_shop()
    order = shop.place()
    for step in ("payments.charge", "inventory.reserve", "orders.fulfil", "inventory.ship"):
        shop.deliver(step, order)
        assert audit().violations == 0


def test_an_order_on_its_way_back_is_clean_at_every_hop() -> None:
    shop.open_shop()
    order = shop.place()
    shop.deliver("payments.charge", order)
    shop.cancel(order)
    for step in ("inventory.release", "payments.refund", "orders.cancel", "inventory.reserve"):
        shop.deliver(step, order)
        assert audit().violations == 0
