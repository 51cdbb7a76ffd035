"""Reading one's own orders, page by page, filtered; and their events."""

from datetime import timedelta
from urllib.parse import quote

import pytest
from django.utils import timezone

from orders.models import TimelineEvent
from orders.status import Status
from sagas.ids import lowest_id, uuid7
from tests.integration.orders import harness


def ids(answer):
    assert answer.status_code == 200, answer.content
    return [order["id"] for order in answer.json()["results"]]


@pytest.mark.django_db(databases=["default", "payments"])
def test_a_customer_sees_their_own_orders_and_staff_all(ada, bob, staff):
    hers, his = str(harness.order(of="ada").id), str(harness.order(of="bob").id)
    assert ids(ada.get(harness.ORDERS)) == [hers]
    assert ids(bob.get(harness.ORDERS)) == [his]
    assert ids(staff.get(harness.ORDERS)) == [his, hers]


@pytest.mark.django_db(databases=["default", "payments"])
def test_anothers_order_is_not_found(ada, bob, staff):
    order = harness.order(of="ada")
    for rest in ("", "timeline/"):
        assert ada.get(harness.path(order, rest)).status_code == 200
        assert bob.get(harness.path(order, rest)).status_code == 404
        assert staff.get(harness.path(order, rest)).status_code == 200
        assert ada.get(harness.path(uuid7(), rest)).status_code == 404


def test_orders_come_newest_first_page_by_page_and_back(ada):
    newest_first = [str(harness.order().id) for _ in range(5)][::-1]
    first = ada.get(f"{harness.ORDERS}?limit=2")
    second = ada.get(first.json()["next"])
    third = ada.get(second.json()["next"])
    assert ids(first) + ids(second) + ids(third) == newest_first
    assert third.json()["next"] is None
    assert first.json()["previous"] is None
    assert ids(ada.get(third.json()["previous"])) == ids(second)


def test_an_order_placed_meanwhile_shifts_no_page(ada):
    harness.order(), harness.order()
    first = ada.get(f"{harness.ORDERS}?limit=1")
    harness.order()
    assert not set(ids(ada.get(first.json()["next"]))) & set(ids(first))


def test_a_page_costs_the_same_statements_however_long(ada, django_assert_num_queries):
    for _ in range(3):
        harness.order()
    with django_assert_num_queries(3):  # the token, the orders, their lines
        ada.get(harness.ORDERS)


@pytest.mark.parametrize("status", list(Status))
def test_orders_are_found_by_status(ada, status):
    made = {one: str(harness.order(one).id) for one in Status}
    assert ids(ada.get(f"{harness.ORDERS}?status={status}")) == [made[status]]


def test_orders_are_found_by_whether_they_need_attention(ada):
    fine, stuck = str(harness.order().id), str(harness.order(needs_attention=True).id)
    assert ids(ada.get(f"{harness.ORDERS}?needs_attention=true")) == [stuck]
    assert ids(ada.get(f"{harness.ORDERS}?needs_attention=false")) == [fine]


def test_orders_are_found_by_when_they_were_created(ada):
    two_days_ago = timezone.now() - timedelta(days=2)
    old, new = (
        harness.order(id=lowest_id(two_days_ago.timestamp()), created_at=two_days_ago),
        harness.order(),
    )
    yesterday = quote((timezone.now() - timedelta(days=1)).isoformat())
    assert ids(ada.get(f"{harness.ORDERS}?created_after={yesterday}")) == [str(new.id)]
    assert ids(ada.get(f"{harness.ORDERS}?created_before={yesterday}")) == [str(old.id)]
    assert ids(ada.get(f"{harness.ORDERS}?created_before={yesterday}&status=paid")) == []


def test_an_offset_that_postgresql_does_not_know_is_a_moment_like_any_other(ada):
    made = str(harness.order().id)
    assert ids(ada.get(f"{harness.ORDERS}?created_after=0142-09-28T19:25:43.709995-22:52")) == [
        made
    ]


@pytest.mark.parametrize(
    "query",
    [
        "status=lost",
        "status=",
        "needs_attention=",
        "created_after=",
        "needs_attention=2",
        "created_after=noon",
        "created_after=0001-01-01T00:00:00%2B23:00",
        "created_before=2026-99-99",
        "state=paid",
        "format=json",
        "ordering=amount",
        "ordering=",
        "status=paid&status=pending",
        "created_after=0001-01-01T00:00:00Z&created_before=9999-12-31T23:59:59Z&x=",
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=%D9%A3",
        "limit=9999999999999999999999",
        "cursor=x",
        "cursor=cD1hYmM=",
        "cursor=cD0lMDA=",
        "cursor=%F0%9F%98%80",
    ],
)
def test_a_query_that_makes_no_sense_is_an_error_and_never_all_orders(ada, query):
    harness.order()
    answer = ada.get(f"{harness.ORDERS}?{query}")
    assert answer.status_code == 400
    assert list(harness.fields(answer)) == [
        query.removesuffix("=").rpartition("&")[2].partition("=")[0]
    ]


@pytest.mark.django_db(databases="__all__")
def test_no_list_takes_a_query_that_it_does_not_know(staff, mug):
    order = harness.order()
    lists = (
        harness.ORDERS,
        harness.PRODUCTS,
        harness.path(order, "timeline/"),
        "/api/v1/payments/",
        "/api/v1/stock/",
    )
    for path in lists:
        assert staff.get(path).status_code == 200
        assert harness.fields(staff.get(f"{path}?page=2")) == {"page": "unknown"}


@pytest.mark.parametrize(("ordering", "step"), [("created_at", 1), ("-created_at", -1)])
def test_orders_come_in_the_order_that_is_asked_for_page_by_page_and_back(ada, ordering, step):
    made = [str(harness.order().id) for _ in range(5)][::step]
    first = ada.get(f"{harness.ORDERS}?limit=2&ordering={ordering}")
    second = ada.get(first.json()["next"])
    assert ids(first) + ids(second) == made[:4]
    assert ids(ada.get(second.json()["previous"])) == made[:2]


def test_the_timeline_comes_oldest_first_in_the_order_of_the_saga(ada):
    order = harness.order()
    for seq, kind in ((2, "stock.reserved"), (0, "order.created"), (1, "payment.processed")):
        TimelineEvent.objects.create(
            id=uuid7(),
            saga=order.id,
            seq=seq,
            type=kind,
            service=kind.split(".")[0],
            step="",
            at=order.created_at,
            detail={"seq": seq},
        )
    shop_event = {
        "service": "order",
        "at": ada.get(harness.path(order)).json()["created_at"],
        "step": "",
        "attempt": 1,
    }

    answer = ada.get(harness.path(order, "timeline/"))

    assert [event["type"] for event in answer.json()["results"]] == [
        "order.created",
        "payment.processed",
        "stock.reserved",
    ]
    assert (
        answer.json()["results"][0] == {"type": "order.created", "detail": {"seq": 0}} | shop_event
    )


def test_a_long_timeline_comes_in_pages_without_a_gap(ada):
    order = harness.order()
    TimelineEvent.objects.bulk_create(
        TimelineEvent(
            id=uuid7(),
            saga=order.id,
            seq=n // 4,
            type=f"e.{n}",
            service="s",
            at=order.created_at,
            detail={},
        )
        for n in range(23)
    )
    page, found = ada.get(harness.path(order, "timeline/?limit=5")).json(), []
    while True:
        found += [event["type"] for event in page["results"]]
        if page["next"] is None:
            break
        page = ada.get(page["next"]).json()
    assert found == [f"e.{n}" for n in range(23)]
