"""The scheduled audit checks the rows that have changed, page by page. It keeps its findings until
the rows are right again.
"""

from datetime import timedelta
from itertools import count
from uuid import UUID

import pytest
from django.db import connections
from django.db.models import F
from django.utils import timezone

from audit import changes, pages, runs, tasks
from audit.checks import stock
from audit.models import AuditRun, Finding
from audit.runs import FoundViolation
from audit.scheduled import last_result, run_scheduled
from inventory.models import StockItem
from orders.models import Order
from payments.models import Payment, SimulatedCharge
from sagas.ids import uuid7
from tests.integration.audit import harness

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

# More tasks than any audit of these tests needs.
MOST_TASKS = 100


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch, settings):
    """Check rows of the last minute as well, and let the next audit be due at once."""
    monkeypatch.setattr(runs, "SETTLING_TIME", -MINUTE)
    settings.AUDIT_SECONDS = -120.0


@pytest.fixture
def shop():
    harness.open_shop()


def end(*orders: UUID) -> None:
    harness.run_to_end(*orders)


def fulfilled() -> UUID:
    order = harness.place("MUG")
    end(order)
    return order


def cancelled() -> UUID:
    order = harness.place("VASE")
    end(order)
    return order


def found() -> list[tuple[str, str]]:
    """Run a whole audit; return the invariant and the subject of each finding."""
    run_scheduled(60.0)
    assert not AuditRun.objects.filter(finished_at=None).exists(), "the audit did not finish"
    return sorted(Finding.objects.values_list("invariant", "subject"))


def spoil(order: UUID) -> None:
    """Let the gateway keep the money of a cancelled order."""
    SimulatedCharge.objects.filter(order_id=order, kind="refund").delete()


def test_correct_rows_give_no_finding(shop):
    fulfilled(), cancelled(), harness.place("MUG")
    assert found() == []
    result = last_result()
    assert (result.orders, result.violations, result.error) == (2, 0, "")
    run = AuditRun.objects.get()
    assert (result.finished_at, result.since, result.until) == (
        run.finished_at,
        run.since,
        run.until,
    )
    assert run.since < timezone.now() < run.until
    assert AuditRun.objects.get().skus == 2


def test_a_violation_is_found_and_forgotten_once_the_rows_are_right(shop):
    order = cancelled()
    refund = SimulatedCharge.objects.get(order_id=order, kind="refund")
    spoil(order)
    assert found() == [("I3", str(order)), ("I5", str(order))]
    assert last_result().violations == 2
    assert AuditRun.objects.latest("id").violations == 2
    first = Finding.objects.get(invariant="I3")
    assert "16000 kept, expected 0" in first.detail

    Order.objects.update(ended_at=timezone.now() - 9 * DAY)
    Payment.objects.update(updated_at=timezone.now() - 9 * DAY)
    assert len(found()) == 2, "a finding stays, although its order has not changed"
    again = Finding.objects.get(invariant="I3")
    assert (again.id, again.first_seen_at) == (first.id, first.first_seen_at)
    assert again.last_seen_at > first.last_seen_at

    refund.save(force_insert=True)
    assert found() == []
    assert last_result().violations == 0


def test_an_order_that_ended_before_the_window_is_not_checked(shop):
    order = cancelled()
    spoil(order)
    Order.objects.update(ended_at=timezone.now() - 2 * DAY)
    Payment.objects.update(updated_at=timezone.now() - 2 * DAY)
    assert found() == []


def test_a_payment_that_changed_after_its_order_had_ended_is_checked(shop):
    order = cancelled()
    spoil(order)
    Order.objects.update(ended_at=timezone.now() - 2 * DAY)
    assert found() == [("I3", str(order)), ("I5", str(order))]


def test_a_payment_of_no_order_is_found(shop):
    order = fulfilled()
    lost = uuid7()
    Payment.objects.filter(order_id=order).update(order_id=lost)
    assert ("I5", str(lost)) in found()
    assert "there is no such order" in Finding.objects.get(subject=str(lost)).detail
    Payment.objects.filter(order_id=lost).update(order_id=order)
    assert found() == []


def test_wrong_stock_counters_are_found(shop):
    fulfilled()
    StockItem.objects.filter(sku="MUG").update(on_hand=F("on_hand") + 1)
    StockItem.objects.filter(sku="PLATE").update(reserved=1, on_hand=F("on_hand") - 1)
    assert found() == [("I6", "MUG"), ("I7", "PLATE")]
    StockItem.objects.filter(sku="MUG").update(on_hand=F("on_hand") - 1)
    StockItem.objects.filter(sku="PLATE").update(reserved=0, on_hand=F("on_hand") + 1)
    assert found() == []


