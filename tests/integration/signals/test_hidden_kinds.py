"""Staff act over REST only on sagas whose kind they may view; others are as unknown ones."""

import json

import pytest
from django.test import Client

from api.auth.tokens import issue_token
from backoffice.staff_cancel import cancel_as_staff
from returns.models import Return
from sagas.ids import uuid7
from staff.models import LogEntry
from staff.policy import NotPermitted
from tests.integration.console.operators import stuck
from tests.integration.orders import harness
from tests.integration.returns.factories import fulfilled_order, staff
from tests.integration.sagas.waits import REVIEW, to_review
from tests.trips.harness import row

pytestmark = [
    pytest.mark.django_db(databases="__all__", transaction=True),
    pytest.mark.urls("tests.integration.signals.urls"),
]

ANSWER = {"type": "trip.reviewed", "data": {"score": 7}, "reason": "I know her."}
GOODWILL = {"amount": 100, "reason": "It came late."}


@pytest.fixture(autouse=True)
def no_flush(monkeypatch):
    monkeypatch.setattr("sagas.waits.request_flush", lambda service: None)
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)


def client_of(*permissions):
    """Return the API's client of a member of staff with these permissions."""
    token = issue_token(staff(f"sid{LogEntry.objects.count()}{len(permissions)}", *permissions))
    return Client(headers={"Authorization": f"Bearer {token}"}, raise_request_exception=False)


def post(client, path, body):
    return client.post(
        path, json.dumps(body), "application/json", headers={"Idempotency-Key": str(uuid7())}
    )


@pytest.mark.parametrize("path", ["sagas", "trips"])
@pytest.mark.parametrize("permissions", [("console.add_run",), ("returns.approve_return",), ()])
def test_a_hidden_saga_is_answered_as_one_that_does_not_exist(path, permissions):
    [trip] = to_review()
    sid = client_of("orders.view_order", *permissions)
    hidden, unknown = (
        post(sid, f"/api/v1/{path}/{saga}/signals/{REVIEW}/", ANSWER) for saga in (trip, uuid7())
    )
    assert hidden.status_code == unknown.status_code
    assert hidden.status_code == (404 if "console.add_run" in permissions else 403)
    assert hidden.json()["type"] == unknown.json()["type"]
    if hidden.status_code == 403:
        assert hidden.json()["detail"] == unknown.json()["detail"]
    assert row(trip, REVIEW).signal is None


def test_a_saga_whose_kind_is_viewed_is_answered():
    [trip] = to_review()
    sid = client_of("trips.view_trip", "console.add_run")
    assert post(sid, f"/api/v1/sagas/{trip}/signals/{REVIEW}/", ANSWER).status_code == 202


@pytest.mark.parametrize(
    ("permissions", "missing"),
    [
        (("orders.view_order",), "returns.view_return"),
        (("returns.view_return",), "orders.view_order"),
    ],
)
def test_goodwill_needs_the_view_of_orders_and_of_returns(permissions, missing):
    order = fulfilled_order("MUG")
    sid = client_of("returns.give_goodwill", *permissions)
    answers = [
        post(sid, f"/api/v1/orders/{saga}/goodwill/", body)
        for saga in (order.pk, uuid7())
        for body in (GOODWILL, {"amount": 2**52, "reason": "x"}, {})
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert {missing in answer.json()["detail"] for answer in answers} == {True}
    assert not Return.objects.exists()
    assert LogEntry.objects.filter(action="give_goodwill", what="refused").count() == len(answers)


def test_goodwill_is_given_with_all_three_permissions():
    order = fulfilled_order("MUG")
    sid = client_of("returns.give_goodwill", "returns.view_return", "orders.view_order")
    assert post(sid, f"/api/v1/orders/{order.pk}/goodwill/", GOODWILL).status_code == 201


def test_a_hidden_order_is_not_cancelled_for_the_shop():
    order = stuck()
    assert (
        post(
            client_of("console.add_run"), harness.path(order, "cancel/"), {"reason": "x"}
        ).status_code
        == 404
    )
    with pytest.raises(NotPermitted, match=r"orders\.view_order"):
        cancel_as_staff(order.pk, by=staff("eve", "console.add_run"), reason="x")
