"""Sagas of other kinds than orders in the console: shown, linked, acted on and exported alike.

Trips and cruises are two kinds in a home of their own, which the console does not name anywhere.
"""

import json

import pytest
from django.contrib import admin
from django.db import DatabaseError
from django.urls import reverse

import sagas
from audit.models import Finding
from console.bulk_actions import runs
from console.bulk_actions.log import summary
from orders.models import Outbox as OrdersOutbox
from sagas.ids import uuid7
from sagas.kinds import kind_of
from sagas.operations import holds
from sagas.storage.registry import get_home, get_service
from sagas.testing import story
from tests.integration.console.conftest import client_of
from tests.integration.console.operators import confirmed, outcomes, stuck, work
from tests.integration.orders import harness as orders_harness
from tests.trips import harness
from tests.trips.holidays import HOLIDAY
from tests.trips.models import Cruise, Inbox, Trip
from tests.trips.saga import CRUISE
from tests.trips.steps import Began

FAR = "2099-01-01T00:00:00Z"
START, LIVE, SAGAS = "/admin/", "/admin/live/", "/admin/sagas/"

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(autouse=True)
def _no_messages(flushed, monkeypatch):
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)
    yield
    harness.forget()


@pytest.fixture
def boss(client, django_user_model):
    """The client of a superuser, who may view the sagas of all kinds."""
    client.force_login(django_user_model.objects.create_superuser("boss"))
    return client


def fail_at(step, saga):
    """Let a step of a saga wait for its next attempt, which is far away."""
    row = Trip.objects.filter(pk=saga).first() or Cruise.objects.get(pk=saga)
    type(row).objects.filter(pk=saga).update(needs_attention=True)
    Inbox.objects.create(
        saga=saga,
        saga_started_at=row.created_at,
        step=step,
        state="waiting",
        attempts=3,
        error="the bank is closed",
        due_at=FAR,
        send_at=FAR,
    )
    return saga


@pytest.fixture
def trip():
    """A trip that is stuck, of a kind that the domain describes."""
    return fail_at("trips.pay", harness.begin()[0])


@pytest.fixture
def cruise():
    """A cruise that is stuck, of a kind with the engine's defaults."""
    row = Cruise()
    sagas.start(CRUISE, row, Began(name="Grace"))
    return fail_at("trips.book", row.pk)


def page_of(saga, model="trip"):
    return reverse(f"admin:trips_{model}_change", args=[saga])


def test_the_start_page_counts_what_needs_attention_of_all_kinds(boss, trip, cruise):
    page = boss.get(LIVE)
    assert page.context["attention"] == 2
    assert page.context["attention_page"] == SAGAS
    text = page.content.decode()
    assert "no step waits for a person" not in text
    assert 'id="attention-trips.trip"' in text
    assert 'id="attention-trips.cruise"' in text
    stuck()
    assert boss.get(LIVE).context["attention"] == 3


def test_the_tile_leads_to_the_orders_where_only_orders_need_attention(boss):
    stuck()
    page = boss.get(LIVE).context
    assert page["attention"] == 1
    assert page["attention_page"] == "/admin/orders/order/?needs_attention__exact=1"


def test_the_menu_counts_each_kind(boss, trip):
    groups = boss.get(START).context["sidebar_navigation"]
    menu = {item["title"]: item for group in groups for item in group["items"]}
    assert menu["Trips"]["badge"] == "1"
    assert "badge" not in menu["Cruises"]
    assert boss.get(menu["Trips"]["link"]).status_code == 200
    assert menu["All sagas"]["link"] == SAGAS


def test_the_list_of_all_sagas_says_what_to_do_and_leads_to_each(boss, trip, cruise):
    order = stuck().id
    page = boss.get(SAGAS)
    assert "You may not view" not in page.content.decode()
    found = {saga.id: saga for saga in page.context["found"].sagas}
    assert set(found) == {trip, cruise, order}
    assert found[trip].problem == "trips.pay: the bank is closed"
    assert found[trip].to_do == "Remove the cause of the error, then use “Try again now”."
    for saga, row in found.items():
        shown = boss.get(row.page)
        assert shown.status_code == 200
        assert shown.context["original"].pk == saga
        assert boss.get(f"{SAGAS}{saga}/")["Location"] == row.page


@pytest.mark.parametrize(
    ("query", "kinds"),
    [
        ({"kind": "trips.trip"}, {"trips.trip"}),
        ({"kind": "trips"}, {"trips.trip", "trips.cruise"}),
        ({"kind": "orders"}, {"orders.order"}),
        ({"show": "open", "kind": "trips.cruise"}, {"trips.cruise"}),
    ],
)
def test_the_list_is_filtered_by_kind_and_by_home(boss, trip, cruise, query, kinds):
    stuck()
    found = boss.get(SAGAS, query).context["found"]
    assert {saga.kind.name for saga in found.sagas} == kinds


@pytest.mark.parametrize("query", [{"kind": "trips.train"}, {"show": "everything"}])
def test_an_unknown_kind_or_choice_is_not_found(boss, query):
    assert boss.get(SAGAS, query).status_code == 404


