"""Returns over REST: requested once, followed, cancelled, and refused with the reason."""

import json
from typing import Any

import pytest

from api.responses.long_poller import slots_taken
from orders.models import Order
from returns.models import Inbox, Return, ReturnedOrder
from returns.saga import RETURN_GOODS
from sagas.ids import uuid7
from sagas.testing import story
from staff.models import LogEntry
from tests.integration.audit.harness import open_shop, place
from tests.integration.orders import harness
from tests.integration.races import at_once, started
from tests.integration.returns.factories import fulfilled_free_order, fulfilled_order
from tests.integration.roles.roles import api_client
from tests.processes import until

pytestmark = pytest.mark.django_db(databases="__all__")

RETURNS = "/api/v1/returns/"
ONE_MUG = {"lines": [{"sku": "MUG", "quantity": 1}], "reason": "It does not fit."}
RECEIVED = {
    "type": "return.goods_received",
    "data": {"lines": [{"sku": "MUG", "restock": 1}]},
    "reason": "The parcel is here.",
}


@pytest.fixture(autouse=True)
def no_flush(monkeypatch, settings):
    settings.WAITING_PLACES = 5
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)
    monkeypatch.setattr("sagas.waits.request_flush", lambda service: None)
    yield
    assert slots_taken() == 0


@pytest.fixture
def order():
    return fulfilled_order("MUG")


@pytest.fixture
def ada():
    return api_client("ada")


def ask(client, order, body=None, *, key="k", what="returns"):
    """Request a return, or goodwill."""
    sent = ONE_MUG if body is None else body
    data = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
    return client.post(
        harness.path(order, f"{what}/"),
        data,
        "application/json",
        headers={"Idempotency-Key": key} if key else {},
    )


def signal(client, saga, step, body=None):
    return client.post(f"/api/v1/sagas/{saga}/signals/{step}/", body or RECEIVED, harness.JSON)


def tale(answer):
    return story(RETURN_GOODS, Return.objects.get(id=answer.json()["id"]))


def test_a_return_is_requested_followed_and_refunded(ada, order):
    asked = ask(ada, order)
    assert (asked.status_code, asked["Location"]) == (201, f"{RETURNS}{asked.json()['id']}/")
    shown = asked.json()
    assert (shown["order_id"], shown["kind"], shown["status"]) == (
        str(order.id),
        "goods",
        "requested",
    )
    assert shown["lines"] == [
        {"sku": "MUG", "quantity": 1, "unit_amount": 1250, "received": None, "resellable": None}
    ]
    unchanged = ada.get(asked["Location"], headers={"If-None-Match": asked["ETag"]})
    assert unchanged.status_code == 304

    told = tale(asked).run()
    assert ada.get(asked["Location"]).json()["status"] == "awaiting_goods"
    answer = signal(api_client("operator"), shown["id"], "returns.receive")
    assert (answer.status_code, answer.json()["result"]) == (202, "accepted")
    told.run().expect(ended="done")

    done = ada.get(asked["Location"]).json()
    assert (done["status"], done["amount"], done["lines"][0]["resellable"]) == (
        "completed",
        1250,
        1,
    )
    timeline = ada.get(f"{asked['Location']}timeline/").json()["results"]
    assert [timeline[0]["type"], timeline[-1]["type"]] == ["return.requested", "return.completed"]
    ended = ada.post(f"{asked['Location']}cancel/")
    assert (ended.status_code, ended.json()["type"]) == (409, "/errors/not-cancellable")


def test_a_key_requests_one_return(ada, order):
    first, again = ask(ada, order), ask(ada, order)
    assert first.content == again.content
    assert again["Idempotency-Replayed"] == "true"
    other = ask(ada, order, {**ONE_MUG, "reason": "It is red."})
    assert other.status_code == 422
    assert other.json()["detail"] == "This key was already used for a different return."
    assert ask(ada, order, key="").status_code == 400
    assert Return.objects.count() == 1


