"""An order's dossier as JSON: all there is to know of it, for staff alone, and nothing that is
secret.
"""

import json

import pytest
from django.test import Client
from django.urls import reverse

from orders.models import Outbox, TimelineEvent
from orders.saga import PLACE_ORDER
from payments.models import Payment
from sagas.ids import uuid7
from services import NAMES
from tests.integration.console.conftest import client_of, count_queries
from tests.integration.orders import harness

pytestmark = pytest.mark.django_db(databases="__all__")


def exported(client, order):
    answer = client.get(f"/admin/orders/order/{order}/export/")
    assert answer.status_code == 200, answer.content
    assert answer["Content-Disposition"] == f'attachment; filename="order-{order}.json"'
    return json.loads(answer.content)


def test_the_export_holds_the_rows_of_every_service(viewer, orders):
    found = exported(viewer, orders.out_of_stock)
    assert found["order"]["id"] == str(orders.out_of_stock)
    assert found["order"]["lines"][0] == {"sku": "MUG", "quantity": 2, "unit_amount": 1250}
    plan = PLACE_ORDER.plan
    assert [step["name"] for step in found["plan"]["steps"]] == [step.name for step in plan.actions]
    assert [event["type"] for event in found["timeline"]][-1] == "order.cancelled"
    assert {message["service"] for message in found["sent"]} == plan.services()
    assert {"inventory.reserve", "payments.refund"} <= {
        message["step"] for message in found["received"]
    }
    assert found["payment"]["status"] == "refunded"
    assert (found["unreachable"], found["failed_tasks"], found["actions"]) == ([], [], [])


def test_the_confirmation_address_and_the_providers_keys_are_left_out(viewer):
    url = "https://hooks.stripe.com/redirect?client_secret=seti_secret"
    order = harness.order(
        action={"type": "redirect", "url": url, "expires_at": "2026-01-01T00:00:00Z"}
    )
    asked = {"url": url, "expires_at": "2026-01-01T00:00:00Z"}
    now, told = order.created_at, {"saga": order.id, "seq": 1, "type": "payment.action_required"}
    Outbox.objects.create(
        **told,
        saga_started_at=now,
        step="payments.charge",
        data={"a": [asked]},
        context={},
        plan={},
    )
    TimelineEvent.objects.create(**told, id=uuid7(), service="payments", at=now, detail=asked)
    Payment.objects.create(
        order_id=order.id,
        amount=1,
        currency="eur",
        payment_method="pm_card_visa",
        charge_key="charge-key-1",
        refund_key="refund-key-1",
    )
    answer = viewer.get(f"/admin/orders/order/{order.id}/export/").content.decode()
    assert "expires_at" in answer
    for secret in ("client_secret", "charge-key-1", "refund-key-1"):
        assert secret not in answer


def test_a_service_that_does_not_answer_is_named(viewer, orders, broken):
    broken("payments", "payments_payment")
    found = exported(viewer, orders.fulfilled)
    assert found["unreachable"] == ["payments"]
    assert "payment" not in found  # null would say that there is none
    assert found["reservations"]


def test_it_takes_few_queries(viewer, orders):
    with count_queries() as total:
        exported(viewer, orders.cancelled_late)
    assert total() <= 14 + 2 * len(NAMES)


def test_an_order_that_is_none_is_not_found(viewer):
    assert viewer.get(f"/admin/orders/order/{uuid7()}/export/").status_code == 404
    assert viewer.get("/admin/orders/order/nonsense/export/").status_code != 200


def test_it_is_for_staff_who_may_view_orders(orders):
    address = f"/admin/orders/order/{orders.fulfilled}/export/"
    assert Client().get(address).status_code == 302
    customer = Client()
    customer.force_login(harness.user("customer"))
    assert customer.get(address).status_code == 302
    assert client_of("sid").get(address).status_code == 403
    assert client_of("sid").post(address).status_code in (403, 405)


def test_the_page_of_an_order_leads_to_it(viewer, orders):
    page = viewer.get(
        reverse("admin:orders_order_change", args=[orders.fulfilled])
    ).content.decode()
    assert f"/admin/orders/order/{orders.fulfilled}/export/" in page
