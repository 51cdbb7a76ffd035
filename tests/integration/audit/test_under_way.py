"""An order that is under way gives no finding, wherever it is."""

from uuid import UUID

import pytest

from audit.run import audit
from orders.models import Hold
from sagas.operations import holds
from sagas.storage.registry import get_service
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


def on_hold(order: UUID, *, step: str | None = None) -> None:
    """Put an order on hold, or a step, which its home is told of as well."""
    for service in ("payments", "orders"):
        what = {"step": step} if step else {"saga": order}
        holds.hold(get_service(service), **what, by="olga", why="The gateway is down.")
    shop.deliver("payments.charge", order)
    shop.tell()


@pytest.mark.parametrize("step", [None, "payments.charge"])
def test_an_order_on_hold_is_not_expected_to_have_ended_until_it_was_forgotten(
    step: str | None,
) -> None:
    shop.open_shop()
    order = shop.place()
    assert audit(expect_ended=True).violations > 0
    on_hold(order, step=step)
    assert audit(expect_ended=True).violations == 0
    Hold.objects.update(since="2020-01-01T00:00:00Z")
    (verdict,) = [
        verdict for verdict in audit(expect_ended=True).verdicts if verdict.invariant.id == "I13"
    ]
    assert ", on hold for " in verdict.shown[0].detail
