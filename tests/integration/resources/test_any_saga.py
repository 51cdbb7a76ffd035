"""Two kinds of sagas of another app have the API of orders: keys, waits, streams and cancels."""

import json
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError

from api.resources import records
from api.responses.long_poller import slots_taken
from sagas import start
from sagas.testing import story
from staff.models import LogEntry
from tests.integration.races import at_once, started
from tests.integration.roles.roles import api_client
from tests.processes import until
from tests.trips.holidays import HOLIDAY
from tests.trips.models import Cruise, Outbox, Trip
from tests.trips.saga import CRUISE, TRIP
from tests.trips.steps import Began
from tests.trips_api.models import TripKey

pytestmark = [
    pytest.mark.django_db(databases="__all__", transaction=True),
    pytest.mark.urls("tests.trips_api.urls"),
]

KINDS: dict[str, Any] = {"trips": (TRIP, Trip), "cruises": (CRUISE, Cruise)}


@pytest.fixture(autouse=True)
def places(monkeypatch, settings):
    settings.WAITING_PLACES = 5
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)
    yield
    assert slots_taken() == 0


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def ada():
    return api_client("ada")


@pytest.fixture
def boss():
    """A superuser, who may read the sagas of all users."""
    return api_client("superuser")


def begin(client, kind, name="Ada", *, key="k", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(
        f"/api/v1/{kind}/",
        {"name": name},
        "application/json",
        headers={"Idempotency-Key": key} | headers,
    )


def tale(kind, answer):
    """Return the story of a saga that has begun over REST."""
    declaration, model = KINDS[kind]
    return story(declaration, model.objects.get(id=answer.json()["id"]))


def test_a_key_begins_one_saga_and_repeats_its_answer(ada, kind):
    first, again = begin(ada, kind), begin(ada, kind)
    assert first.status_code == again.status_code == 201
    assert first.content == again.content
    assert first["ETag"] == again["ETag"]
    assert [answer.get("Idempotency-Replayed") for answer in (first, again)] == [None, "true"]
    assert ada.get(first["Location"]).json() == first.json()
    assert KINDS[kind][1].objects.count() == TripKey.objects.count() == 1


def test_a_key_is_for_one_request_of_one_kind_and_one_user(ada, kind):
    begin(ada, kind)
    other = begin(ada, kind, "Grace")
    of_another_kind = begin(ada, "cruises" if kind == "trips" else "trips")
    for answer in (other, of_another_kind):
        assert (answer.status_code, answer.json()["type"]) == (
            422,
            "/errors/idempotency-key-reused",
        )
    assert begin(api_client("bob"), kind).status_code == 201
    assert begin(ada, kind, key="").status_code == 400


def test_of_many_requests_with_a_key_one_begins_a_saga(ada, kind):
    answers = at_once([lambda: begin(api_client("ada"), kind)] * 6)
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert KINDS[kind][1].objects.count() == 1
    assert Outbox.objects.filter(type="trip.began").count() == 1


def test_neither_the_saga_nor_its_answer_is_stored_without_the_other(ada, kind, monkeypatch):
    def fail(*_):
        raise IntegrityError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(records, "_store", fail)
        assert begin(ada, kind).status_code == 500
    assert not KINDS[kind][1].objects.exists()
    assert not Outbox.objects.exists()
    assert begin(ada, kind).status_code == 201


def test_a_request_waits_for_the_end_and_compares_its_etag_then(ada, kind):
    begun = begin(ada, kind, Prefer="wait=0")
    assert begun["Preference-Applied"] == "wait=0"
    path, tag = begun["Location"], begun["ETag"]
    assert ada.get(path, headers={"If-None-Match": tag}).status_code == 304
    waiting = started(lambda: ada.get(path, headers={"Prefer": "wait=30", "If-None-Match": tag}))
    until(lambda: slots_taken() == 1, "the request waits")
    tale(kind, begun).run().expect(ended="done")
    answer = waiting.result(timeout=20)
    assert (answer.status_code, answer["Preference-Applied"]) == (200, "wait=30")
    assert answer.json()["ended_at"]


def test_a_stream_has_each_event_and_goes_on_after_the_last_one_seen(ada, kind):
    begun = begin(ada, kind)
    path = f"{begun['Location']}timeline/"
    stream = ada.get(path, headers={"Accept": "text/event-stream"}).streaming_content
    reading = started(lambda: b"".join(stream).decode())
    until(lambda: slots_taken() == 1, "the stream is open")
    tale(kind, begun).run().expect(ended="done")

    events = [part for part in reading.result(timeout=20).split("\n\n") if part.startswith("id:")]
    listed = ada.get(path).json()["results"]
    assert [json.loads(event.split("data: ")[1]) for event in events] == listed
    assert listed[0]["type"] == "trip.began"
    last = events[-1].split("\n")[0].removeprefix("id: ")
    resumed = {"Accept": "text/event-stream", "Last-Event-ID": last}
    assert ada.get(path, headers=resumed).status_code == 204


def test_users_see_their_own_and_staff_with_the_permission_all(ada, kind):
    paths = [begin(ada, kind, key=key)["Location"] for key in "abc"]
    assert begin(api_client("bob"), kind).status_code == 201
    seen = {
        role: len(api_client(role).get(f"/api/v1/{kind}/").json()["results"])
        for role in ("ada", "bob", "staff", "operator", "superuser")
    }
    assert seen == {"ada": 3, "bob": 1, "staff": 0, "operator": 4, "superuser": 4}
    for path in (paths[0], f"{paths[0]}timeline/"):
        statuses = [api_client(role).get(path).status_code for role in ("ada", "bob", "superuser")]
        assert statuses == [200, 404, 200]
    assert api_client("bob").post(f"{paths[0]}cancel/").status_code == 404


def test_a_list_has_pages(ada, kind):
    paths = [begin(ada, kind, key=key)["Location"] for key in "abc"]
    first = ada.get(f"/api/v1/{kind}/?limit=2").json()
    rest = ada.get(first["next"]).json()
    found = [one["id"] for page in (first, rest) for one in page["results"]]
    assert [f"/api/v1/{kind}/{each}/" for each in reversed(found)] == paths
    assert ada.get(f"/api/v1/{kind}/?colour=red").status_code == 400


def test_a_trip_is_cancelled_by_its_owner_until_its_pivot(ada):
    begun = begin(ada, "trips")
    told = tale("trips", begun).run(until="trips.book")
    cancelled = ada.post(f"{begun['Location']}cancel/")
    assert (cancelled.status_code, cancelled["Content-Location"]) == (202, begun["Location"])
    assert ada.post(f"{begun['Location']}cancel/").status_code == 202
    told.run().expect(ended="cancelled")
    assert ada.post(f"{begun['Location']}cancel/").status_code == 200

    kept = begin(ada, "trips", key="2")
    tale("trips", kept).run().expect(ended="done")
    too_late = ada.post(f"{kept['Location']}cancel/")
    assert (too_late.status_code, too_late.json()["type"]) == (409, "/errors/not-cancellable")


def test_staff_cancel_a_trip_with_a_reason_that_the_log_keeps(ada):
    begun = begin(ada, "trips")
    root, path = api_client("superuser"), f"{begun['Location']}cancel/"
    assert root.post(path).status_code == 400
    reason = {"reason": "The bus is broken."}
    assert root.post(path, reason, "application/json").status_code == 202
    entry = LogEntry.objects.get(action="cancel")
    assert (entry.who, entry.why, entry.via) == ("superuser", "The bus is broken.", "api")
    tale("trips", begun).run().expect(ended="cancelled")


def test_a_kind_whose_domain_allows_no_cancel_has_none(ada):
    begun = begin(ada, "cruises")
    refused = ada.post(f"{begun['Location']}cancel/")
    assert (refused.status_code, refused.json()["type"]) == (409, "/errors/not-cancellable")
    tale("cruises", begun).run().expect(ended="done")


def test_a_saga_shows_its_parent_and_its_children(boss):
    holiday = start(HOLIDAY, Cruise(user_id=1), Began(name="Ada"))
    tour = story(HOLIDAY, holiday).run().child("trips.tour").tracked
    shown = boss.get(f"/api/v1/cruises/{holiday.pk}/").json()
    [child] = shown["child_sagas"]
    assert child == {
        "id": str(tour.pk),
        "step": "trips.tour",
        "saga": "trip",
        "ended_at": child["ended_at"],
        "needs_attention": False,
    }
    assert "parent_saga" not in shown
    shown = boss.get(f"/api/v1/trips/{tour.pk}/").json()
    assert shown["parent_saga"] == {"id": str(holiday.pk), "step": "trips.tour"}
    assert "child_sagas" not in shown
    [listed] = boss.get("/api/v1/cruises/").json()["results"]
    assert "child_sagas" not in listed


def test_children_that_cannot_be_read_are_null_and_not_none(boss, monkeypatch):
    def fail(*_, **__):
        raise OperationalError("the connection is lost")

    holiday = start(HOLIDAY, Cruise(user_id=1), Began(name="Ada"))
    monkeypatch.setattr("api.resources.relatives.children_of", fail)
    assert boss.get(f"/api/v1/cruises/{holiday.pk}/").json()["child_sagas"] is None
