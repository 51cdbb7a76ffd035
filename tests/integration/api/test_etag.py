"""Conditional requests: an unchanged order gets 304, and any change gives another ETag."""

import pytest

from orders.models import Order
from orders.status import Status
from tests.integration.orders import harness


@pytest.fixture
def ada(db):
    return harness.client_of("ada")


@pytest.fixture
def order(ada):
    return harness.order()


def get(client, order, **headers):
    return client.get(
        harness.path(order),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )


def test_an_order_has_a_strong_tag_and_no_shared_cache_may_keep_it(ada, order):
    answer = get(ada, order)
    assert answer["ETag"].startswith('"')
    assert answer["Cache-Control"] == "private, no-cache"
    assert get(ada, order)["ETag"] == answer["ETag"]


@pytest.mark.parametrize("form", ["{tag}", "W/{tag}", '"other", {tag}', "*"])
def test_who_has_it_gets_no_body(ada, order, form):
    whole = get(ada, order)
    tag = whole["ETag"]
    answer = get(ada, order, If_None_Match=form.format(tag=tag))
    assert answer["Content-Length"] == whole["Content-Length"]
    assert (answer.status_code, answer.content) == (304, b"")
    assert (answer["ETag"], answer["Cache-Control"]) == (tag, "private, no-cache")


@pytest.mark.parametrize("form", ['"other"', "{bare}", "", '"', "W/"])
def test_who_has_something_else_gets_all_of_it(ada, order, form):
    tag = get(ada, order)["ETag"]
    assert get(ada, order, If_None_Match=form.format(bare=tag.strip('"'))).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"status": Status.PAID},
        {"needs_attention": True},
        {"updated_at": "2031-01-01T00:00:00Z"},
        {"failure_code": "out_of_stock"},
        {"failure_code": "out_of_stock", "failure_detail": "Another word."},
    ],
)
def test_every_change_is_another_tag(ada, order, change):
    before = get(ada, order)
    Order.objects.filter(id=order.id).update(**change)
    after = get(ada, order, If_None_Match=before["ETag"])
    assert after.status_code == 200
    assert after["ETag"] != before["ETag"]


def test_a_condition_that_does_not_hold_is_a_problem(ada, order):
    answer = get(ada, order, If_Match='"other"')
    assert answer.status_code == 412
    assert answer["Content-Type"] == "application/problem+json"
    assert get(ada, order, If_Match=get(ada, order)["ETag"]).status_code == 200


def test_head_tells_the_tag_and_is_conditional(ada, order):
    tag = get(ada, order)["ETag"]
    assert ada.head(harness.path(order))["ETag"] == tag
    assert ada.head(harness.path(order), headers={"If-None-Match": tag}).status_code == 304


def test_placing_and_cancelling_tell_the_tag_of_what_they_show(ada):
    harness.stocked("MUG")
    placed = harness.place(ada)
    assert get(ada, placed.json()["id"], If_None_Match=placed["ETag"]).status_code == 304
    cancelled = ada.post(harness.path(placed.json()["id"], "cancel/"))
    assert cancelled["Content-Location"] == harness.path(placed.json()["id"])
    assert get(ada, placed.json()["id"], If_None_Match=cancelled["ETag"]).status_code == 304


def test_anothers_order_is_not_found_whatever_is_said_of_it(order, db):
    assert get(harness.client_of("bob"), order, If_None_Match="*").status_code == 404


def test_a_token_is_kept_nowhere(client, db, django_user_model):
    django_user_model.objects.create_user("eve", password="secret-of-eve")
    body = {"username": "eve", "password": "secret-of-eve"}
    answer = client.post("/api/v1/auth/token/", body, content_type="application/json")
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
