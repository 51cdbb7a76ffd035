"""The facts of one kind on the page of another: the returns of an order, and the order of each."""

import pytest
from django.db import OperationalError

from orders.models import Order
from returns.kind import NEWEST, ReturnKind
from returns.models import Return
from tests.integration.console.conftest import client_of
from tests.integration.returns.factories import ask, fulfilled_order, propose

pytestmark = pytest.mark.django_db(databases="__all__")

RETURNS = "/admin/returns/return/"


@pytest.fixture(autouse=True)
def _no_flush(flushed, monkeypatch):
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)


@pytest.fixture
def order():
    return fulfilled_order("MUG")


def page(client, row):
    model = "orders/order" if isinstance(row, Order) else "returns/return"
    return client.get(f"/admin/{model}/{row.pk}/change/").content.decode()


def test_the_page_of_an_order_names_its_returns_and_links_to_them(viewer, order):
    goods, goodwill = ask(order, MUG=1), propose(order, 500)
    Return.objects.filter(pk=goods).update(needs_attention=True)
    shown = page(viewer, order)
    assert f'href="{RETURNS}{goods}/change/">requested, 12.50 EUR, needs attention</a>' in shown
    assert f'href="{RETURNS}{goodwill}/change/">requested, 5.00 EUR</a>' in shown
    assert "Goodwill" in shown


def test_the_page_of_another_order_names_none(viewer, order):
    ask(order, MUG=1)
    assert RETURNS + "0" not in page(viewer, fulfilled_order("PLATE"))


def test_the_page_of_an_order_names_its_newest_returns_alone(viewer, order, monkeypatch):
    monkeypatch.setattr("returns.kind.NEWEST", 1)
    oldest, newest = ask(order, MUG=1), ask(order, MUG=1)
    shown = page(viewer, order)
    assert str(newest) in shown
    assert str(oldest) not in shown
    assert "Only the newest 1 are shown." in shown
    assert NEWEST > 1


def test_the_page_and_the_list_of_returns_link_to_the_order(viewer, order):
    row = Return.objects.get(pk=ask(order, MUG=1))
    link = f'href="/admin/orders/order/{order.pk}/change/">{order.pk}</a>'
    assert link in page(viewer, row)
    assert link in viewer.get("/admin/sagas/?show=open&kind=returns").content.decode()


def test_no_link_leads_to_a_page_that_the_user_may_not_view(order):
    row = Return.objects.get(pk=ask(order, MUG=1))
    shown = page(client_of("rita", "view_return"), row)
    assert str(order.pk) in shown
    assert f"/admin/orders/order/{order.pk}/" not in shown

    shown = page(client_of("otto", "view_order"), order)
    assert "You may not view returns (returns.view_return)." in shown
    assert str(row.pk) not in shown


def test_returns_that_cannot_be_read_are_unknown_and_not_none(viewer, order, monkeypatch):
    def fail(kind, row):
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(ReturnKind, "facts_about", fail)
    assert "Unknown: the database of returns does not answer." in page(viewer, order)


def test_the_list_of_returns_is_filtered_by_status(viewer, order):
    waiting, done = ask(order, MUG=1), ask(order, MUG=1)
    Return.objects.filter(pk=waiting).update(status="awaiting_goods")
    answer = viewer.get(RETURNS, {"status__exact": "awaiting_goods"})
    assert [row.pk for row in answer.context["cl"].queryset] == [waiting]
    assert "awaiting goods" in answer.content.decode()
    answer = viewer.get(RETURNS, {"status__exact": "requested", "show": "open"})
    assert [row.pk for row in answer.context["cl"].queryset] == [done]


def test_a_kind_without_statuses_offers_no_filter_of_them(client, admin_user):
    client.force_login(admin_user)
    answer = client.get("/admin/trips/trip/", {"show": "all", "status__exact": "open"})
    assert answer.status_code == 200
    assert "status__exact" not in [
        getattr(one, "parameter_name", "") for one in answer.context["cl"].filter_specs
    ]