def test_a_task_checks_some_pages_and_the_next_one_goes_on(shop, monkeypatch):
    orders = [cancelled() for _ in range(5)]
    for order in orders:
        spoil(order)
    monkeypatch.setattr(changes, "ORDERS_PAGE", 2)
    monkeypatch.setattr(changes, "SKUS_PAGE", 1)
    monkeypatch.setattr(pages, "SKUS_PAGE", 1)
    for number in count(1):
        progress = run_scheduled(2.5, clock=count(0.0).__next__)
        assert progress.pages <= 2
        if not progress.unfinished:
            break
        assert number < MOST_TASKS
        assert last_result().finished_at is None
    assert number > 3
    run = AuditRun.objects.get()
    assert (run.orders, run.skus, run.phase) == (5, 2, "done")
    assert last_result().violations == 10


def test_every_changed_payment_is_checked_once_gateway_by_gateway(shop, monkeypatch, settings):
    orders = [cancelled() for _ in range(5)]
    for order in orders:
        spoil(order)
    Payment.objects.filter(order_id=orders[0]).update(gateway="")
    Payment.objects.filter(order_id=orders[1]).update(gateway="piggy-bank")
    Order.objects.update(ended_at=timezone.now() - 2 * DAY)
    monkeypatch.setattr(changes, "ORDERS_PAGE", 1)
    assert {subject for _, subject in found()} == {str(order) for order in orders}
    assert AuditRun.objects.get().orders == 5


def test_a_database_that_is_down_leaves_the_cursor_and_is_named(shop):
    order = cancelled()
    assert found() == []
    spoil(order)
    with connections["payments"].cursor() as cursor:
        cursor.execute("ALTER TABLE payments_payment RENAME TO gone")
    try:
        assert run_scheduled(60.0).unfinished is False
        result = last_result()
        assert "cannot read the database 'payments'" in result.error
        assert result.finished_at == AuditRun.objects.exclude(finished_at=None).get().finished_at
        assert AuditRun.objects.get(finished_at=None).leased_until is None
    finally:
        with connections["payments"].cursor() as cursor:
            cursor.execute("ALTER TABLE gone RENAME TO payments_payment")
    assert found() == [("I3", str(order)), ("I5", str(order))]
    assert last_result().error == ""


def test_stock_that_takes_too_long_is_reported_as_not_checked(shop, monkeypatch):
    order = cancelled()
    spoil(order)
    monkeypatch.setattr(pages, "STOCK_TIMEOUT", 20)
    slow = "SELECT sku, 1, 1, 1, 1 FROM inventory_stockitem, pg_sleep(30) WHERE sku = ANY(%(skus)s)"
    monkeypatch.setattr(stock, "COUNTERS", slow)
    assert found() == [("I3", str(order)), ("I5", str(order))]
    assert "was not checked" in last_result().error
    monkeypatch.undo()


def test_a_violation_that_a_second_look_does_not_find_is_no_finding(shop, monkeypatch):
    order = fulfilled()
    looks = iter([[FoundViolation(str(order), "I5", "read between two changes")]])
    monkeypatch.setattr(pages, "_violations", lambda orders: next(looks, []) if orders else [])
    assert found() == []
    assert next(looks, None) is None


def test_one_worker_at_a_time_checks(shop, settings):
    held = runs.claim()
    assert held
    assert runs.claim() is None
    assert run_scheduled(60.0).pages == 0
    AuditRun.objects.update(leased_until=timezone.now() - MINUTE)
    assert run_scheduled(60.0).pages > 0
    with pytest.raises(runs.LeaseLost):
        runs.advance(held, runs.PageResult(phase="done"))


def test_no_audit_is_due_before_its_time(shop, settings):
    settings.AUDIT_SECONDS = 3600.0
    assert found() == []
    assert run_scheduled(60.0).pages == 0
    assert AuditRun.objects.count() == 1


def test_windows_overlap(shop):
    found(), found()
    first, second = AuditRun.objects.order_by("id")
    assert second.since == first.until - runs.OVERLAP


def test_the_task_sends_the_next_one_while_pages_are_left(shop, monkeypatch):
    sent = []
    monkeypatch.setattr(tasks.check_changes, "apply_async", lambda **options: sent.append(options))
    monkeypatch.setattr(tasks, "BUDGET", -1.0)
    assert tasks.check_changes() == 0
    assert sent == [{"queue": "orders"}]
    monkeypatch.setattr(tasks, "BUDGET", 60.0)
    assert tasks.check_changes() > 0
    assert len(sent) == 1


def test_a_broker_that_is_down_leaves_the_next_page_to_beat(shop, monkeypatch, caplog):
    def down(**options):
        raise ConnectionError("refused")

    monkeypatch.setattr(tasks.check_changes, "apply_async", down)
    monkeypatch.setattr(tasks, "BUDGET", -1.0)
    assert tasks.check_changes() == 0
    assert "beat continues the audit" in caplog.text
