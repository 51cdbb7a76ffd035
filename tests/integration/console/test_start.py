"""The start page: its figures, its permissions, and sections whose service is down."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from orders.status import Status
from payments.models import Inbox
from services import NAMES
from tests.integration.console.conftest import client_of, count_queries
from tests.integration.orders import harness

START = "/admin/"
LIVE = "/admin/live/"

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def test_without_any_order_the_page_explains_itself(viewer):
    page = viewer.get(START).content.decode()
    assert "every order has ended" in page
    assert "No order has ended in the time shown." in page
    assert "no open order has captured money" in page


def test_orders_are_counted_by_status_and_those_that_need_attention_stand_out(viewer):
    harness.order(Status.PAID), harness.order(Status.PAID, needs_attention=True)
    harness.order(Status.FULFILLED, ended_at="2026-01-01T00:00:00Z")
    found = viewer.get(LIVE)
    assert found.context["orders"].open == {
        "pending": 0,
        "paid": 2,
        "reserved": 0,
        "fulfilled": 0,
        "cancelling": 0,
    }
    assert found.context["orders"].attention == 1
    assert found.context["down"] == []
    assert "a step keeps failing and must not be given up" in found.content.decode()


def test_the_menu_says_how_many_orders_need_attention(viewer):
    link = f"{reverse('admin:orders_order_changelist')}?needs_attention__exact=1"
    harness.order(needs_attention=True)
    menu = {
        item["title"]: item
        for group in viewer.get(START).context["sidebar_navigation"]
        for item in group["items"]
    }
    assert (menu["Needs attention"]["link"], menu["Needs attention"]["badge"]) == (link, "1")


def test_the_menu_has_a_question_mark_where_the_number_cannot_be_asked(viewer, renamed):
    harness.order(needs_attention=True)
    renamed("default", "orders_order")
    menu = {
        item["title"]: item
        for group in viewer.get(START).context["sidebar_navigation"]
        for item in group["items"]
    }
    assert menu["Needs attention"]["badge"] == "?"


def test_the_menu_offers_only_permitted_pages():
    pat = client_of("pat", "view_payment")
    groups = pat.get(START).context["sidebar_navigation"]
    assert [item["title"] for group in groups for item in group["items"]] == ["Start", "Payments"]


def test_the_figures_need_the_permission_to_view_orders():
    pat = client_of("pat", "view_payment")
    assert "You need the permission to view sagas" in pat.get(START).content.decode()
    assert pat.get(LIVE).status_code == 403


def test_a_section_that_does_not_answer_leaves_a_gap_with_a_name(viewer, renamed):
    renamed("payments", "payments_outbox")
    page = viewer.get(LIVE)
    assert page.context["down"] == ["messages of payments"]
    assert "No answer in time: messages of payments." in page.content.decode()
    assert [found.service for found in page.context["services"]] == sorted(
        {*NAMES, "trips"} - {"payments"}
    )
    assert "The open steps of payments are unknown." in page.content.decode()
    assert "No step is open." not in page.content.decode()


def test_steps_that_wait_as_agreed_are_not_late(viewer):
    now = timezone.now()
    Inbox.objects.create(
        saga=harness.order().id,
        saga_started_at=now,
        step="payments.charge",
        state="waiting",
        attempts=0,
        send_at=now,
        created_at=now - timedelta(hours=2),
    )
    page = viewer.get(LIVE)
    [row] = [row for found in page.context["services"] for row in found.inbox]
    assert (row.state, row.rows) == ("agreed", 1)
    text = page.content.decode()
    assert "waits as agreed" in text
    assert '<span class="late">2.0 h' not in text
    listed = viewer.get("/admin/payments/inbox/?step=payments.charge&state__exact=agreed")
    assert listed.context["cl"].result_count == 1
    assert "waits as agreed" in listed.content.decode()


def test_a_broker_that_is_down_leaves_a_gap_and_the_rest_is_shown(viewer, broker):
    broker.kill()
    page = viewer.get(LIVE)
    assert "queues" in page.context["down"]
    assert "unknown" in page.content.decode()


def test_the_number_of_queries_does_not_grow_with_the_orders(viewer):
    viewer.get(START)
    with count_queries() as few:
        viewer.get(START)
    for _ in range(30):
        harness.order(Status.FULFILLED, ended_at="2026-01-01T00:00:00Z")
    with count_queries() as many:
        viewer.get(START)
    assert many() == few() <= 20
