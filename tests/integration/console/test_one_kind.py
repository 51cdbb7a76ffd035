"""A user who may view one kind of saga opens the console, and sees nothing of the other kinds."""

import pytest
from django.utils import timezone

import sagas
from audit.models import Finding
from sagas.operations import holds
from sagas.storage.registry import get_service
from tests.integration.console.conftest import client_of
from tests.integration.console.operators import stuck
from tests.trips import harness
from tests.trips.models import Cruise, Inbox, Trip
from tests.trips.saga import CRUISE
from tests.trips.steps import Began

FINDINGS = "/admin/audit/finding/"
FAR = "2099-01-01T00:00:00Z"
LIVE, FAILURES, HOLDS = "/admin/live/", "/admin/failures/", "/admin/holds/"

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(autouse=True)
def _no_messages(flushed, monkeypatch):
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)
    yield
    harness.forget()


@pytest.fixture
def tess():
    """The client of a user who may view trips only."""
    return client_of("tess", "view_trip")


@pytest.fixture
def trip():
    """A trip that is stuck at its payment."""
    [saga] = harness.begin()
    return fail(saga, "trips.pay", Trip)


@pytest.fixture
def cruise():
    """A cruise that is stuck, of another kind in the home of trips."""
    row = sagas.start(CRUISE, Cruise(), Began(name="Grace"))
    return fail(row.pk, "trips.book", Cruise)


def fail(saga, step, model):
    model.objects.filter(pk=saga).update(needs_attention=True)
    Inbox.objects.create(
        saga=saga,
        saga_started_at=timezone.now(),
        step=step,
        state="waiting",
        attempts=3,
        error=f"{step} is closed",
        due_at=FAR,
        send_at=FAR,
    )
    return saga


def test_the_start_page_has_the_figures_of_that_kind_and_no_other(tess, trip, cruise):
    stuck()
    page = tess.get(LIVE)
    assert [found.kind.name for found in page.context["kinds"]] == ["trips.trip"]
    assert page.context["attention"] == 1
    assert page.context["attention_page"] == "/admin/sagas/"
    assert (page.context["orders"], page.context["charts"]) == (None, None)
    assert page.context["down"] == []
    steps = {row.step for found in page.context["services"] for row in found.inbox}
    assert steps == {"trips.pay", "trips.book"}, "the steps of the home of trips"
    text = page.content.decode()
    assert "Open orders" not in text
    assert "cruise" not in text.lower()


@pytest.mark.parametrize("is_root_first", [True, False])
def test_a_section_that_still_runs_for_another_user_shows_each_the_own_kinds(
    tess, client, admin_user, trip, cruise, monkeypatch, is_root_first
):
    """A slow section is read once for all who wait for it."""
    running = {}

    def gather(probes, *, seconds):
        for name, probe in probes.items():
            if name not in running:
                running[name] = probe()
        return {name: running[name] for name in probes}

    monkeypatch.setattr("console.dashboard.sections.gather", gather)
    client.force_login(admin_user)
    (client if is_root_first else tess).get(LIVE)
    assert [each.kind.name for each in tess.get(LIVE).context["kind_charts"]] == ["trips.trip"]
    shown = [each.kind.name for each in client.get(LIVE).context["kind_charts"]]
    assert {"trips.trip", "trips.cruise"} <= set(shown)


def test_the_start_page_charts_the_starts_and_the_ends_of_each_kind(viewer, tess, trip, cruise):
    Trip.objects.create(pk=sagas.ids.uuid7(), plan={}, ended_at=timezone.now())
    [found] = tess.get(LIVE).context["kind_charts"]
    assert found.kind.name == "trips.trip"
    assert found.chart.summary.startswith("2 trips started and 1 ended since")
    kinds = [chart.kind.name for chart in viewer.get(LIVE).context["kind_charts"]]
    assert kinds == ["returns.return"]
    assert "0 returns started and 0 ended" in viewer.get(LIVE).content.decode()


