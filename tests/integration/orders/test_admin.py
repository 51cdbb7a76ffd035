"""The admin of orders' own tables: the catalogue, and the messages."""

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from tests.integration.orders import harness


@pytest.fixture
def operator(client, db):
    """A member of staff in the admin, who may see the messages and edit the catalogue."""
    sam = harness.user("sam", is_staff=True)
    names = ("view_outbox", "view_inbox", "view_product", "add_product", "change_product")
    sam.user_permissions.set(
        Permission.objects.filter(codename__in=names, content_type__app_label="orders")
    )
    client.force_login(sam)
    return client


def test_a_product_is_added_and_changed_but_keeps_its_sku(operator):
    form = {"sku": "MUG", "name": "Mug", "unit_amount": "1250", "currency": "eur", "active": "on"}
    assert operator.post(reverse("admin:orders_product_add"), form).status_code == 302
    page = reverse("admin:orders_product_change", args=[1]).replace("/1/", "/{}/")
    (product,) = operator.get("/admin/orders/product/").context["cl"].queryset
    without_reason = operator.post(page.format(product.pk), form | {"unit_amount": "1300"})
    assert set(without_reason.context["adminform"].form.errors) == {"reason"}
    form |= {"reason": "The supplier raised it."}
    operator.post(page.format(product.pk), form | {"sku": "CUP", "unit_amount": "1300"})
    product.refresh_from_db()
    assert (product.sku, product.unit_amount) == ("MUG", 1300)
    bad = operator.post(page.format(product.pk), form | {"currency": "EUR", "unit_amount": "0"})
    assert set(bad.context["adminform"].form.errors) == {"currency", "unit_amount"}


@pytest.mark.parametrize("table", ["outbox", "inbox"])
def test_what_was_sent_and_received_is_there_to_be_seen(operator, table):
    assert operator.get(f"/admin/orders/{table}/").status_code == 200
