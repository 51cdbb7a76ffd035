"""Goodwill is proposed on the page of an order: previewed, logged once, and approved by another."""

import re

import pytest

from returns.events import ReturnApproved
from returns.models import Return
from returns.saga import RETURN_GOODS
from sagas.ids import uuid7
from sagas.testing import story
from staff.models import LogEntry
from staff.policy import NotPermitted
from staff.signals import answer_wait
from tests.integration.orders import harness
from tests.integration.returns.factories import APPROVE, fulfilled_free_order, fulfilled_order

pytestmark = pytest.mark.django_db(databases="__all__")

FORM = {"amount": "5", "reason": "It came late."}


@pytest.fixture(autouse=True)
def _no_flush(flushed, monkeypatch):
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)
    monkeypatch.setattr("sagas.waits.request_flush", lambda service: None)


@pytest.fixture
def order():
    return fulfilled_order("MUG")


def page(order):
    return f"/admin/sagas/{order.pk}/propose/goodwill/"


def confirmed(operator, order, **fields):
    """Preview the form and confirm it; return the answer and the data that were sent."""
    shown = operator.post(page(order), FORM | fields).content.decode()
    [key] = re.findall(r'name="key" value="([^"]+)"', shown)
    data = FORM | fields | {"key": key, "confirm": "yes"}
    return operator.post(page(order), data), data


def test_goodwill_is_previewed_proposed_and_approved_by_another_person(operator, olga, anna, order):
    assert page(order) in operator.get(f"/admin/orders/order/{order.pk}/change/").content.decode()
    shown = operator.post(page(order), FORM).content.decode()
    assert "5.00 EUR of the 25.00 EUR that were charged go back to the customer" in shown
    assert "20.00 EUR are then left for returns and goodwill." in shown
    assert "Another person must approve it" in shown
    assert not Return.objects.exists()

    answer, _ = confirmed(operator, order)
    assert (answer.status_code, answer["Location"]) == (
        302,
        f"/admin/orders/order/{order.pk}/change/",
    )
    row = Return.objects.get()
    assert (row.kind, row.amount, row.given_by, row.reason) == (
        "goodwill",
        500,
        "olga",
        "It came late.",
    )
    entries = LogEntry.objects.filter(action="give_goodwill", order_id=order.pk)
    assert entries.filter(who="olga", via="console", why="It came late.").exists()

    told = story(RETURN_GOODS, row).run()
    with pytest.raises(NotPermitted):
        answer_wait(olga, told.tracked, APPROVE, ReturnApproved(), why="Mine.", via="console")
    answer_wait(anna, told.tracked, APPROVE, ReturnApproved(), why="Late.", via="console")
    told.run().expect(ended="done")


def test_a_form_that_is_sent_twice_counts_once(operator, order):
    _, data = confirmed(operator, order)
    operator.post(page(order), data)
    assert Return.objects.count() == 1
    operator.post(page(order), data | {"amount": "6"})
    assert Return.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        *(
            ({"amount": amount}, "Give an amount above 0")
            for amount in (
                "",
                "0",
                "-1",
                "x",
                "1.005",
                "NaN",
                "1e99999",
                "1e-9999999",
                "1_0",
                "9" * 30,
            )
        ),
        ({"amount": "25.01"}, "The order has only 25.00 EUR left for returns and goodwill."),
        ({"reason": " "}, "Give a reason."),
        ({"reason": "x" * 501}, "at most 500 characters"),
        ({"reason": "a\0b"}, "no NUL"),
    ],
)
def test_a_wrong_form_is_refused_in_words(operator, order, fields, text):
    for more in ({}, {"confirm": "yes", "key": str(uuid7())}):
        answer = operator.post(page(order), FORM | fields | more)
        assert answer.status_code == 200
        assert text in answer.content.decode()
    assert not Return.objects.exists()


@pytest.mark.parametrize("key", ["", "x"])
def test_a_confirmation_without_the_key_of_a_preview_is_refused(operator, order, key):
    answer = operator.post(page(order), FORM | {"confirm": "yes", "key": key})
    assert "Look at the preview first" in answer.content.decode()
    assert not Return.objects.exists()


def test_an_order_that_is_not_fulfilled_offers_no_goodwill(operator, db):
    order = harness.order()
    shown = operator.get(f"/admin/orders/order/{order.pk}/change/").content.decode()
    assert page(order) not in shown
    assert "The order is not fulfilled." in operator.post(page(order), FORM).content.decode()


def test_a_free_order_offers_no_goodwill_because_no_money_can_go_back(operator, db):
    free = fulfilled_free_order()
    shown = operator.get(f"/admin/orders/order/{free.pk}/change/").content.decode()
    assert page(free) not in shown
    answer = operator.post(page(free), FORM).content.decode()
    assert "The order has only 0.00 EUR left for returns and goodwill." in answer
    assert not Return.objects.exists()


def test_a_user_without_the_permission_gets_no_form_and_the_refusal_is_logged(viewer, order):
    assert page(order) not in viewer.get(f"/admin/orders/order/{order.pk}/change/").content.decode()
    assert viewer.post(page(order), FORM).status_code == 403
    assert LogEntry.objects.filter(action="give_goodwill", what="refused").exists()
    assert viewer.get(f"/admin/sagas/{order.pk}/propose/more/").status_code == 404
    assert viewer.get(f"/admin/sagas/{uuid7()}/propose/goodwill/").status_code == 404
