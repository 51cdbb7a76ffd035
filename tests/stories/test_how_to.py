"""The snippets of docs/how-to.md run unchanged."""

import hmac
import re
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings
from django.urls import include, path

from sagas import Saga
from sagas.checks.registration import check_sagas
from sagas.definition import handlers
from sagas.definition.policy import Backoff, Policy
from sagas.kinds import Fact, Money, kind_of
from sagas.outcomes import Waiting
from sagas.testing import story
from sagas.tracked import start
from sagas.waits import find_signal
from tests.integration.roles.roles import api_client
from tests.trips import harness
from tests.trips.harness import deliver, effects, row
from tests.trips.models import Cruise, Outbox, Trip
from tests.trips.saga import CRUISE, TRIP
from tests.trips.steps import Began, CalledOff, behaviour

pytestmark = pytest.mark.django_db(databases="__all__")

PAGE = Path(settings.BASE_DIR, "docs/how-to.md")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def page(monkeypatch):
    """Return the functions of the page. Its blocks are one module, in order."""
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)
    monkeypatch.setattr(handlers, "_definitions", dict(handlers._definitions))
    monkeypatch.setattr(handlers._registrations, "_origins", dict(handlers._registrations._origins))
    monkeypatch.setattr(Saga, "declared", {})
    monkeypatch.setattr(Saga._registrations, "_origins", {})
    monkeypatch.setattr("sagas.waits.request_flush", lambda service: None)
    module: dict[str, Any] = {"__name__": "how_to"}
    exec(compile("\n".join(BLOCK.findall(PAGE.read_text())), PAGE, "exec"), module)
    yield module
    harness.forget()


def test_a_trip_that_is_begun_travels(page):
    told = story(TRIP, lambda: page["begin_trip"]("Ada")).run()
    told.expect(ended="done", done=["trips.book", "trips.pay", "trips.confirm", "trips.travel"])


def test_a_step_has_the_policy_that_it_is_registered_with(page):
    rented = page["rent_car"]
    assert rented.__name__ == "rent_car"
    assert handlers.policy_of("trips.rent_car") == Policy(
        tries=8, backoff=Backoff(first=2.0, longest=120.0), most_in_batch=20
    )


def test_a_trip_ends_without_its_optional_step(page):
    saga = page["THANKED_TRIP"]
    told = story(saga, lambda: start(saga, Trip(), Began(name="Ada")))
    told.when("trips.rent_car").raises(RuntimeError("boom")).run()
    told.expect(ended="done", skipped=["trips.rent_car"], needs_attention=False)


def test_a_trip_that_misses_its_deadline_is_undone(page):
    saga = page["QUICK_TRIP"]
    told = story(saga, lambda: start(saga, Trip(), Began(name="Ada"))).run(until="trips.book")
    assert told.tracked.deadline_at == told.tracked.created_at + saga.deadline
    told.at_deadline().run().expect(ended="cancelled", undone=["trips.book"])


def test_a_webhook_ends_the_pause_of_a_waiting_step(page):
    trip = page["begin_trip"]("Ada")
    deliver("trips.book", [trip.id])
    assert page["bank_has_decided"](trip.id) == 0
    behaviour["trips.pay/call", trip.id] = lambda _: Waiting("The bank thinks.", pause=900)
    deliver("trips.pay", [trip.id])
    later = row(trip.id, "trips.pay").send_at
    assert [page["bank_has_decided"](trip.id) for _ in range(2)] == [1, 1]
    assert row(trip.id, "trips.pay").send_at < later
    assert page["reasons"](trip.id) == ["trips.pay is waiting: The bank thinks."]


def test_a_trip_is_called_off_once(page):
    trip = page["begin_trip"]("Ada")
    deliver("trips.book", [trip.id])
    assert [page["call_off"](trip) for _ in range(2)] == [True, False]
    story(TRIP, trip).run().expect(ended="cancelled")
    assert effects(trip.id)[-1] == "trips.drop"


def test_a_trip_is_approved_by_its_first_signal(page):
    trip = Trip()
    start(page["APPROVED_TRIP"], trip, Began())
    told = story(page["APPROVED_TRIP"], trip).run().expect(ended=None, waiting=["trips.approval"])
    results = [page["approve"](trip, budget, "olga") for budget in (100, 200)]
    told.run().expect(ended="done")
    assert [result.value for result in results] == ["accepted", "repeated"]
    found = find_signal("trips.approval", trip.id)
    assert found is not None
    assert (found.data, found.by) == ({"budget": 100}, "olga")


def signed(body: bytes, sent_at: str, secret: str = "s3cret") -> dict[str, str]:
    signature = hmac.new(secret.encode(), sent_at.encode() + b"." + body, "sha256").hexdigest()
    return {"X-Sent-At": sent_at, "X-Signature": signature}


def test_a_webhook_answers_a_wait_once_and_only_with_its_signature(page, rf, settings):
    settings.APPROVAL_SECRET = "s3cret"
    trip = start(page["APPROVED_TRIP"], Trip(), Began())
    told = story(page["APPROVED_TRIP"], trip).run()
    body = f'{{"trip": "{trip.id}", "budget": 100}}'.encode()
    now = str(int(time.time()))

    def post(body, headers):
        request = rf.post("/", body, "application/json", headers=headers)
        response = page["approval_webhook"](request)
        return response.status_code, response.content.decode()

    assert post(body, signed(body, now, "wrong"))[0] == 400
    assert post(body, signed(body, "9" * 5_000, "wrong"))[0] == 400
    assert post(body, signed(body, "1700000000"))[0] == 400
    assert post(b"{}", signed(b"{}", now))[0] == 400
    assert post(body + b" ", signed(body, now))[0] == 400
    assert find_signal("trips.approval", trip.id) is None
    answers = [post(body, signed(body, now)) for _ in range(2)]
    assert answers == [(200, "accepted"), (200, "repeated")]
    told.run().expect(ended="done")


