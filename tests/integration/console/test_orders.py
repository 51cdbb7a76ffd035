"""Orders in the console: searched, filtered, shown in all services, and read-only."""

import pytest
from django.urls import reverse

from orders.models import Inbox, Order, TimelineEvent
from orders.status import Status
from payments.models import Inbox as PaymentsInbox
from sagas.ids import uuid7
from services import NAMES
from tests.integration.console.conftest import client_of, count_queries
from tests.integration.orders import harness

LIST = "/admin/orders/order/"

pytestmark = pytest.mark.django_db(databases="__all__")


def change(order):
    return reverse(
        "admin:orders_order_change", args=[order.id if isinstance(order, Order) else order]
    )


def listed(client, **query):
    return [order.id for order in client.get(LIST, query).context["cl"].queryset]


@pytest.mark.parametrize("term", ["id", "ada"])
def test_orders_are_found_by_id_and_by_customer(viewer, term):
    wanted = harness.order(of="ada")
    harness.order(of="bob")
    assert listed(viewer, q=str(wanted.id) if term == "id" else term) == [wanted.id]


def test_orders_are_filtered_by_status_by_need_and_by_age(viewer):
    stuck = harness.order(Status.PAID, needs_attention=True)
    old = harness.order(created_at="2026-01-01T00:00:00Z")
    harness.order(Status.PAID)
    assert listed(viewer, status__exact="paid", needs_attention__exact="1") == [stuck.id]
    assert listed(viewer, older="1h") == [old.id]


def test_the_list_shows_amounts_with_their_currency_and_marks_only_orders_that_need_attention(
    viewer,
):
    harness.order(currency="jpy")
    page = viewer.get(LIST).content.decode()
    assert "2,500 JPY" in page
    assert "\nneeds attention\n" not in page
    harness.order(needs_attention=True)
    assert "\nneeds attention\n" in viewer.get(LIST, {"show": "all"}).content.decode()


def test_the_list_opens_on_the_orders_that_need_attention_if_there_are_any(viewer):
    order = harness.order()
    assert listed(viewer) == [order.id]
    stuck = harness.order(Status.PAID, needs_attention=True)
    opened = viewer.get(LIST, follow=True)
    assert [row.id for row in opened.context["cl"].queryset] == [stuck.id]
    assert [(tab.name, tab.number, tab.active) for tab in opened.context["tabs"]] == [
        ("attention", 1, True),
        ("open", 2, False),
        ("all", None, False),
    ]


def test_each_tab_shows_its_orders(viewer):
    stuck = harness.order(Status.FULFILLED, needs_attention=True)
    ended = harness.order(Status.FULFILLED, ended_at="2026-01-01T00:00:00Z")
    tabs = viewer.get(LIST, {"show": "all"}).context["tabs"]
    shown = [{row.id for row in viewer.get(tab.link).context["cl"].queryset} for tab in tabs]
    assert shown == [{stuck.id}, {stuck.id}, {stuck.id, ended.id}]


@pytest.mark.parametrize(
    "query", [{"o": "4"}, {"o": "-3.2"}, {"o": "x"}, {"status__exact": "x"}, {"show": "x"}]
)
def test_unindexed_and_unknown_sort_columns_are_ignored(viewer, query):
    orders = [harness.order(amount=amount).id for amount in (2, 1, 3)]
    assert listed(viewer, **query) == orders[::-1]


def test_the_list_counts_no_further_than_people_page(viewer, django_assert_max_num_queries):
    for _ in range(3):
        harness.order()
    # Two for each service, which are its holds.
    with django_assert_max_num_queries(4 + 2 * len(NAMES)) as captured:
        assert viewer.get(LIST).status_code == 200
    counts = [
        query["sql"] for query in captured.captured_queries if "COUNT(" in query["sql"].upper()
    ]
    assert all("LIMIT" in count for count in counts)


def test_an_order_shows_the_rows_of_each_service(viewer, orders):
    page = viewer.get(change(orders.out_of_stock)).content.decode()
    assert "185.00 EUR" in page
    assert "payment.refunded" in page
    assert "Not enough of VASE in stock." in page
    assert "payments.charge: undone, 1 attempt" in page
    assert "inventory.reserve: refused, 1 attempt" in page
    assert f"{reverse('admin:payments_payment_changelist')}?q={orders.out_of_stock}" in page


def test_an_order_is_shown_with_few_queries_however_many_messages_it_has(viewer, orders):
    with count_queries() as total:
        assert viewer.get(change(orders.cancelled_late)).status_code == 200
    # Two for each service; four for disputes, differences, findings and returns; and the role.
    assert total() <= 17 + 2 * len(NAMES)


def test_an_order_whose_services_do_not_answer_is_shown_with_a_gap_that_is_named(
    viewer, orders, broken
):
    broken("payments", "payments_payment")
    page = viewer.get(change(orders.fulfilled)).content.decode()
    assert "The database of payments does not answer" in page
    assert "43.00 EUR" in page


def test_an_order_that_needs_attention_says_which_step_said_what(viewer):
    order = harness.order(Status.PAID, needs_attention=True)
    Inbox.objects.create(
        saga=order.id,
        saga_started_at=order.created_at,
        step="orders.fulfil",
        state="waiting",
        attempts=3,
        error="No <luck>",
    )
    page = viewer.get(change(order)).content.decode()
    assert "orders.fulfil says “No &lt;luck&gt;”" in page


@pytest.mark.parametrize(("attempts", "shown"), [(1, False), (2, True)])
def test_the_reason_of_a_wait_that_is_over_is_no_error(viewer, attempts, shown):
    order = harness.order(Status.CANCELLED, ended_at="2026-01-01T00:00:00Z")
    PaymentsInbox.objects.create(
        saga=order.id,
        saga_started_at=order.created_at,
        step="payments.refund",
        state="done",
        attempts=attempts,
        error="The refund waits for the dispute du_1.",
    )
    page = viewer.get(change(order)).content.decode()
    assert ("The refund waits for the dispute du_1." in page) is shown


def test_the_detail_of_an_event_is_escaped(viewer):
    order = harness.order()
    TimelineEvent.objects.create(
        id=uuid7(),
        saga=order.id,
        seq=0,
        type="order.created",
        service="orders",
        at=order.created_at,
        detail={"n": "<script>"},
    )
    page = viewer.get(change(order)).content.decode()
    assert "&lt;script&gt;" in page
    assert '"<script>"' not in page


def test_orders_need_the_permission_to_view_them(client):
    stranger = client_of("sid")
    assert stranger.get(LIST).status_code == 403
    assert stranger.get(change(harness.order())).status_code == 403


def test_orders_are_read_only(viewer, admin_client):
    order = harness.order()
    for client in (viewer, admin_client):
        assert client.get(reverse("admin:orders_order_add")).status_code == 403
        assert client.get(reverse("admin:orders_order_delete", args=[order.id])).status_code == 403
        assert client.post(change(order), {"status": "fulfilled"}).status_code == 403
    order.refresh_from_db()
    assert order.status == "pending"


@pytest.mark.parametrize("id_", ["nonsense", "01890000-0000-7000-8000-000000000000"])
def test_an_order_that_is_none_leads_back_to_the_start(viewer, id_):
    assert viewer.get(change(id_)).status_code == 302
