"""A database is lost or restored. The recovery rebuilds its rows, and the audit finds nothing."""

from itertools import count
from uuid import UUID

import msgspec
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from inventory.models import Reservation, StockItem
from inventory.services import adjust_stock
from orders.models import IdempotencyKey, Order, OrderLine, TimelineEvent
from payments.models import Payment, SimulatedCharge
from recovery.inventory import RESERVE
from recovery.writes import Plan
from sagas.definition.plan import Plan as SagaPlan
from sagas.operations import holds
from sagas.storage.registry import get_service
from tests.integration.audit.harness import (
    deliver,
    open_free_shop,
    open_shop,
    place,
    record_timeline,
    run_to_end,
)
from tests.integration.recovery.harness import (
    backed_up,
    lose,
    orders_of_every_kind,
    recover,
    restore,
)

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True, databases="__all__")]

DATABASES = ("payments", "inventory", "orders")

DECLINED = "pm_card_chargeDeclined"


def payments():
    """Return the state of each payment."""
    columns = ("order_id", "status", "charge_id", "refunded_amount", "decline_code", "gateway")
    return set(Payment.objects.values_list(*columns))


def reservations():
    """Return the state of each reservation."""
    return set(Reservation.objects.values_list("order_id", "item_id", "quantity", "state"))


def placed():
    """Return the orders with their lines, as their customers see them."""
    columns = ("id", "user", "status", "amount", "currency", "payment_method", "created_at")
    lines = OrderLine.objects.values_list("order_id", "sku", "quantity", "unit_amount")
    return set(Order.objects.values_list(*columns)), set(lines)


def reasons():
    """Return the reason of each cancellation.

    A declined order whose customer cancelled as well may have either reason, because the cancel had
    reached no other service.
    """
    orders = Order.objects.exclude(payment_method=DECLINED)
    return set(orders.values_list("id", "failure_code"))


def timelines():
    """Return the events of each order, except of declined orders (see `reasons`)."""
    declined = Order.objects.filter(payment_method=DECLINED).values("id")
    events = TimelineEvent.objects.exclude(saga__in=declined)
    return sorted(events.values_list("saga", "seq", "type", "service", "step"))


def counters():
    """Return the reserved and the shipped pieces of each SKU."""
    return set(StockItem.objects.values_list("sku", "reserved", "shipped"))


def everything():
    """Return all states that must not change, without the timeline."""
    orders, lines = placed()
    return {
        "payments": payments(),
        "reservations": reservations(),
        "orders": orders,
        "reasons": reasons(),
        "keys": set(
            IdempotencyKey.objects.values_list("user_id", "key", "fingerprint", "order_id")
        ),
        "lines": lines,
        "counters": counters(),
        "ledger": moved(),
    }


def assert_same(before):
    """Check that every state is as before."""
    after = everything()
    differences = {
        name: before[name] ^ after[name] for name in before if before[name] != after[name]
    }
    assert not differences


def moved():
    """Return the gateway's ledger."""
    return set(SimulatedCharge.objects.values_list("order_id", "kind", "amount", "key"))


@pytest.mark.parametrize("database", DATABASES)
def test_a_lost_database_is_rebuilt(database):
    orders = orders_of_every_kind()
    before, entries = everything(), timelines()
    lose(database)

    recover(database)

    assert_same(before)
    assert timelines() == entries
    _end(orders.open)


@pytest.mark.parametrize("database", DATABASES)
def test_a_database_restored_to_an_older_point_is_brought_up_to_date(database):
    first = orders_of_every_kind()
    with backed_up(database):
        run_to_end(first.open)
        second = orders_of_every_kind()
        before = everything()
        restore(database)

    recover(database)

    assert_same(before)
    _end(second.open)