def test_a_trip_has_the_api_of_orders(page, settings):
    urls: Any = ModuleType("urls_of_the_page")
    urls.urlpatterns = [*page["urlpatterns"], path("", include("config.urls"))]
    settings.ROOT_URLCONF = urls
    client = api_client("ada")

    def begin():
        key = {"Idempotency-Key": "1"}
        return client.post("/trips/", {"name": "Ada"}, "application/json", headers=key)

    begun, again = begin(), begin()
    assert (begun.status_code, again["Idempotency-Replayed"]) == (201, "true")
    assert (
        client.get(begun["Location"], headers={"If-None-Match": begun["ETag"]}).status_code == 304
    )
    assert client.post(f"{begun['Location']}cancel/").status_code == 202
    story(TRIP, Trip.objects.get()).run().expect(ended="cancelled")
    assert client.get(f"{begun['Location']}timeline/").json()["results"][0]["type"] == "trip.began"
    assert [one["id"] for one in client.get("/trips/").json()["results"]] == [begun.json()["id"]]


def test_luggage_is_packed_and_insured_at_the_same_time(page):
    saga = page["PACKED_TRIP"]
    told = story(saga, lambda: start(saga, Trip(), Began(name="Ada"))).run().expect(ended="done")
    handed = Outbox.objects.get(saga=told.saga, type="luggage.handed_over")
    assert handed.data == {"bags": 2, "policy": "for Ada"}

    refused = story(saga, lambda: start(saga, Trip(), Began(name="Ada")))
    refused.when("payments.insure").refuses().run()
    refused.expect(ended="cancelled", undone=["inventory.pack", "trips.book"])


def test_a_cruise_is_a_second_kind_of_saga(page):
    told = story(CRUISE, lambda: page["begin_cruise"]("Grace")).run()
    told.expect(ended="done")
    assert page["reasons"](told.saga) == []


def voyage(page, name):
    return story(page["VOYAGE"], lambda: start(page["VOYAGE"], Trip(), Began(name=name)))


def facts(told, type_):
    return Outbox.objects.get(saga=told.saga, type=type_).data


@pytest.mark.parametrize(("name", "is_long"), [("Ada", False), ("Alexandra", True)])
def test_a_voyage_reads_its_quote_and_is_paid_if_it_is_long(page, name, is_long):
    told = voyage(page, name).run()
    paid = ["trips.pay"] if is_long else []
    told.expect(ended="done", done=["trips.quote_voyage", *paid, "trips.sail"])
    assert facts(told, "voyage.sailed") == {"paid": len(name) * 100}


def test_a_cancelled_voyage_withdraws_its_own_quote(page):
    told = voyage(page, "Ada").run(until="trips.quote_voyage").cancel(CalledOff()).run()
    told.expect(ended="cancelled", undone=["trips.quote_voyage"])
    assert facts(told, "voyage.withdrawn") == {"price": 300}


def test_the_declarations_of_the_page_are_sound(page):
    assert "voyage" in Saga.declared
    assert [error for error in check_sagas(None) if "voyage" in error.msg] == []


def test_a_kind_that_the_page_describes_has_its_facts(page):
    row = page["begin_cruise"]("Grace")
    assert kind_of(Cruise).facts(row) == [Fact("Price", Money(99_000, "eur"))]


def test_code_puts_a_saga_on_hold(page):
    trip = page["begin_trip"]("Ada")
    assert page["stop"](trip.id, "olga") == "On hold before its next step."
    deliver("trips.book", [trip.id])
    assert row(trip.id, "trips.book").state == "held"


def test_a_patient_trip_waits_until_the_day_before_its_departure(page):
    saga = page["PATIENT_TRIP"]
    told = story(saga, lambda: start(saga, Trip(), Began(name="Ada"))).run()
    told.expect(ended=None, waiting=["trips.cool_off"])
    told.expires("trips.cool_off").run().expect(waiting=["trips.day_before"])
    began = told.tracked.created_at
    assert row(told.saga, "trips.day_before").expires_at == began + page["timedelta"](days=29)
    told.expires("trips.day_before").run().expect(ended="done")
    assert told.events.count("trip.reminded_of_departure") == 1


@pytest.mark.parametrize("is_taken", [True, False])
def test_a_holiday_waits_for_the_end_of_its_excursion(page, is_taken):
    saga = page["GUIDED_HOLIDAY"]
    told = story(saga, lambda: start(saga, Cruise(), Began(name="Ada"))).run()
    excursion = told.child("trips.excursion")
    if not is_taken:
        excursion.when("trips.pay").refuses()
    excursion.run()
    told.run().expect(ended="done" if is_taken else "cancelled")
    if is_taken:
        assert facts(told, "excursion.taken") == {"steps": 4}
    assert ("excursion.failed" in told.events) is not is_taken


def test_a_holiday_that_is_cancelled_late_refunds_its_excursion(page):
    saga = page["GUIDED_HOLIDAY"]
    told = story(saga, lambda: start(saga, Cruise(), Began(name="Ada"))).run()
    told.child("trips.excursion").run()
    told.when("trips.confirm").refuses().run().expect(ended="cancelled")
    assert "excursion.refunded" in told.events
