"""The broker loses its data, is down, hangs or is full. The API still accepts orders, and they end
later.
"""

import shutil

import pytest

from orders.models import Outbox, TimelineEvent
from tests.outside.harness import SHORT_TIMES, in_database, valkey
from tests.processes import until
from tests.system.harness import order, outcome

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

FULFILLED = ("fulfilled", "")


def place(client, count, name, **wanted):
    return [order(client, f"{name}-{number}", **wanted) for number in range(count)]


def some_have_progressed():
    return TimelineEvent.objects.exclude(type="order.created").exists()


def wait_for_age(seconds):
    """Wait until the oldest order is `seconds` old, by the database's clock."""
    oldest = f"SELECT now() - min(created_at) > interval '{seconds} s' FROM orders_order"
    until(lambda: in_database("default", oldest) == [(True,)], f"an order is {seconds} s old")


def test_a_broker_that_restarts_without_its_data_loses_no_order(api_client, system, broker):
    placed = place(api_client, 10, "before")
    until(some_have_progressed, "some orders have progressed")
    broker.kill()
    shutil.rmtree(broker.home / "appendonlydir")
    placed += place(api_client, 5, "during")
    broker.start()
    system.wait_until_idle()
    assert {outcome(order_id) for order_id in placed} == {FULFILLED}


def test_a_broker_that_is_flushed_repeatedly_loses_no_order(api_client, system):
    placed = []
    with valkey() as client:
        for moment in range(5):
            placed += place(api_client, 4, f"flushed-{moment}")
            until(
                lambda: Outbox.objects.filter(published_at__isnull=False).exists(),
                "some orders are sent",
            )
            client.flushall()

    system.wait_until_idle()
    assert {outcome(order_id) for order_id in placed} == {FULFILLED}


def test_a_broker_that_is_down_longer_than_every_lease_only_delays_orders(
    api_client, system, broker
):
    placed = place(api_client, 5, "before")
    until(some_have_progressed, "some orders have progressed")
    broker.kill()
    placed += place(api_client, 5, "during")
    wait_for_age(2 * float(SHORT_TIMES["SAGA_LEASE_SECONDS"]) + 2)
    broker.start()
    system.wait_until_idle()
    assert {outcome(order_id) for order_id in placed} == {FULFILLED}


def test_a_broker_that_hangs_under_running_workers_only_delays_orders(api_client, system, broker):
    placed = place(api_client, 5, "before")
    until(some_have_progressed, "some orders have progressed")
    broker.freeze()
    placed += place(api_client, 5, "during")
    until(lambda: Outbox.objects.exclude(last_error="").exists(), "a relay has failed to send")
    wait_for_age(float(SHORT_TIMES["SAGA_LEASE_SECONDS"]) + 1)
    broker.thaw()
    system.wait_until_idle()
    assert {outcome(order_id) for order_id in placed} == {FULFILLED}


def test_a_broker_without_memory_only_delays_orders(api_client, system, broker):
    placed, main_process = place(api_client, 5, "before"), system.workers[0].popen
    until(some_have_progressed, "some orders have progressed")

    with valkey() as client:
        client.config_set("maxmemory", 1)
        try:
            placed += place(api_client, 5, "full")
            until(
                lambda: Outbox.objects.filter(last_error__contains="maxmemory").exists(),
                "the broker refuses a message",
            )
        finally:
            client.config_set("maxmemory", 0)

    system.wait_until_idle()
    assert {outcome(order_id) for order_id in placed} == {FULFILLED}
    assert (system.workers[0].popen, main_process.poll()) == (main_process, None), (
        "the worker has exited"
    )
