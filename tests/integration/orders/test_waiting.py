"""Prefer: wait: the answer comes once the order is decided, or when the time is up."""

from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection, connections
from django.db.models.functions import Now

from api.responses.long_poller import slots_taken
from orders.models import Order
from orders.status import Status
from tests.integration.orders import harness
from tests.integration.orders.waiting_requests import until_polled
from tests.integration.races import started
from tests.plugin import running
from tests.processes import until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def places(settings):
    settings.WAITING_PLACES = 5
    yield
    assert slots_taken() == 0


@pytest.fixture(autouse=True)
def offered(mug):
    """Add a product with stock."""


def preferring(client, preference):
    """Return the client with a Prefer header."""
    client.defaults["HTTP_PREFER"] = preference
    return client


def fulfil(order_id):
    Order.objects.filter(id=order_id).update(status=Status.FULFILLED, updated_at=Now())


def waiting():
    until(lambda: slots_taken() == 1, "somebody waits")


def test_reading_waits_until_the_order_is_decided(ada):
    order = harness.order(of="ada")
    answer = started(lambda: preferring(ada, "wait=30").get(harness.path(order)))
    waiting()
    Order.objects.filter(id=order.id).update(status=Status.PAID)
    assert not answer.done()
    fulfil(order.id)
    answer = answer.result(timeout=20)
    assert (answer.json()["status"], answer["Preference-Applied"]) == ("fulfilled", "wait=30")


def test_when_the_time_is_up_the_order_is_answered_as_it_stands(ada):
    order = harness.order(Status.PAID)
    answer = preferring(ada, "wait=1").get(harness.path(order))
    assert (answer.json()["status"], answer["Preference-Applied"]) == ("paid", "wait=1")


@pytest.mark.parametrize("status", [Status.FULFILLED, Status.CANCELLED])
def test_what_is_decided_needs_no_place(ada, settings, status):
    settings.WAITING_PLACES = 0
    answer = preferring(ada, "wait=30").get(harness.path(harness.order(status)))
    assert (answer.json()["status"], answer["Preference-Applied"]) == (status, "wait=30")


def test_in_a_full_room_the_preference_is_not_applied(ada, settings):
    settings.WAITING_PLACES = 0
    order = harness.order()
    for answer in (preferring(ada, "wait=30").get(harness.path(order)), harness.place(ada)):
        assert answer.json()["status"] == "pending"
        assert "Preference-Applied" not in answer


def test_a_user_who_waits_too_often_is_answered_at_once(ada, bob, settings):
    settings.WAITING_PLACES_PER_USER = 1
    order, other = harness.order(of="ada"), harness.order(of="bob")
    first = started(lambda: preferring(ada, "wait=30").get(harness.path(order)))
    waiting()
    again = preferring(harness.client_of("ada"), "wait=30").get(harness.path(order))
    assert (again.status_code, "Preference-Applied" in again) == (200, False)
    second = started(lambda: preferring(bob, "wait=30").get(harness.path(other)))
    until(lambda: slots_taken() == 2, "another user waits")
    fulfil(order.id), fulfil(other.id)
    answers = [one.result(timeout=20) for one in (first, second)]
    assert [answer["Preference-Applied"] for answer in answers] == ["wait=30"] * 2


def test_a_malformed_preference_is_no_preference(ada):
    answer = preferring(ada, "wait=soon").get(harness.path(harness.order()))
    assert answer.status_code == 200
    assert "Preference-Applied" not in answer


def test_after_the_wait_the_condition_is_looked_at(ada):
    order = harness.order()
    tag = ada.get(harness.path(order))["ETag"]
    ada.defaults["HTTP_IF_NONE_MATCH"] = tag
    same = preferring(ada, "wait=0").get(harness.path(order))
    assert (same.status_code, same["Preference-Applied"]) == (304, "wait=0")
    answer = started(lambda: preferring(ada, "wait=30").get(harness.path(order)))
    waiting()
    fulfil(order.id)
    assert answer.result(timeout=20).json()["status"] == "fulfilled"


def test_placing_commits_first_and_then_waits(ada):
    answer = started(lambda: harness.place(preferring(ada, "wait=30"), key="k"))
    waiting()
    order = Order.objects.get()
    fulfil(order.id)
    answer = answer.result(timeout=20)
    assert (answer.status_code, answer["Preference-Applied"]) == (201, "wait=30")
    assert answer.json()["status"] == "fulfilled"
    assert answer.content == harness.client_of("ada").get(harness.path(order)).content


def test_a_replay_is_the_stored_answer_and_with_a_preference_the_current_order(ada):
    first = harness.place(ada, key="k")
    fulfil(first.json()["id"])
    again = harness.place(ada, key="k")
    assert (again.status_code, again.content, again["ETag"]) == (201, first.content, first["ETag"])
    current = harness.place(preferring(ada, "wait=0"), key="k")
    assert (current.status_code, current["Idempotency-Replayed"]) == (201, "true")
    assert current.json()["status"] == "fulfilled"


def test_a_database_that_goes_away_meanwhile_takes_no_order_back(ada):
    answer = started(lambda: harness.place(preferring(ada, "wait=30"), key="k"))
    waiting()
    until_polled()  # the poller has its connection, which goes on
    order = Order.objects.get()
    with refused_connections():
        fulfil(order.id)
        answer = answer.result(timeout=20)
    assert (answer.status_code, answer.json()["status"]) == (201, "pending")
    assert "Preference-Applied" not in answer
    assert harness.place(harness.client_of("ada"), key="k").content == answer.content


def test_who_waits_is_found_again_by_a_room_that_lost_its_connection(ada):
    order = harness.order()
    answer = started(lambda: preferring(ada, "wait=30").get(harness.path(order)))
    waiting()
    end_others()
    fulfil(order.id)
    assert answer.result(timeout=20).json()["status"] == "fulfilled"


@contextmanager
def refused_connections():
    """Let PostgreSQL reject new connections to the orders database; open ones continue."""
    change = f'ALTER DATABASE "{connection.settings_dict["NAME"]}" WITH ALLOW_CONNECTIONS '
    with psycopg.connect(running().postgres.superuser_url, autocommit=True) as session:
        session.execute(change + "false")
        try:
            yield
        finally:
            session.execute(change + "true")


def end_others():
    with connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND usename = current_user"
        )
