"""Old drafts, runs and log entries are deleted, and younger ones are kept."""

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection, transaction
from django.db.utils import IntegrityError

from console import retention
from console.bulk_actions import runs
from console.models import Run, RunItem
from staff.models import LogEntry
from tests.integration.console.operators import confirmed, stuck, work
from tests.integration.races import started

pytestmark = [
    pytest.mark.usefixtures("quiet"),
    pytest.mark.django_db(transaction=True, databases="__all__"),
]


def aged(run, days):
    """Make a run older by a number of days."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE console_run SET created_at = created_at - make_interval(days => %(days)s),"
            " ended_at = ended_at - make_interval(days => %(days)s) WHERE id = %(run)s",
            {"days": days, "run": run.id},
        )


def log_entry(days):
    """Write a log entry dated a number of days ago."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO console_logentry (id, at, who, what, action, run, why, outcome)"
            " VALUES (uuidv7(make_interval(days => -%(days)s)),"
            " now() - make_interval(days => %(days)s),"
            " 'olga', 'ended', 'retry', gen_random_uuid(), 'long ago', '')",
            {"days": days},
        )


def test_a_draft_is_forgotten_after_a_week_and_a_run_after_ninety_days(olga):
    draft, new_draft = (runs.draft("retry", [stuck().id], by=olga) for _ in range(2))
    run, new_run = (confirmed("retry", stuck(), by=olga) for _ in range(2))
    work()
    aged(draft, 8), aged(new_draft, 6), aged(run, 91), aged(new_run, 89)
    assert retention.purge() == 4
    assert set(Run.objects.values_list("id", flat=True)) == {new_draft.id, new_run.id}
    assert set(RunItem.objects.values_list("run", flat=True)) == {new_draft.id, new_run.id}


def test_a_run_that_is_not_over_is_kept_however_old(olga, settings):
    settings.CONSOLE_REFUND_LIMIT = 0
    running = confirmed("retry", stuck(), by=olga)
    aged(running, 1_000)
    assert retention.purge() == 0
    assert Run.objects.get() == running


def test_a_large_run_is_forgotten_in_small_batches(olga, monkeypatch):
    monkeypatch.setattr(retention, "DELETED_AT_ONCE", 2)
    run = runs.draft("retry", [stuck().id for _ in range(5)], by=olga)
    aged(run, 8)
    assert retention.purge() == 6
    assert not RunItem.objects.exists()


def test_a_draft_that_is_being_confirmed_is_not_deleted(olga):
    run = runs.draft("retry", [stuck().id], by=olga)
    aged(run, 8)
    with transaction.atomic():
        Run.objects.select_for_update().get(id=run.id)
        assert started(retention.purge).result(timeout=60) == 0
    assert retention.purge() == 2


def test_a_draft_that_is_gone_is_not_confirmed(client, olga):
    run = runs.draft("retry", [stuck().id], by=olga)
    aged(run, 8)
    retention.purge()
    client.force_login(olga)
    assert (
        client.post(
            f"/admin/console/run/{run.id}/confirm/", {"reason": "late", "seen": ""}
        ).status_code
        == 404
    )


def test_the_log_is_forgotten_after_two_years_in_small_batches(monkeypatch):
    monkeypatch.setattr(retention, "DELETED_AT_ONCE", 2)
    for days in (900, 800, 732, 729, 1):
        log_entry(days)
    assert retention.purge() == 3
    assert LogEntry.objects.exclude(action="purge_log").count() == 2
    assert retention.purge() == 0


def test_the_deletion_of_old_entries_is_in_the_log():
    for days in (900, 800, 1):
        log_entry(days)
    retention.purge()
    entry = LogEntry.objects.latest("seq")
    assert (entry.who, entry.action, entry.outcome) == (
        "system",
        "purge_log",
        "Entries 1 to 2 are deleted.",
    )


def test_old_entries_behind_a_younger_one_are_kept():
    for days in (900, 1, 800):
        log_entry(days)
    assert retention.purge() == 1
    assert LogEntry.objects.exclude(action="purge_log").count() == 2


def test_the_database_refuses_to_delete_an_old_entry_from_the_middle():
    for days in (900, 800, 700):
        log_entry(days)
    with pytest.raises(IntegrityError, match="in their order"):
        LogEntry.objects.filter(seq=2).delete()


def test_the_database_refuses_to_delete_entries_younger_than_a_year(settings):
    settings.CONSOLE_LOG_DAYS = 1
    log_entry(364)
    with pytest.raises(IntegrityError, match="only grows"):
        retention.purge()
    assert LogEntry.objects.count() == 1


def test_a_setting_that_would_forget_it_too_early_is_refused(settings):
    settings.CONSOLE_LOG_DAYS = 364
    with pytest.raises(SystemCheckError, match="CONSOLE_LOG_DAYS is 364"):
        call_command("check")
