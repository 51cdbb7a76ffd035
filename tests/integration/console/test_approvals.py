"""Approvers are told that a run waits, why, and for whom; its requester is told of the decision."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse
from django.utils import timezone

from api.monitoring.sections import registered_sections
from console.approvals import notices_for
from console.bulk_actions import runs
from console.models import Run
from staff.models import LogEntry
from tests.integration.console.conftest import client_of
from tests.integration.console.operators import confirmed, member, paid

START = "/admin/"
LIVE = "/admin/live/"
TOO_MUCH = "1,000.00 EUR too much."

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("flushed"),
]


@pytest.fixture
def waiting(olga):
    return confirmed("cancel", paid(200_000), by=olga, reason="The parcel was lost.")


def page_of(client, person, path=START):
    client.force_login(person)
    return client.get(path).content.decode()


def badge(client, person):
    """Return the number beside the menu's link to the runs that wait; None without the link."""
    client.force_login(person)
    groups = client.get(START).context["sidebar_navigation"]
    menu = {item["title"]: item for group in groups for item in group["items"]}
    link = f"{reverse('admin:console_run_changelist')}?state__exact=awaiting"
    if "Awaiting approval" not in menu:
        return None
    assert menu["Awaiting approval"]["link"] == link
    return menu["Awaiting approval"].get("badge", "")


@pytest.mark.parametrize("path", [START, LIVE])
def test_an_approver_sees_that_a_run_waits_why_for_whom_and_since_when(client, waiting, anna, path):
    page = page_of(client, anna, path)
    since = timezone.localtime(Run.objects.get(id=waiting.id).confirmed_at)
    assert "Waits for your decision" in page
    assert f"/admin/console/run/{waiting.id}/change/" in page
    for told in ("olga", "The parcel was lost.", TOO_MUCH, f"{since:%Y-%m-%d %H:%M}"):
        assert told in page


def test_an_approver_who_may_not_view_orders_is_told_as_well_without_amounts(waiting):
    pat = client_of("pat", "approve_run", "view_run")
    page = pat.get(START).content.decode()
    for told in ("Waits for your decision", "olga", "The parcel was lost.", "orders.view_order"):
        assert told in page
    assert TOO_MUCH not in page


def test_the_menu_counts_the_runs_of_other_people_for_approvers_only(client, waiting, anna, olga):
    assert badge(client, anna) == "1"
    assert badge(client, olga) is None
    olga.groups.add(Group.objects.get(name="approver"))
    assert badge(client, olga) == ""
    runs.decline(waiting.id, by=anna)
    assert badge(client, anna) == ""


def test_the_menu_has_a_question_mark_where_the_number_is_unknown(
    client, waiting, anna, monkeypatch
):
    from django.db import OperationalError  # noqa: PLC0415

    def fails(user):
        raise OperationalError("no answer")

    monkeypatch.setattr("console.navigation.count_to_decide", fails)
    assert badge(client, anna) == "?"


def test_a_requester_is_not_asked_to_decide_on_the_own_run(client, waiting, olga):
    olga.groups.add(Group.objects.get(name="approver"))
    page = page_of(client, olga)
    assert "waits for another approver" in page
    assert "Waits for your decision" not in page


def test_a_viewer_is_told_nothing(client, waiting):
    page = page_of(client, member("vera", "viewer"))
    assert "Waits for your decision" not in page
    assert "waits for another approver" not in page


@pytest.mark.parametrize(("decision", "word"), [("approve", "approved"), ("decline", "declined")])
def test_a_requester_is_told_of_the_decision_for_a_day(client, waiting, olga, anna, decision, word):
    if decision == "approve":
        runs.approve(waiting.id, by=anna, fingerprint=runs.preview(waiting).fingerprint)
    else:
        runs.decline(waiting.id, by=anna)
    page = page_of(client, olga)
    assert f"anna {word} your run" in page
    assert "waits for another approver" not in page
    assert "Waits for your decision" not in page_of(client, anna)

    Run.objects.update(decided_at=timezone.now() - timedelta(days=1, seconds=1))
    assert f"anna {word} your run" not in page_of(client, olga)


def test_notices_are_unknown_and_not_empty_where_the_database_does_not_answer(
    client, waiting, anna, renamed
):
    client.force_login(anna)
    renamed("default", "console_runitem")
    assert not notices_for(anna).is_known
    assert "Unknown whether a run waits for a second person" in client.get(LIVE).content.decode()


def test_the_metrics_have_the_number_and_the_age_of_the_oldest(waiting):
    def gauges():
        found = [
            sample for family in registered_sections()["console"]() for sample in family.samples
        ]
        return {sample.name: sample.value for sample in found}

    Run.objects.update(confirmed_at=timezone.now() - timedelta(hours=1))
    found = gauges()
    assert found["console_runs_awaiting_approval"] == 1
    assert 3_600 <= found["console_runs_awaiting_approval_oldest_seconds"] < 3_700
    Run.objects.update(state="running")
    assert gauges() == {
        "console_runs_awaiting_approval": 0,
        "console_runs_awaiting_approval_oldest_seconds": 0,
    }


def test_a_decision_on_ones_own_run_is_refused_and_in_the_log(client):
    otto = member("otto", "operator", "approver")
    run = confirmed("cancel", paid(200_000), by=otto, reason="The parcel was lost.")
    client.force_login(otto)
    for decision in ("approve", "decline"):
        seen = {"seen": runs.preview(run).fingerprint}
        client.post(reverse(f"console:{decision}", args=[run.id]), seen)
    run.refresh_from_db()
    assert run.state == Run.State.AWAITING
    refused = LogEntry.objects.filter(run=run.id, what="refused")
    assert [entry.who for entry in refused] == ["otto", "otto"]
    assert all("another person must approve" in entry.outcome for entry in refused)


def test_a_preview_that_is_out_of_date_leaves_a_failed_attempt_in_the_log(client, waiting, anna):
    client.force_login(anna)
    client.post(reverse("console:approve", args=[waiting.id]), {"seen": "another"})
    entry = LogEntry.objects.get(run=waiting.id, what="failed")
    assert (entry.who, entry.via) == ("anna", "console")
    assert "impact has changed" in entry.outcome
