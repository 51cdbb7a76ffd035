"""Auditors read all of the log in the admin, search it and export it; others may not."""

import json
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from staff import log
from staff.models import LogEntry
from staff.policy import Shell
from tests.integration.staff.conftest import write

pytestmark = pytest.mark.django_db(databases="__all__")

PAGE = "/admin/staff/logentry/"


def client_of(name, *groups):
    user = User.objects.create_user(name, is_staff=True)
    user.groups.set(Group.objects.filter(name__in=groups))
    browser = Client()
    browser.force_login(user)
    return browser


@pytest.fixture
def auditor():
    return client_of("ida", "auditors")


def found(client, **query):
    page = client.get(PAGE, query)
    assert page.status_code == 200
    return [entry.subject for entry in page.context["cl"].result_list]


def test_an_auditor_sees_entries_of_every_surface_newest_first(auditor):
    for number, via in enumerate(("console", "admin", "api", "command")):
        log.record(Shell("olga"), "done", "adjust_stock", {"subject": f"SKU-{number}"}, via=via)
    assert found(auditor) == ["SKU-3", "SKU-2", "SKU-1", "SKU-0"]
    assert found(auditor, via__exact="api") == ["SKU-2"]


@pytest.mark.parametrize("term", ["SKU-1", "shell:olga"])
def test_entries_are_found_by_subject_and_by_person(auditor, term):
    write("SKU-1")
    log.record(Shell("anna"), "done", "adjust_stock", {"subject": "SKU-2"}, via="command")
    assert found(auditor, q=term) == ["SKU-1"]


def test_entries_are_found_by_order(auditor):
    order = uuid4()
    log.record(Shell("olga"), "done", "cancel", {"order_id": order, "subject": "x"}, via="api")
    write("SKU-1")
    assert found(auditor, q=str(order)) == ["x"]


def test_the_page_of_an_entry_shows_its_hash(auditor):
    entry = write("SKU-1")
    page = auditor.get(f"{PAGE}{entry.pk}/change/").content.decode()
    assert bytes(entry.hash).hex() in page


def test_an_auditor_exports_entries_with_all_columns_in_their_order(auditor):
    entries = [write(f"SKU-{number}") for number in (1, 2)]
    chosen = {"action": "export", "_selected_action": [str(entry.pk) for entry in entries]}
    answer = auditor.post(PAGE, chosen)
    lines = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert [line["subject"] for line in lines] == ["SKU-1", "SKU-2"]
    assert lines[1]["hash"] == bytes(entries[1].hash).hex()
    assert set(lines[0]) == {field.name for field in LogEntry._meta.fields}


def test_a_member_of_staff_without_a_group_cannot_read_the_log():
    assert client_of("sid").get(PAGE).status_code == 403
