"""An operator answers a wait: the page shows the answers and their effect, and takes a reason."""

from datetime import timedelta

import pytest
from django.contrib import admin
from django.urls import reverse

from sagas import waits
from sagas.admin.messages import InboxAdmin
from staff.models import LogEntry
from tests.integration.console.conftest import client_of
from tests.integration.console.operators import confirmed, outcomes, work
from tests.integration.sagas.waits import REVIEW, begin, to_review, wait_for
from tests.trips.harness import row
from tests.trips.models import Inbox, Trip

pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)

FORM = {"type": "trip.reviewed", "data": '{"score": 7}', "reason": "I know her."}


@pytest.fixture(autouse=True)
def no_flush(monkeypatch):
    monkeypatch.setattr("sagas.waits.request_flush", lambda service: None)
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)


def page(trip, step=REVIEW):
    return reverse("console:saga_signal", args=[trip, step])


def test_the_page_of_a_waiting_saga_leads_to_the_answers_and_their_effects(admin_client):
    [trip] = to_review()
    saga = admin_client.get(reverse("admin:trips_trip_change", args=[trip])).content.decode()
    assert page(trip) in saga
    shown = admin_client.get(page(trip)).content.decode()
    assert "The saga goes on with trips.confirm." in shown
    assert "The saga is undone, from trips.unbook on." in shown
    assert "score (int), note (str, optional)" in shown


def test_an_answer_counts_with_its_reason_and_is_in_the_log(admin_client):
    [trip] = to_review()
    answer = admin_client.post(page(trip), FORM, follow=True)
    assert "trips.review is answered with trip.reviewed." in answer.content.decode()
    kept = row(trip, REVIEW).signal
    assert (kept["data"], kept["by"], kept["why"]) == (
        {"score": 7, "note": ""},
        "admin",
        "I know her.",
    )
    entry = LogEntry.objects.get(action="signal", what="done")
    assert (entry.order_id, entry.step, entry.why, entry.via) == (
        trip,
        REVIEW,
        "I know her.",
        "console",
    )
    assert page(trip) not in answer.content.decode()


def test_a_second_answer_changes_nothing_and_says_so(admin_client):
    [trip] = to_review()
    admin_client.post(page(trip), FORM)
    refusal = {"type": "trip.rejected", "data": '{"code": "no", "detail": "No."}', "reason": "x"}
    answer = admin_client.post(page(trip), refusal, follow=True)
    assert "had an answer already" in answer.content.decode()
    found = waits.find_signal(REVIEW, trip)
    assert found is not None
    assert found.type == "trip.reviewed"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reason": " "}, "Give a reason"),
        ({"data": "{"}, "are no JSON"),
        ({"data": "[]"}, "no JSON object"),
        ({"data": '{"score": "much"}'}, "Expected `int`, got `str`"),
        ({"data": '{"score": 1, "colour": 2}'}, "has no field colour"),
        ({"type": "trip.booked"}, "takes no"),
        ({"reason": "x\0"}, "no NUL"),
        ({"data": '{"score": 1, "note": "\\u0000"}'}, "contains a NUL"),
        ({"data": '{"score": 1, "score": 2}'}, "a key is repeated"),
        ({"data": '{"score": ' + "[" * 5_000 + "}"}, "nested more than"),
        ({"data": '{"score": 1e400}'}, "too large"),
    ],
)
def test_a_wrong_form_is_shown_again_and_changes_nothing(admin_client, changes, says):
    [trip] = to_review()
    answer = admin_client.post(page(trip), {**FORM, **changes})
    assert [says in str(message) for message in answer.context["messages"]] == [True]
    assert row(trip, REVIEW).signal is None


def test_an_early_answer_is_shown_as_such_and_a_retry_says_what_it_finds(admin_client, olga):
    [trip] = begin()
    admin_client.post(page(trip), FORM)
    text = admin_client.get(reverse("admin:trips_trip_change", args=[trip])).content.decode()
    assert "answered early" in text
    assert "parked" not in text
    assert "trips.review: waiting" not in text
    assert InboxAdmin(Inbox, admin.site).outcome(row(trip, REVIEW)) == "answered early"
    run = confirmed("retry", Trip.objects.get(pk=trip), by=olga)
    work()
    assert outcomes(run) == [("nothing", "No step is waiting for its next attempt.")]


def test_an_answer_after_the_expiry_is_rejected(admin_client):
    [trip] = to_review()
    wait_for(timedelta(days=3))
    answer = admin_client.post(page(trip), FORM)
    assert ["takes no signal" in str(each) for each in answer.context["messages"]] == [True]
    assert page(trip) not in (
        admin_client.get(reverse("admin:trips_trip_change", args=[trip])).content.decode()
    )


@pytest.mark.parametrize("step", ["trips.book", "x"])
def test_a_step_that_is_no_wait_is_404(admin_client, step):
    [trip] = to_review()
    assert admin_client.get(page(trip, step)).status_code == 404


def test_a_viewer_may_not_answer_and_the_attempt_is_in_the_log():
    [trip] = to_review()
    client = client_of("vera", "view_trip", content_type__app_label="trips")
    assert client.post(page(trip), FORM).status_code == 403
    assert row(trip, REVIEW).signal is None
    assert LogEntry.objects.filter(action="signal", what="refused", order_id=trip).exists()