def test_a_user_sees_only_the_kinds_that_the_permissions_name(trip):
    vera = client_of("vera", "view_order", "view_return")
    order = stuck().id
    page = vera.get(SAGAS)
    assert [saga.id for saga in page.context["found"].sagas] == [order]
    assert "You may not view trips (trips.view_trip), cruises" in page.content.decode()
    assert vera.get(f"{SAGAS}{trip}/").status_code == 403
    assert vera.get(f"{SAGAS}{trip}/export/").status_code == 403
    assert vera.get(page_of(trip)).status_code == 403
    assert client_of("pat", "view_payment").get(SAGAS).status_code == 403


def test_the_page_of_a_saga_shows_its_steps_and_what_its_domain_knows(boss, trip):
    text = boss.get(page_of(trip)).content.decode()
    assert "This trip needs attention: trips.pay says “the bank is closed”" in text
    assert "Remove the cause of the error" in text
    assert "trips.pay: waiting, 3 attempts" in text
    assert "42.00 EUR" in text
    assert "trip.began" in text
    assert "/admin/orders/order/" + str(trip) not in text


def test_a_kind_with_the_defaults_has_the_same_page(boss, cruise):
    text = boss.get(page_of(cruise, "cruise")).content.decode()
    assert "This cruise needs attention: trips.book says" in text
    assert "trips.book: waiting, 3 attempts" in text


def test_the_lists_of_a_kind_are_searched_and_filtered(boss, trip):
    other = harness.begin()[0]
    pages = "/admin/trips/trip/"

    def listed(**query):
        return {row.pk for row in boss.get(pages, query).context["cl"].queryset}

    assert listed(show="all") == {trip, other}
    assert listed(q=str(other)) == {other}
    assert listed(q="unknown-user") == set()
    assert listed(needs_attention__exact="1") == {trip}


def test_failures_link_to_the_sagas_of_each_kind(boss, trip, cruise):
    page = boss.get("/admin/failures/")
    groups = {group.step: group for group in page.context["failures"].groups}
    assert [(count.kind.name, count.number) for count in groups["trips.pay"].kinds] == [
        ("trips.trip", 1)
    ]
    key = groups["trips.book"].key
    assert f"/admin/trips/cruise/?failure={key}" in page.content.decode()
    listed = boss.get("/admin/trips/cruise/", {"failure": key}).context["cl"]
    assert [row.pk for row in listed.queryset] == [cruise]


def test_a_run_on_sagas_of_several_kinds_retries_them_and_links_to_them(boss, olga, trip):
    order = stuck()
    run = confirmed("retry", Trip.objects.get(pk=trip), order, by=olga)
    assert runs.preview(run).affected == 2
    work()
    assert outcomes(run) == [("done", "1 step made due now.")] * 2
    text = boss.get(f"/admin/console/run/{run.id}/change/").content.decode()
    assert f'href="{SAGAS}{trip}/"' in text
    assert Inbox.objects.filter(saga=trip, send_at__lt=FAR).exists()


@pytest.mark.parametrize(("with_order", "noun"), [(False, "trip"), (True, "saga")])
def test_the_page_of_a_run_names_the_kind_of_its_sagas(boss, olga, trip, with_order, noun):
    selected = [trip, stuck().id] if with_order else [trip]
    run = runs.draft("retry", selected, by=olga)
    text = boss.get(f"/admin/console/run/{run.id}/change/").content.decode()
    assert f"{noun.capitalize()}s that change" in text
    assert f"{noun.capitalize()}s of this run" in text
    assert "Orders that change" not in text


def test_the_page_of_a_run_on_orders_names_orders(boss, olga):
    run = runs.draft("retry", [stuck().id], by=olga)
    text = boss.get(f"/admin/console/run/{run.id}/change/").content.decode()
    assert "Orders that change" in text
    assert "on this 1 order only" in text


def test_a_saga_is_held_shown_on_hold_and_released(boss, olga, trip):
    row = Trip.objects.get(pk=trip)
    run = confirmed("hold", row, by=olga)
    work()
    assert outcomes(run) == [("done", "On hold before its next step.")]
    page = boss.get("/admin/holds/")
    assert f'href="{page_of(trip)}"' in page.content.decode()
    listed = boss.get("/admin/trips/trip/", {"hold": "yes"}).context["cl"]
    assert [held.pk for held in listed.queryset] == [trip]
    assert "On hold since" in boss.get(page_of(trip)).content.decode()

    release = confirmed("release", row, by=olga)
    work()
    assert outcomes(release) == [("done", "Released.")]
    assert not holds.release(get_service("trips"), saga=trip)


def test_a_saga_is_cancelled_with_the_event_of_its_domain(olga, trip):
    run = confirmed("cancel", Trip.objects.get(pk=trip), by=olga)
    work()
    [(state, text)] = outcomes(run)
    assert (state, text.partition(":")[0]) == ("done", "Cancelling")
    assert "trip.called_off" in harness.events(trip)