def test_an_order_has_returns_until_nothing_is_left(ada, order):
    assert [ask(ada, order, key=key).status_code for key in "abc"] == [201, 201, 409]
    too_many = ask(ada, order, key="d")
    assert (too_many.json()["type"], too_many.json()["left"]) == ("/errors/return-too-large", 0)

    returned = Return.objects.earliest("id")
    cancelled = ada.post(f"{RETURNS}{returned.id}/cancel/")
    assert (cancelled.status_code, cancelled.json()["status"]) == (202, "closing")
    story(RETURN_GOODS, returned).run().expect(ended="cancelled")
    assert ada.post(f"{RETURNS}{returned.id}/cancel/").status_code == 200
    assert ask(ada, order, key="d").status_code == 201
    assert len(ada.get(f"{RETURNS}?order_id={order.id}").json()["results"]) == 3
    assert len(ada.get(f"{RETURNS}?status=cancelled&kind=goods").json()["results"]) == 1


MANY = [{"sku": f"S{number}", "quantity": 1} for number in range(101)]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"lines": []}, "lines"),
        ({"lines": MANY}, "lines"),
        ({"lines": "MUG"}, "lines"),
        ({"lines": [{"sku": "VASE", "quantity": 1}]}, "lines[0].sku"),
        ({"lines": [{"sku": "MUG", "quantity": 1}] * 2}, "lines[1].sku"),
        ({"lines": [{"sku": "MUG", "quantity": 0}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "MUG", "quantity": -1}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "MUG", "quantity": True}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "MUG", "quantity": "1"}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "MUG", "quantity": 2**63}]}, "lines[0].quantity"),
        ({"lines": [{"sku": "MUG"}]}, "lines[0].quantity"),
        ({"lines": [{"sku": 7, "quantity": 1}]}, "lines[0].sku"),
        ({"lines": [{"sku": "MUG", "quantity": 1, "price": 1}]}, "lines[0].price"),
        ({"reason": ""}, "reason"),
        ({"reason": " "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "a\0b"}, ""),
        ({"kind": "goodwill"}, "kind"),
    ],
)
def test_a_wrong_request_names_the_field_and_changes_nothing(ada, order, changes, field):
    refused = ask(ada, order, {**ONE_MUG, **changes})
    assert refused.status_code == 400, refused.content
    assert list(harness.fields(refused)) == [field]
    assert not ReturnedOrder.objects.exists()
    assert ask(ada, order).status_code == 201  # the key is as free as before


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"lines": 1e999, "reason": "x"}'])
def test_a_body_that_is_no_return_is_400(ada, order, body):
    assert ask(ada, order, body).status_code == 400
    assert not Return.objects.exists()


def test_more_pieces_than_ordered_are_409(ada, order):
    refused = ask(ada, order, {**ONE_MUG, "lines": [{"sku": "MUG", "quantity": 3}]})
    assert (refused.status_code, refused.json()["left"]) == (409, 2)
    assert not Return.objects.exists()


def test_an_order_of_another_or_of_nobody_is_404_and_an_open_one_409(ada, order):
    for client in (api_client("bob"), api_client("superuser")):
        assert ask(client, order).status_code == 404
    assert ask(ada, uuid7()).status_code == 404
    open_shop()
    pending = Order.objects.get(id=place("MUG"))
    for what, body in (("returns", ONE_MUG), ("goodwill", {"amount": 1, "reason": "x"})):
        client = api_client("superuser") if what == "goodwill" else ada
        refused = ask(client, pending, body, what=what)
        assert (refused.status_code, refused.json()["type"]) == (409, "/errors/not-returnable")
    assert not Return.objects.exists()


def test_goodwill_is_proposed_once_and_approved_by_another_person(ada, order):
    operator, approver = api_client("operator"), api_client("approver")
    body = {"amount": 300, "reason": "Eve knows him."}
    proposed, again = (ask(operator, order, body, what="goodwill") for _ in range(2))
    assert (proposed.status_code, again["Idempotency-Replayed"]) == (201, "true")
    assert (proposed.json()["kind"], proposed.json()["reason"]) == ("goodwill", "Eve knows him.")
    told = tale(proposed).run()
    shown = ada.get(proposed["Location"]).json()
    assert (shown["status"], shown["reason"], shown["lines"]) == ("awaiting_approval", None, [])

    approval = {"type": "return.approved", "reason": "So be it."}
    saga = proposed.json()["id"]
    assert signal(operator, saga, "returns.approve", approval).status_code == 403
    assert signal(approver, saga, "returns.approve", approval).status_code == 202
    told.run().expect(ended="done")
    assert ada.get(proposed["Location"]).json()["status"] == "completed"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"amount": 0, "reason": "x"}, 400),
        ({"amount": -1, "reason": "x"}, 400),
        ({"amount": 2**53, "reason": "x"}, 400),
        ({"amount": 10**30, "reason": "x"}, 400),
        ({"amount": 1.5, "reason": "x"}, 400),
        ({"amount": "1", "reason": "x"}, 400),
        ({"amount": 1, "reason": " "}, 400),
        ({"amount": 1, "reason": "a\0b"}, 400),
        ({"amount": 1}, 400),
        ({"amount": 2501, "reason": "x"}, 409),
        ({"amount": 2**53 - 1, "reason": "x"}, 409),
    ],
)
def test_wrong_goodwill_is_refused_and_changes_nothing(order, body, status):
    assert ask(api_client("operator"), order, body, what="goodwill").status_code == status
    assert not Return.objects.exists()
    attempts = LogEntry.objects.filter(action="give_goodwill").values_list("what", "who", "why")
    assert list(attempts) == ([("failed", "operator", "x")] if status == 409 else [])


