"""Logins, failed logins and logouts of staff are in the log; those of customers are not."""

import json

import pytest
from django.contrib.auth.models import User
from django.db.utils import DatabaseError
from django.test import Client

from staff import log, logins
from staff.models import LogEntry
from tests.integration.staff.conftest import execute

pytestmark = pytest.mark.django_db(transaction=True)

ADMIN, TOKEN = "/admin/login/", "/api/v1/auth/token/"
RIGHT = "correct horse"
HERE = "192.0.2.1"


@pytest.fixture(autouse=True)
def people(settings):
    settings.AXES_FAILURE_LIMIT = 3
    User.objects.create_user("olga", password=RIGHT, is_staff=True)
    User.objects.create_user("carl", password=RIGHT)


def client(address=HERE):
    return Client(REMOTE_ADDR=address, raise_request_exception=False)


def at_admin(name, password, *, address=HERE):
    return client(address).post(ADMIN, {"username": name, "password": password})


def at_api(name, password, *, address=HERE):
    body = json.dumps({"username": name, "password": password})
    return client(address).post(TOKEN, body, content_type="application/json")


def logged():
    return list(
        LogEntry.objects.order_by("seq").values_list("who", "what", "action", "via", "address")
    )


def test_a_login_and_a_logout_at_the_admin_are_logged_with_the_address():
    browser = client()
    browser.post(ADMIN, {"username": "olga", "password": RIGHT})
    browser.post("/admin/logout/")
    assert logged() == [
        ("olga", "done", "login", "admin", HERE),
        ("olga", "done", "logout", "admin", HERE),
    ]


def test_a_token_for_staff_is_logged():
    assert at_api("olga", RIGHT).status_code == 200
    assert logged() == [("olga", "done", "login", "api", HERE)]


def test_a_failed_login_of_staff_is_logged_at_both_surfaces():
    at_admin("olga", "wrong")
    assert at_api("olga", "wrong").status_code == 401
    assert logged() == [
        ("olga", "failed", "login_failed", "admin", HERE),
        ("olga", "failed", "login_failed", "api", HERE),
    ]


def test_a_failed_login_at_the_admin_is_logged_without_a_name_that_is_not_of_staff():
    at_admin("carl", "wrong")
    at_admin("my-secret-password", "x")
    assert logged() == [("anonymous", "failed", "login_failed", "admin", HERE)] * 2
    assert "secret" not in str(list(LogEntry.objects.values()))


def test_customers_at_the_api_add_no_entry():
    assert at_api("carl", RIGHT).status_code == 200
    assert at_api("carl", "wrong").status_code == 401
    assert at_api("stranger", "wrong").status_code == 401
    assert logged() == []


def test_the_log_shows_the_lockout_and_nothing_that_is_tried_during_it():
    for _ in range(6):
        at_admin("olga", "wrong")
    assert len(logged()) == 3
    outcomes = [entry.outcome for entry in LogEntry.objects.order_by("seq")]
    assert ["locked" in outcome for outcome in outcomes] == [False, False, True]


def test_failed_logins_from_many_addresses_do_not_fill_the_log(monkeypatch):
    monkeypatch.setattr(logins, "FAILURES_AN_HOUR", 3)
    for number in range(5):
        at_admin("olga", "wrong", address=f"192.0.2.{number + 1}")
    assert len(logged()) == 3
    assert "Further failed logins" in LogEntry.objects.latest("seq").outcome


@pytest.mark.parametrize("login", [at_admin, at_api])
def test_a_login_of_staff_that_cannot_be_logged_is_refused(login, monkeypatch):
    execute("ALTER TABLE console_logentry RENAME TO gone")
    try:
        response = login("olga", RIGHT)
        assert response.status_code >= 500
        assert "sessionid" not in response.cookies
        assert login("carl", RIGHT).status_code == 200
    finally:
        execute("ALTER TABLE gone RENAME TO console_logentry")


def test_a_failed_login_that_cannot_be_logged_is_answered_as_any_other(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise DatabaseError

    monkeypatch.setattr(log, "record", refuse)
    assert at_api("olga", "wrong").status_code == 401


def test_the_entry_of_a_failed_login_comes_after_its_answer():
    answer = client().generic(
        "POST", TOKEN, json.dumps({"username": "olga", "password": "x"}), "application/json"
    )
    assert answer.status_code == 401
    assert LogEntry.objects.get().action == "login_failed"
