"""The admin of orders: everything to be seen, and nothing to be changed but by calling off."""

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from orders.models import Order, Outbox, TimelineEvent
from orders.status import Status
from sagas.ids import uuid7
from tests.integration.orders import shop

LIST = "/admin/orders/order/"


@pytest.fixture
def operator(client, db):
    """A member of staff in the admin, who may see orders and run their actions."""
    sam = shop.user("sam", is_staff=True)
    names = ("view_order", "change_order", "view_outbox", "view_inbox", "view_product", "add_product", "change_product")
    sam.user_permissions.set(Permission.objects.filter(codename__in=names, content_type__app_label="orders"))
    client.force_login(sam)
    return client


def change(order):
    return reverse("admin:orders_order_change", args=[order.id])


def run_cancel(client, *orders):
    data = {"action": "cancel", "_selected_action": [str(order.id) for order in orders]}
    return client.post(LIST, data, follow=True)


def test_an_order_shows_its_lines_its_timeline_and_where_its_payment_is(operator):
    order = shop.order()
    TimelineEvent.objects.create(
        id=uuid7(),
        saga=order.id,
        seq=0,
        type="order.created",
        service="orders",
        at=order.created_at,
        detail={"note": "<script>"},
    )
    page = operator.get(change(order)).content.decode()
    assert "MUG" in page
    assert "order.created" in page
    assert f"{reverse('admin:payments_payment_changelist')}?q={order.id}" in page
    assert "<script>&#x27;" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("term", ["id", "ada"])
def test_orders_are_found_by_id_and_by_customer(operator, term):
    wanted = shop.order(of="ada")
    shop.order(of="bob")
    page = operator.get(LIST, {"q": str(wanted.id) if term == "id" else term})
    assert [order.id for order in page.context["cl"].queryset] == [wanted.id]


def test_orders_are_filtered_by_status_and_by_need(operator):
    stuck = shop.order(Status.PAID, needs_attention=True)
    shop.order(Status.PAID), shop.order()
    page = operator.get(LIST, {"status__exact": "paid", "needs_attention__exact": "1"})
    assert [order.id for order in page.context["cl"].queryset] == [stuck.id]


def test_the_list_counts_no_further_than_people_page(operator, django_assert_max_num_queries):
    for _ in range(3):
        shop.order()
    with django_assert_max_num_queries(8) as captured:
        assert operator.get(LIST).status_code == 200
    counts = [query["sql"] for query in captured.captured_queries if "COUNT(" in query["sql"]]
    assert all("LIMIT" in count for count in counts)


def test_calling_off_spares_what_is_fulfilled_and_says_so(operator):
    opened, fulfilled = shop.order(Status.PAID), shop.order(Status.FULFILLED)
    page = run_cancel(operator, opened, fulfilled).content.decode()
    assert f"Fulfilled, so not cancelled: {fulfilled.id}." in page
    assert Order.objects.get(id=opened.id).status == "cancelling"
    assert Order.objects.get(id=fulfilled.id).status == "fulfilled"
    assert Outbox.objects.get().saga == opened.id


def test_calling_off_twice_has_one_effect(operator):
    order = shop.order()
    run_cancel(operator, order)
    run_cancel(operator, order)
    assert Outbox.objects.count() == 1


def test_who_may_only_look_calls_nothing_off(operator):
    shop.user("sam").user_permissions.remove(Permission.objects.get(codename="change_order"))
    order = shop.order()
    run_cancel(operator, order)
    assert Order.objects.get().status == "pending"


def test_nobody_adds_edits_or_deletes_an_order(operator, admin_client):
    order = shop.order()
    for client in (operator, admin_client):
        assert client.get(reverse("admin:orders_order_add")).status_code == 403
        assert client.get(reverse("admin:orders_order_delete", args=[order.id])).status_code == 403
        assert client.post(change(order), {"status": "fulfilled"}).status_code == 403
    assert Order.objects.get().status == "pending"


def test_a_product_is_added_and_changed_but_keeps_its_sku(operator):
    form = {"sku": "MUG", "name": "Mug", "unit_amount": "1250", "currency": "eur", "active": "on"}
    assert operator.post(reverse("admin:orders_product_add"), form).status_code == 302
    page = reverse("admin:orders_product_change", args=[1]).replace("/1/", "/{}/")
    (product,) = operator.get("/admin/orders/product/").context["cl"].queryset
    operator.post(page.format(product.pk), form | {"sku": "CUP", "unit_amount": "1300"})
    product.refresh_from_db()
    assert (product.sku, product.unit_amount) == ("MUG", 1300)
    bad = operator.post(page.format(product.pk), form | {"currency": "EUR", "unit_amount": "0"})
    assert set(bad.context["adminform"].form.errors) == {"currency", "unit_amount"}


@pytest.mark.parametrize("table", ["outbox", "inbox"])
def test_what_was_sent_and_received_is_there_to_be_seen(operator, table):
    assert operator.get(f"/admin/orders/{table}/").status_code == 200