@pytest.mark.parametrize("database", ["payments", "orders"])
def test_a_free_order_is_rebuilt_without_a_payment(database, settings):
    settings.FREE_PRODUCTS = True
    open_free_shop()
    ended, open_ = place("GIFT"), place("GIFT", method="")
    plan = msgspec.convert(Order.objects.get(id=ended).plan, SagaPlan)
    deliver("inventory.reserve", open_, plan=plan)
    run_to_end(ended, plan=plan)
    before = everything()
    lose(database)

    recover(database)

    assert_same(before)
    assert set(Order.objects.values_list("amount", flat=True)) == {0}
    assert not Payment.objects.exists()
    run_to_end(open_, plan=plan)
    assert set(Order.objects.values_list("status", flat=True)) == {"fulfilled"}


@pytest.mark.parametrize("database", DATABASES)
def test_a_database_that_is_whole_is_left_as_it_is(database, capsys):
    orders_of_every_kind()
    before = everything()

    recover(database, stock_counted=True)

    assert "0 writes were applied" in capsys.readouterr().out
    assert everything() == before


@pytest.mark.parametrize("database", DATABASES)
def test_a_dry_run_writes_nothing(database):
    orders_of_every_kind()
    lose(database)
    before = everything(), timelines()

    with pytest.raises(SystemExit):
        call_command("recover", database)

    assert (everything(), timelines()) == before


def _end(order):
    """Count the stock, let the workers end an order that was open, and check everything."""
    adjust_stock(sku="MUG", quantity=100, reason="counted", by="staff")
    holds.release(get_service("inventory"), step=RESERVE)
    holds.release(get_service("orders"), step=RESERVE)
    run_to_end(order)
    record_timeline()
    call_command("audit", "--expect-ended")
    assert Order.objects.get(id=order).status == "fulfilled"


def test_a_request_that_is_repeated_after_the_loss_of_orders_places_no_second_order(api_client):
    open_shop()
    headers = {"Idempotency-Key": "one"}
    body = {"lines": [{"sku": "MUG", "quantity": 2}], "payment_method": "pm_card_visa"}
    first = api_client.post("/api/v1/orders/", body, "application/json", headers=headers)
    order = UUID(first.json()["id"])
    deliver("payments.charge", order)
    lose("orders")

    recover("orders")

    again = api_client.post("/api/v1/orders/", body, "application/json", headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"
    _end(order)


def test_an_order_whose_customer_is_not_in_the_backup_is_kept_for_a_person(capsys):
    open_shop()
    order = place()
    deliver("payments.charge", order)
    lose("orders")
    User.objects.all().delete()

    recover("orders")

    owner = Order.objects.get(id=order).user
    assert (owner.username, owner.is_active, owner.has_usable_password()) == (
        "recovered-orders",
        False,
        False,
    )
    assert f"order whose customer is not known {order}" in capsys.readouterr().out
    _end(order)


def test_a_free_order_without_a_payment_method_is_described_to_a_person(settings, capsys):
    settings.FREE_PRODUCTS = True
    open_free_shop()
    order = place("GIFT", method="")
    plan = msgspec.convert(Order.objects.get(id=order).plan, SagaPlan)
    deliver("inventory.reserve", order, plan=plan)
    lose("orders")
    User.objects.all().delete()

    recover("orders")

    assert "0 eur, no payment method; owner" in capsys.readouterr().out


class Interrupted(Exception):
    """The command is stopped between two commits."""


def is_stopped_after_one_commit(database, monkeypatch):
    """Run the command, stop it before its second commit, and return whether it had one."""
    batches, commits = Plan.batches, count()

    def some_batches(self):
        for batch in batches(self):
            if next(commits):
                raise Interrupted
            yield batch

    with monkeypatch.context() as patched:
        patched.setattr(Plan, "batches", some_batches)
        try:
            recover(database)
        except Interrupted:
            return True
    return False


@pytest.mark.parametrize(
    ("database", "at_least"), [("payments", 2), ("inventory", 3), ("orders", 4)]
)
def test_a_command_that_was_stopped_between_any_two_commits_is_repeated(
    database, at_least, monkeypatch
):
    orders = orders_of_every_kind()
    before = everything()
    lose(database)

    stops = 0
    while is_stopped_after_one_commit(database, monkeypatch):
        stops += 1

    assert stops >= at_least
    assert_same(before)
    _end(orders.open)
