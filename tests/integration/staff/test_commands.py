"""Every command that writes is in the log, with the person at the shell and the reason."""

import json
from importlib import import_module
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command, get_commands

from staff.models import LogEntry

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

# Commands that change no data of the service, and why they need no entry.
READS = {
    "audit": "reads",
    "describe_api": "writes documents of the repository",
    "doctor": "reads",
    "migrate_all": "changes tables, before the log exists",
    "sagas_doctor": "reads",
    "startservice": "writes files",
    "upgrade_check": "reads, or writes a file of the repository",
    "verify_log": "reads",
}


# Commands of Django and of the libraries: they need no entry, or have one by another way.
OF_LIBRARIES = {
    "axes_list_attempts": "reads",
    "changepassword": "signals: staff.people",
    "check": "reads",
    "clearsessions": "deletes expired sessions, as beat does",
    "collectstatic": "writes files",
    "compilemessages": "writes files",
    "createcachetable": "creates a table",
    "createsuperuser": "signals: staff.people",
    "dbshell": "cannot log: docs/security.md",
    "diffsettings": "reads",
    "dumpdata": "reads",
    "findstatic": "reads",
    "flush": "the database refuses to empty the log",
    "generateschema": "reads",
    "inspectdb": "reads",
    "makemessages": "writes files",
    "makemigrations": "writes files",
    "migrate": "changes tables, before the log exists",
    "optimizemigration": "writes files",
    "remove_stale_contenttypes": "removes permissions of models that no longer exist",
    "runserver": "its requests log",
    "sendtestemail": "sends an e-mail",
    "shell": "cannot log, except users and groups: docs/security.md",
    "showmigrations": "reads",
    "spectacular": "reads",
    "sqlflush": "reads",
    "sqlmigrate": "reads",
    "sqlsequencereset": "reads",
    "squashmigrations": "writes files",
    "startapp": "writes files",
    "startproject": "writes files",
    "test": "writes to databases of its own",
    "testserver": "writes to databases of its own",
}


def test_every_command_needs_no_entry_or_uses_the_log():
    for name, app in get_commands().items():
        if name in READS | OF_LIBRARIES:
            continue
        source = Path(import_module(f"{app}.management.commands.{name}").__file__ or "").read_text()
        assert "from staff" in source, f"{name} does not write to the log of staff"


def test_rows_that_are_loaded_from_a_file_are_logged(tmp_path):
    file = tmp_path / "products.json"
    fields = {"sku": "CUP", "name": "Cup", "unit_amount": 1, "currency": "eur"}
    row = {"model": "orders.product", "pk": 1, "fields": fields}
    file.write_text(json.dumps([row]))
    call_command("loaddata", str(file), "--reason", "Moved.", verbosity=0)
    entries = LogEntry.objects.filter(action="loaddata").order_by("seq")
    assert [(entry.what, entry.why) for entry in entries] == [
        ("intended", "Moved."),
        ("done", "Moved."),
    ]
    assert entries[0].subject == f"{file} into default"[:200]


@pytest.mark.parametrize(
    ("command", "subject"),
    [
        (["axes_reset"], "all users"),
        (["axes_reset_ip", "192.0.2.1"], "1 addresses"),
        (["axes_reset_username", "olga", "stranger"], "user {olga}, no user"),
        (["axes_reset_ip_username", "192.0.2.1", "olga"], "user {olga} at one address"),
        (["axes_reset_logs"], "logins older than 30 days"),
        (["axes_reset_failure_logs"], "failed logins older than 30 days"),
    ],
)
def test_an_early_end_of_a_lockout_is_logged_without_names_and_addresses(command, subject):
    olga = User.objects.create_user("olga")
    call_command(*command, stdout=StringIO())
    entries = LogEntry.objects.filter(action="reset_lockouts").order_by("seq")
    assert [entry.what for entry in entries] == ["intended", "done"]
    assert {entry.subject for entry in entries} == {subject.format(olga=olga.pk)}


@pytest.mark.parametrize("command", ["create_token", "revoke_tokens", "make_auditor"])
def test_a_command_about_a_user_is_logged(command):
    user = User.objects.create_user("olga")
    call_command(command, "olga", "--reason", "She is on call.")
    entries = LogEntry.objects.filter(action=command).order_by("seq")
    assert [entry.what for entry in entries] == ["intended", "done"]
    for entry in entries:
        assert entry.who.startswith("shell:")
        assert entry.address
        assert (entry.subject, entry.why, entry.via) == (
            f"user {user.pk}",
            "She is on call.",
            "command",
        )


def test_a_reconciliation_by_hand_is_logged():
    call_command("reconcile", "--reason", "A refund by hand.")
    whats = (
        LogEntry.objects.filter(action="reconcile").order_by("seq").values_list("what", flat=True)
    )
    assert list(whats) == ["intended", "done"]


def test_a_recovery_is_logged_with_its_writes_and_a_dry_run_is_not(tmp_path):
    call_command("recover", "payments", "--ignore-sessions")
    assert not LogEntry.objects.exists()
    log = str(tmp_path / "writes.jsonl")
    call_command("recover", "payments", "--apply", "--ignore-sessions", "--log", log)
    done = LogEntry.objects.get(action="recover", what="done")
    assert (done.subject, done.outcome) == ("payments", "Written: nothing. Left: 0.")


def test_a_command_that_fails_is_logged_with_its_error(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise RuntimeError("The table is locked.")

    User.objects.create_user("olga")
    monkeypatch.setattr("api.management.commands.revoke_tokens.revoke_tokens", refuse)
    with pytest.raises(RuntimeError):
        call_command("revoke_tokens", "olga")
    assert "The table is locked." in LogEntry.objects.get(what="failed").outcome
