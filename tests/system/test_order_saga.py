"""Orders through the whole system: a real worker for each service, beat, PostgreSQL and Valkey."""

import pytest

from inventory.models import Reservation, StockItem
from orders.models import IdempotencyKey, Order, Outbox
from payments.models import Payment
from tests.broker import empty
from tests.processes import until, worker
from tests.system.harness import (
    QUICK,
    SERVICES,
    assert_sound,
    ended,
    net,
    order,
    outcome,
    shop,
    system,
    timeline,
)

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

__all__ = ["shop"]


def test_each_kind_of_order_reaches_its_expected_end(api_client):
    with system() as workers:
        fulfilled = order(api_client, "good")
        declined = order(api_client, "poor", method="pm_card_chargeDeclined")
        sold_out = order(api_client, "greedy", sku="RARE", quantity=4)
        lost_answers = [
            order(api_client, method, method=method)
            for method in (
                "pm_sim_timeout_charged",
                "pm_sim_timeout_lost",
                "pm_sim_500_charged",
            )
        ]
        placed = [fulfilled, declined, sold_out, *lost_answers]
        until(lambda: ended(*placed), "all orders have ended", process=workers["payments"])
    assert outcome(fulfilled) == ("fulfilled", "")
    assert outcome(declined) == ("cancelled", "payment_declined")
    assert outcome(sold_out) == ("cancelled", "out_of_stock")
    assert [outcome(order_id) for order_id in lost_answers] == [("fulfilled", "")] * 3
    assert [net(order_id) for order_id in placed] == [1_000, 0, 0, 1_000, 1_000, 1_000]
    assert timeline(fulfilled) == [
        "order.created",
        "payment.processed",
        "stock.reserved",
        "order.fulfilled",
        "stock.shipped",
    ]
    assert timeline(sold_out) == [
        "order.created",
        "payment.processed",
        "stock.unavailable",
        "payment.refunded",
        "order.cancelled",
    ]
    assert timeline(declined) == ["order.created", "payment.failed", "order.cancelled"]
    assert_sound()


def test_more_buyers_than_pieces_sells_exactly_the_stock(api_client):
    with system() as workers:
        buyers = [order(api_client, f"buyer-{number}", sku="RARE") for number in range(10)]
        until(lambda: ended(*buyers), "all orders have ended", process=workers["inventory"])
    assert sorted(outcome(buyer) for buyer in buyers) == (
        [("cancelled", "out_of_stock")] * 7 + [("fulfilled", "")] * 3
    )
    item = StockItem.objects.get(sku="RARE")
    assert (item.on_hand, item.reserved, item.shipped) == (0, 0, 3)
    assert_sound()


def test_an_order_cancelled_before_its_first_step_is_not_charged(api_client):
    placed = order(api_client, "regret")
    assert api_client.post(f"/api/v1/orders/{placed}/cancel/").status_code == 202
    with system() as workers:
        until(lambda: ended(placed), "the order has ended", process=workers["payments"])
    assert outcome(placed) == ("cancelled", "cancelled_by_customer")
    assert net(placed) == 0
    assert api_client.post(f"/api/v1/orders/{placed}/cancel/").status_code == 200
    assert_sound()


def test_a_fulfilled_order_cannot_be_cancelled(api_client):
    with system() as workers:
        placed = order(api_client, "too-late")
        until(lambda: ended(placed), "the order has ended", process=workers["orders"])
    assert api_client.post(f"/api/v1/orders/{placed}/cancel/").status_code == 409
    assert outcome(placed) == ("fulfilled", "")


@pytest.mark.faults
@pytest.mark.parametrize("victim", SERVICES)
def test_all_orders_are_fulfilled_after_a_worker_is_killed(api_client, victim):
    with system() as workers:
        placed = [order(api_client, f"{victim}-{number}") for number in range(30)]
        workers[victim].kill()
        with worker(victim, environ=QUICK) as successor:
            until(lambda: ended(*placed), "all orders have ended", process=successor, limit=110)
    assert {outcome(order_id) for order_id in placed} == {("fulfilled", "")}
    assert Reservation.objects.filter(state="shipped").count() == 30
    assert Payment.objects.filter(status="captured").count() == 30
    assert_sound()


@pytest.mark.outside
def test_all_orders_are_fulfilled_after_the_broker_loses_its_data(api_client, settings):
    settings.SAGA_STALL_SECONDS = 1
    placed = [order(api_client, f"lost-{number}") for number in range(20)]
    until(
        lambda: not Outbox.objects.filter(published_at=None).exists(),
        "all orders are in the broker",
    )
    empty()
    with system() as workers:
        until(
            lambda: ended(*placed), "all orders have ended", process=workers["payments"], limit=110
        )
    assert {outcome(order_id) for order_id in placed} == {("fulfilled", "")}
    assert_sound()


def test_one_key_places_one_order(api_client):
    assert order(api_client, "once") == order(api_client, "once")
    assert (Order.objects.count(), IdempotencyKey.objects.count()) == (1, 1)
