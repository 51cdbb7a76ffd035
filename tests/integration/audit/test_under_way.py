"""An open order gives no violation, at any step."""

from uuid import UUID

import pytest

from audit.run import audit
from orders.models import Hold
from sagas.operations import holds
from sagas.storage.registry import get_service
from tests.integration.audit import harness

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments", "inventory"])


def test_an_empty_shop_gives_no_violation() -> None:
    assert audit(expect_ended=True).violations == 0


def test_an_open_order_gives_no_violation_after_each_step() -> None:
    harness.open_shop()
    order = harness.place()
    for step in ("payments.charge", "inventory.reserve", "orders.fulfil", "inventory.ship"):
        harness.deliver(step, order)
        assert audit().violations == 0


def test_an_order_being_cancelled_gives_no_violation_after_each_step() -> None:
    harness.open_shop()
    order = harness.place()
    harness.deliver("payments.charge", order)
    harness.cancel(order)
    for step in ("inventory.release", "payments.refund", "orders.cancel", "inventory.reserve"):
        harness.deliver(step, order)
        assert audit().violations == 0


def on_hold(order: UUID, *, step: str | None = None) -> None:
    """Put an order or a step on hold, in the service and in the home."""
    for service in ("payments", "orders"):
        what = {"step": step} if step else {"saga": order}
        holds.hold(get_service(service), **what, by="olga", why="The gateway is down.")
    harness.deliver("payments.charge", order)
    harness.record_timeline()


@pytest.mark.parametrize("step", [None, "payments.charge"])
def test_an_order_on_hold_is_a_violation_only_after_a_day(
    step: str | None,
) -> None:
    harness.open_shop()
    order = harness.place()
    assert audit(expect_ended=True).violations > 0
    on_hold(order, step=step)
    assert audit(expect_ended=True).violations == 0
    Hold.objects.update(since="2020-01-01T00:00:00Z")
    (verdict,) = [
        verdict for verdict in audit(expect_ended=True).verdicts if verdict.invariant.id == "I13"
    ]
    assert ", on hold for " in verdict.shown[0].detail