def test_money_needs_the_permission_to_view_payments(tess):
    text = tess.get(LIVE).content.decode()
    assert "you need the permission to view payments" in text
    assert "Unsettled money" not in text
    assert "Owed to customers" not in text
    page = client_of("pia", "view_trip", "view_payment").get(LIVE)
    assert "you need the permission to view payments" not in page.content.decode()
    assert {tile.name for tile in page.context["money"]} >= {"unsettled", "owed"}
    tiles = client_of("ora", "view_order").get(LIVE).context["money"]
    assert [tile.name for tile in tiles] == ["audit"]


def test_failures_and_their_past_runs_are_of_that_kind(tess, viewer, trip, cruise):
    stuck()
    [group] = tess.get(FAILURES).context["failures"].groups
    assert (group.step, group.sagas) == ("trips.pay", [trip])
    assert tess.get(f"{FAILURES}{group.key}/").status_code == 200
    [other] = viewer.get(FAILURES).context["failures"].groups
    assert other.step == "payments.charge"
    assert tess.get(f"{FAILURES}{other.key}/").status_code == 404


def test_holds_are_of_that_kind(tess, viewer, trip, cruise):
    order = stuck().pk
    for service, saga in (("trips", trip), ("trips", cruise), ("orders", order)):
        holds.hold(get_service(service), saga=saga, by="olga", why="Ask first.")
    for service, step in (("trips", "trips.pay"), ("payments", "payments.charge")):
        holds.hold(get_service(service), step=step, by="olga", why="Ask first.")
    found = tess.get(HOLDS).context
    assert [held.order for held in found["holds"].orders] == [trip]
    assert [held.step for held in found["holds"].steps] == ["trips.pay"]
    assert "payments.refund" not in found["free"]
    found = viewer.get(HOLDS).context["holds"]
    assert [held.order for held in found.orders] == [order]
    assert [held.step for held in found.steps] == ["payments.charge"]


def test_the_menu_offers_failures_and_holds(tess):
    groups = tess.get("/admin/").context["sidebar_navigation"]
    titles = [item["title"] for group in groups for item in group["items"]]
    assert titles == ["Start", "Trips", "Failures", "On hold", "Audit findings"]


def test_the_pages_name_the_kinds_that_are_hidden_instead_of_none(tess, admin_client):
    hidden = "You may not view orders (orders.view_order), returns (returns.view_return), cruises"
    for page, none in (
        (FAILURES, "No step fails."),
        (HOLDS, "No step is on hold."),
        (HOLDS, "No saga is on hold."),
    ):
        text = tess.get(page).content.decode()
        assert hidden in text
        assert none not in text
        text = admin_client.get(page).content.decode()
        assert "You may not view" not in text
        assert none in text


def test_findings_are_of_that_kind_and_those_of_skus_are_for_viewers_of_orders(
    tess, admin_client, trip
):
    order = stuck().pk
    for subject, kind in ((trip, "trips.trip"), (order, "orders.order"), ("MUG", "")):
        Finding.objects.create(invariant="I9", subject=str(subject), kind=kind, detail="It moved.")

    def listed(client):
        page = client.get(FINDINGS)
        found = {finding.subject for finding in page.context["cl"].queryset}
        return found, page.content.decode()

    found, text = listed(tess)
    assert found == {str(trip)}
    assert "You may not view orders (orders.view_order)" in text
    assert "Findings about SKUs need the permission to view orders" in text

    found, text = listed(client_of("ora", "view_order"))
    assert found == {str(order), "MUG"}
    assert "trips (trips.view_trip)" in text
    assert "SKUs need" not in text

    found, text = listed(admin_client)
    assert found == {str(trip), str(order), "MUG"}
    assert "You may not view" not in text
    assert client_of("pat", "view_payment").get(FINDINGS).status_code == 403


def test_the_page_of_a_finding_of_a_hidden_kind_is_not_shown(tess, viewer):
    order = stuck().pk
    finding = Finding.objects.create(
        invariant="I9", subject=str(order), kind="orders.order", detail="It moved."
    )
    page = f"{FINDINGS}{finding.pk}/change/"
    assert viewer.get(page).status_code == 200
    assert "It moved." not in tess.get(page, follow=True).content.decode()


def test_a_number_that_is_unknown_is_not_shown_as_none(viewer, renamed):
    renamed("default", "orders_order")
    text = viewer.get(LIVE).content.decode()
    assert "<span>Need attention</span><strong>unknown</strong>" in text
    assert "no step waits for a person" not in text
