"""An open order gives no violation, at any step."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone

from audit.run import audit
from orders.models import Hold, Order
from orders.saga import SAGAS
from payments.followup import follow_up_once
from payments.models import SimulatedCharge
from payments.reconciliation import reconcile
from sagas.operations import holds
from sagas.storage.registry import get_service
from tests.integration.audit import harness

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

HOUR = timedelta(hours=1)


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


def reconciled() -> None:
    """Compare the gateway's statement, and follow up the payments that it shows."""
    now = timezone.now()
    reconcile(now - HOUR, now + HOUR)
    follow_up_once()


def violated() -> set[str]:
    return {verdict.invariant.id for verdict in audit().verdicts if verdict.violations}


@pytest.mark.parametrize("first", ["charge", "authorize"])
def test_a_capture_of_a_part_cancels_the_order_and_gives_no_violation(first: str) -> None:
    harness.open_shop()
    order = harness.place(method="pm_sim_partial_capture", first=first)
    harness.run_to_end(order, plan=SAGAS[f"{first}_first"].plan)
    assert Order.objects.get(id=order).status == "cancelled"
    refunded = SimulatedCharge.objects.get(order_id=order, kind="refund").amount
    assert refunded == SimulatedCharge.objects.get(order_id=order, kind="capture").amount < 2500
    assert violated() == set()


@pytest.mark.parametrize("first", ["charge", "authorize"])
@pytest.mark.parametrize("method", ["pm_sim_partly_refunded", "pm_sim_disputed_lost"])
def test_money_that_moved_outside_is_a_violation_until_the_reconciliation(
    method: str, first: str
) -> None:
    """Without any webhook."""
    harness.open_shop()
    order = harness.place(method=method, first=first)
    harness.run_to_end(order, plan=SAGAS[f"{first}_first"].plan)
    assert Order.objects.get(id=order).status == "fulfilled"
    assert violated() == {"I3", "I4", "I5"}
    reconciled()
    assert violated() == set()


def test_a_refund_that_bounced_is_a_violation_until_the_money_is_back() -> None:
    harness.open_shop()
    order = harness.place()
    harness.deliver("payments.charge", order)
    harness.cancel(order)
    harness.run_to_end(order)
    assert violated() == set()
    SimulatedCharge.objects.filter(order_id=order, kind="refund").delete()
    assert violated() == {"I3", "I4", "I5"}
    reconciled()
    assert violated() == set()
