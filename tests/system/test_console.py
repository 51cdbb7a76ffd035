"""An operator retries stuck orders in bulk, and real workers finish them."""

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from console.models import Run
from inventory.models import Reservation
from orders.models import Order
from tests.processes import until
from tests.system.harness import QUICK, assert_sound, ended, order, shop, system

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

__all__ = ["shop"]


@pytest.fixture
def operator(django_user_model):
    olga = django_user_model.objects.create_user("olga", is_staff=True)
    olga.groups.add(Group.objects.get(name="operator"))
    client = Client()
    client.force_login(olga)
    return client


@pytest.mark.faults
def test_stuck_orders_end_after_a_bulk_retry(operator, api_client):
    impatient = {**QUICK, "SAGA_STALL_SECONDS": "1", "SAGA_REDRIVES": "1"}
    with system(impatient) as workers:
        workers["inventory"].kill()
        placed = [order(api_client, f"stuck-{number}") for number in range(5)]
        until(
            lambda: Order.objects.filter(needs_attention=True).count() == 5,
            "all five orders need attention",
        )
        selected = {"action": "retry", "_selected_action": placed}
        page = operator.post("/admin/orders/order/", selected, follow=True)
        confirmed = {
            "reason": "The worker starts again.",
            "seen": page.context["impact"].fingerprint,
        }
        operator.post(f"/admin/console/run/{page.context['run'].id}/confirm/", confirmed)
        until(lambda: Run.objects.filter(state="ended").exists(), "the run has ended")
        workers["inventory"].revive()
        until(lambda: ended(*placed), "all five orders have ended")
    assert set(Run.objects.get().items.values_list("state", flat=True)) <= {"done", "nothing"}
    assert set(Reservation.objects.values_list("state", flat=True)) == {"shipped"}
    assert_sound()
