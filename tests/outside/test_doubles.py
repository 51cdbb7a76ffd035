"""Two beats, and two workers with their relays on every queue, repeat no effect."""

import pytest

from orders.models import Order
from payments.models import SimulatedCharge
from tests.outside.harness import SHORT_TIMES
from tests.processes import beat, worker
from tests.system.harness import SERVICES, order, outcome

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]


def test_a_second_set_of_processes_repeats_no_effect(api_client, system):
    with worker(*SERVICES, environ=SHORT_TIMES, concurrency=2), beat(environ=SHORT_TIMES):
        placed = [order(api_client, f"mug-{number}") for number in range(20)]
        rare = [order(api_client, f"rare-{number}", sku="RARE") for number in range(5)]
        system.wait_until_idle()

    assert {outcome(order_id) for order_id in placed} == {("fulfilled", "")}
    assert (
        sorted(outcome(order_id)[0] for order_id in rare) == ["cancelled"] * 2 + ["fulfilled"] * 3
    )
    assert SimulatedCharge.objects.filter(kind="capture").count() == Order.objects.count()