@pytest.mark.parametrize(
    ("step", "body", "status"),
    [
        ("returns.receive", {"data": {"lines": [{"sku": "VASE", "restock": 1}]}}, 400),
        ("returns.receive", {"data": {"lines": [{"sku": "MUG", "restock": 2}]}}, 400),
        ("returns.receive", {"data": {"lines": [{"sku": "MUG", "restock": -1}]}}, 400),
        ("returns.receive", {"data": {"lines": [{"sku": "MUG", "restock": 10**25}]}}, 400),
        ("returns.receive", {"data": {"lines": [{"sku": "MUG", "restock": True}]}}, 400),
        ("returns.receive", {"type": "return.approved"}, 400),
        ("returns.approve", {}, 404),
        ("returns.complete", {}, 404),
        ("nothing", {}, 404),
    ],
)
def test_a_wrong_answer_to_a_wait_changes_nothing(ada, order, step, body, status):
    asked = ask(ada, order)
    told = tale(asked).run()
    refused = signal(api_client("superuser"), told.saga, step, {**RECEIVED, **body})
    assert refused.status_code == status, refused.content
    assert Inbox.objects.get(saga=told.saga, step="returns.receive").signal is None
    assert signal(api_client("superuser"), uuid7(), "returns.receive").status_code == 404


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_of_many_requests_with_a_key_one_counts_and_a_reader_waits_for_the_end():
    order = fulfilled_order("MUG")
    answers = at_once([lambda: ask(api_client("ada"), order)] * 4)
    assert {answer.status_code for answer in answers} <= {201, 409}
    returned = Return.objects.get()

    ada, path = api_client("ada"), f"{RETURNS}{returned.id}/"
    waiting = started(lambda: ada.get(path, headers={"Prefer": "wait=30"}))
    until(lambda: slots_taken() == 1, "the request waits")
    assert ada.post(f"{path}cancel/").status_code == 202
    story(RETURN_GOODS, returned).run().expect(ended="cancelled")
    answer = waiting.result(timeout=20)
    assert (answer.json()["status"], answer["Preference-Applied"]) == ("cancelled", "wait=30")
    streamed: Any = ada.get(f"{path}timeline/", headers={"Accept": "text/event-stream"})
    assert b"event: return.closed" in b"".join(streamed.streaming_content)


def test_a_free_order_is_returned_and_shows_its_amount_as_0(ada):
    order = fulfilled_free_order()
    body = {"lines": [{"sku": "GIFT", "quantity": 1}], "reason": "I have one."}
    answer = ask(ada, order, body)
    assert (answer.status_code, answer.json()["amount"]) == (201, 0)
    assert answer.json()["currency"] == "eur"
    assert answer.json()["lines"][0]["unit_amount"] == 0

    left = ask(ada, order, body | {"lines": [{"sku": "GIFT", "quantity": 2}]}, key="other")
    assert (left.status_code, left.json()["type"]) == (409, "/errors/return-too-large")
    assert left.json()["left"] == 1


def test_goodwill_for_a_free_order_is_refused_with_the_reason():
    order = fulfilled_free_order()
    answer = ask(
        api_client("operator"),
        order,
        {"amount": 1, "reason": "Late."},
        what="goodwill",
    )
    assert (answer.status_code, answer.json()["type"]) == (409, "/errors/return-too-large")
    assert answer.json()["detail"] == "The order was free, so there is no money to give back."
    assert answer.json()["left"] == 0
    assert not Return.objects.exists()
