"""The API accepts orders while the broker is down. They go on once it is back."""

import pytest

from orders.models import Order, Outbox
from tests.processes import until
from tests.system.harness import assert_sound, ended, order, outcome, shop, system

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

__all__ = ["shop"]


def test_a_broker_that_hangs_holds_up_no_order(api_client, broker):
    broker.freeze()
    placed = [order(api_client, f"hung-{number}") for number in range(3)]
    until(lambda: Outbox.objects.exclude(last_error="").exists(), "the nudge has tried in vain")
    broker.thaw()
    with system() as workers:
        until(lambda: ended(*placed), "all orders have ended", process=workers["orders"])
    assert_sound()


def test_workers_outlive_a_broker_that_is_killed_and_comes_back(api_client, broker):
    with system() as workers:
        before = order(api_client, "before")
        until(lambda: ended(before), "the first order has ended", process=workers["orders"])
        broker.kill()
        during = [order(api_client, f"during-{number}") for number in range(5)]
        assert Order.objects.filter(id__in=during, status="pending").count() == 5
        broker.start()
        until(lambda: ended(*during), "the others have ended", process=workers["orders"], limit=110)
    assert {outcome(one) for one in during} == {("fulfilled", "")}
    assert_sound()
