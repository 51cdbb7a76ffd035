"""The API accepts orders while the broker is down. They continue after it is back."""

import pytest

from orders.models import Order, Outbox
from tests.processes import until
from tests.system.harness import assert_sound, ended, order, outcome, shop, system

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.outside,
]

__all__ = ["shop"]


def test_a_hung_broker_does_not_block_orders(api_client, broker):
    broker.freeze()
    placed = [order(api_client, f"hung-{number}") for number in range(3)]
    until(lambda: Outbox.objects.exclude(last_error="").exists(), "the flush thread has failed")
    broker.thaw()
    with system() as workers:
        until(lambda: ended(*placed), "all orders have ended", process=workers["orders"])
    assert_sound()


def test_workers_survive_a_restart_of_the_broker(api_client, broker):
    with system() as workers:
        before = order(api_client, "before")
        until(lambda: ended(before), "the first order has ended", process=workers["orders"])
        broker.kill()
        during = [order(api_client, f"during-{number}") for number in range(5)]
        assert Order.objects.filter(id__in=during, status="pending").count() == 5
        broker.start()
        until(
            lambda: ended(*during),
            "the other orders have ended",
            process=workers["orders"],
            limit=110,
        )
    assert {outcome(order_id) for order_id in during} == {("fulfilled", "")}
    assert_sound()
