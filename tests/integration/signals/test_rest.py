"""Staff answer a wait over REST: once, with data and a reason, and as the policy permits."""

from datetime import timedelta

import pytest

from sagas.ids import uuid7
from staff.models import LogEntry
from tests.integration.roles.roles import api_client
from tests.integration.sagas.waits import REVIEW, begin, to_review, wait_for
from tests.trips.harness import row
from tests.trips.models import Inbox

pytestmark = [
    pytest.mark.django_db(databases="__all__", transaction=True),
    pytest.mark.urls("tests.integration.signals.urls"),
]

BODY = {"type": "trip.reviewed", "data": {"score": 7}, "reason": "I know her."}


@pytest.fixture(autouse=True)
def no_flush(monkeypatch):
    monkeypatch.setattr("sagas.waits.request_flush", lambda service: None)
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)


@pytest.fixture
def client():
    return api_client("operator")


def post(client, trip, body=None, step=REVIEW):
    return client.post(f"/api/v1/trips/{trip}/signals/{step}/", body or BODY, "application/json")


def test_the_first_answer_counts_and_the_second_shows_it(client):
    [trip] = to_review()
    first = post(client, trip)
    second = post(client, trip, {**BODY, "data": {"score": 1}})
    assert (first.status_code, first.json()["result"]) == (202, "accepted")
    assert (second.status_code, second.json()["result"]) == (200, "repeated")
    assert second.json()["answer"]["data"] == {"score": 7, "note": ""}
    kept = row(trip, REVIEW).signal
    assert (kept["by"], kept["why"]) == ("operator", "I know her.")
    entries = LogEntry.objects.filter(action="signal", what="done").order_by("id")
    assert [(entry.order_id, entry.step, entry.why) for entry in entries] == [
        (trip, REVIEW, "I know her.")
    ] * 2


def test_an_answer_may_come_before_the_saga_waits(client):
    [trip] = begin()
    assert post(client, trip).status_code == 202


def test_an_answer_after_the_expiry_is_409_and_in_the_log(client):
    [trip] = to_review()
    wait_for(timedelta(days=3))
    answer = post(client, trip)
    assert (answer.status_code, answer.json()["type"]) == (409, "/errors/action-rejected")
    assert row(trip, REVIEW).signal is None
    assert LogEntry.objects.filter(action="signal", what="failed", order_id=trip).exists()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"data": {"score": "much"}}, "data.score"),
        ({"data": {}}, "data.score"),
        ({"data": {"score": 1, "colour": "red"}}, "data.colour"),
        ({"type": "trip.booked"}, "type"),
        ({"reason": ""}, "reason"),
        ({"reason": " "}, "reason"),
        ({"by": "someone"}, "by"),
        ({"data": [1]}, "data"),
        ({"data": {"score": 1, "note": "x" * 70_000}}, "data"),
    ],
)
def test_a_wrong_answer_is_400_names_the_field_and_changes_nothing(client, changes, field):
    [trip] = to_review()
    answer = post(client, trip, {**BODY, **changes})
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert row(trip, REVIEW).signal is None


@pytest.mark.parametrize(("step", "known"), [("trips.book", True), ("x", True), (REVIEW, False)])
def test_an_unknown_saga_or_wait_is_404(client, step, known):
    [trip] = begin()
    assert post(client, trip if known else uuid7(), step=step).status_code == 404
    assert not Inbox.objects.exists()


@pytest.mark.parametrize(
    ("role", "status"),
    [("anonymous", 401), ("ada", 403), ("viewer", 403), ("approver", 403), ("auditor", 403)],
)
def test_others_may_not_answer(role, status):
    [trip] = to_review()
    assert post(api_client(role), trip).status_code == status
    assert row(trip, REVIEW).signal is None