@pytest.mark.parametrize("with_order", [False, True])
def test_the_preview_of_a_cancel_says_that_the_money_of_other_kinds_is_unknown(
    boss, olga, trip, with_order
):
    selected = [trip, stuck().id] if with_order else [trip]
    run = runs.draft("cancel", selected, by=olga)
    text = boss.get(f"/admin/console/run/{run.id}/change/").content.decode()
    assert "of 1 that change: only their own domain knows what their undo moves" in text
    assert "nothing is captured" not in text
    assert ("Units released" in text) is with_order
    assert "no known money refunded" in summary(runs.preview(run))


def test_a_kind_without_a_cancellation_is_not_cancelled(boss, olga, cruise):
    row = Cruise.objects.get(pk=cruise)
    run = runs.draft("cancel", [cruise], by=olga)
    assert runs.preview(run).affected == 0
    offered = boss.get(page_of(cruise, "cruise")).context["actions"]
    assert "cancel" not in {action.name for action in offered}
    assert "retry" in {action.name for action in offered}
    assert row.ended_at is None


def test_a_step_on_hold_counts_the_sagas_of_its_homes(olga, trip, cruise):
    orders_harness.order()
    run = runs.draft_for_step("hold_step", "trips.pay", by=olga)
    assert runs.preview(run).orders == 2


def test_the_buttons_act_on_the_saga_of_the_page(boss, olga, trip):
    boss.force_login(olga)
    answer = boss.post(f"{SAGAS}{trip}/act/", {"action": "retry"})
    assert answer.status_code == 302
    assert "/admin/console/run/" in answer["Location"]
    unknown = boss.post(f"{SAGAS}{trip}/act/", {"action": "explode"})
    assert unknown["Location"] == page_of(trip)
    assert boss.post(f"{SAGAS}{uuid7()}/act/", {"action": "retry"}).status_code == 404


def test_the_export_holds_the_saga_its_facts_and_its_messages(boss, trip):
    answer = boss.get(f"{SAGAS}{trip}/export/")
    assert answer["Content-Disposition"] == f'attachment; filename="trip-{trip}.json"'
    found = json.loads(answer.content)
    assert (found["kind"], found["saga"]["id"]) == ("trips.trip", str(trip))
    assert found["saga"]["status"] == "open"
    assert [message["step"] for message in found["received"]] == ["trips.pay"]
    assert [event["type"] for event in found["timeline"]] == ["trip.began"]
    assert "payment" not in found


def test_findings_and_messages_link_to_the_page_of_the_saga(boss, trip):
    Finding.objects.create(invariant="I9", subject=str(trip), detail="It wrote no event.")
    assert f'href="{page_of(trip)}"' in boss.get("/admin/audit/finding/").content.decode()
    assert "It wrote no event." in boss.get(page_of(trip)).content.decode()
    row = OrdersOutbox.objects.create(
        saga=trip, saga_started_at=FAR, seq=1, type="trip.asked", data={}, context={}, plan={}
    )
    listed = boss.get("/admin/orders/outbox/").content.decode()
    assert f'href="{page_of(row.saga)}"' in listed


def test_the_start_page_says_that_a_number_is_partial_where_a_home_is_away(boss, renamed):
    renamed(get_home("trips").alias, "trips_trip")
    text = boss.get(LIVE).content.decode()
    assert "some did not answer" in text
    assert "no step waits for a person" not in text


def test_no_remedy_is_named_while_the_error_of_a_saga_is_unknown(boss, trip, renamed):
    renamed(get_service("trips").alias, "trips_inbox")
    [found] = boss.get(SAGAS).context["found"].sagas
    assert found.to_do == "Its step may be in a database that does not answer."


def test_a_table_that_is_away_hides_no_other_saga_and_no_saga_is_denied(boss, cruise, renamed):
    renamed(get_home("trips").alias, "trips_trip")
    assert boss.post(f"{SAGAS}{cruise}/act/", {"action": "retry"}).status_code == 302
    with pytest.raises(DatabaseError, match="trips_trip"):
        boss.get(f"{SAGAS}{uuid7()}/")


def test_each_tracked_model_has_a_page():
    assert admin.site.is_registered(Trip)
    assert admin.site.is_registered(Cruise)


def test_a_saga_and_its_child_link_to_each_other_and_share_the_alarm(boss):
    holiday = sagas.start(HOLIDAY, Cruise(), Began(name="Ada"))
    told = story(HOLIDAY, holiday).run()
    tour = told.child("trips.tour").tracked
    Trip.objects.filter(pk=tour.pk).update(needs_attention=True)

    page = boss.get(f"/admin/trips/cruise/{holiday.pk}/change/").content.decode()
    assert f'href="{kind_of(Trip).page(tour.pk)}">{tour.pk}</a> trips.tour, needs attention' in page
    assert f"The child saga {tour.pk} needs attention: trips.tour, needs attention." in page
    page = boss.get(f"/admin/trips/trip/{tour.pk}/change/").content.decode()
    assert f'href="{kind_of(Cruise).page(holiday.pk)}">{holiday.pk}</a> trips.tour' in page
