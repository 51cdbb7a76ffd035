"""Real workers reconcile and audit on schedule, also after a worker was killed in the middle."""

from datetime import timedelta

import pytest
from celery import current_app
from django.db.models import F
from django.utils import timezone

from audit import scheduled
from audit.models import AuditRun, Finding
from inventory.models import StockItem
from orders.models import Order
from payments import reconciliation
from payments.models import Drift, Payment, Reconciliation, SimulatedCharge
from tests.processes import until
from tests.system.harness import order, outcome

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

HALF_AN_HOUR = timedelta(minutes=30)


def half_an_hour_ago() -> None:
    """Move all orders to a time that the next windows contain."""
    then = timezone.now() - HALF_AN_HOUR
    Order.objects.update(ended_at=then)
    Payment.objects.update(created_at=then, updated_at=then)
    SimulatedCharge.objects.update(created_at=then)


def due() -> None:
    """Forget the windows before, which may have been opened by beat."""
    AuditRun.objects.all().delete()
    Reconciliation.objects.all().delete()


def send() -> None:
    current_app.send_task("payments.reconcile", queue="payments")
    current_app.send_task("audit.check_changes", queue="orders")


def finished() -> bool:
    return bool(scheduled.last_result().finished_at and reconciliation.last_result().finished_at)


def test_workers_find_the_differences_and_the_violations(api_client, system):
    sound, partly, unpaid = (order(api_client, key) for key in ("sound", "partly", "unpaid"))
    system.wait_until_idle()
    assert {outcome(each) for each in (sound, partly, unpaid)} == {("fulfilled", "")}
    Payment.objects.filter(order_id=partly).update(captured_amount=1)
    SimulatedCharge.objects.filter(order_id=unpaid).delete()
    StockItem.objects.filter(sku="MUG").update(on_hand=F("on_hand") + 1)
    half_an_hour_ago()
    due()
    send()
    until(finished, "both checks have finished", process=system.workers[0])
    found = {(each.kind, str(each.order_id)) for each in Drift.objects.all()}
    assert found == {("amount", partly)}
    subjects = set(Finding.objects.values_list("invariant", "subject"))
    assert {("I3", partly), ("I3", unpaid), ("I5", unpaid), ("I6", "MUG")} <= subjects
    assert not Finding.objects.filter(subject=sound).exists()
    assert scheduled.last_result().orders == 3


def test_a_killed_worker_leaves_its_windows_to_the_next_one(api_client, system):
    """Its leases end, and nothing that it had compared is compared again."""
    placed = order(api_client, "placed")
    system.wait_until_idle()
    assert outcome(placed) == ("fulfilled", "")
    half_an_hour_ago()
    due()
    now = timezone.now()
    lease = {"leased_until": now + timedelta(seconds=2)}
    left = Reconciliation.objects.create(
        gateway="simulated",
        since=now - 3 * HALF_AN_HOUR,
        until=now - HALF_AN_HOUR / 2,
        compared_until=now - 2 * HALF_AN_HOUR,
        movements=7,
        drifts=0,
        finished_at=None,
        **lease,
    )
    left_audit = AuditRun.objects.create(
        since=now - 2 * HALF_AN_HOUR, until=now, phase="payments", orders=7, **lease
    )
    send()

    def go_on() -> bool:
        send()
        return finished()

    until(go_on, "the windows are finished", process=system.workers[0])
    # A round that was sent meanwhile may have opened the next window.
    left.refresh_from_db()
    left_audit.refresh_from_db()
    assert left.movements == 8
    assert left_audit.orders == 7, "its order was checked in the phase before"
