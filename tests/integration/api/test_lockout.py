"""Lockout after failed logins, for a name from an address, in the API and the admin."""

from datetime import timedelta

import pytest
from axes.models import AccessAttempt, AccessLog
from django.contrib.auth import hashers
from django.contrib.auth.models import User
from django.db.models import F
from django.test import Client

from api.tasks import purge_logins

pytestmark = pytest.mark.django_db(databases="__all__")

TOKEN = "/api/v1/auth/token/"
ADMIN = "/admin/login/"
RIGHT = "correct horse"
HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def three_tries(settings, ada):
    """Three failed logins lock out; Ada may log in to the admin."""
    settings.AXES_FAILURE_LIMIT = 3
    User.objects.update(is_staff=True)


def token(username, password, *, address=HERE, agent="x"):
    body = {"username": username, "password": password}
    client = Client(
        REMOTE_ADDR=address, headers={"User-Agent": agent}, raise_request_exception=False
    )
    return client.post(TOKEN, body, content_type="application/json")


def admin(username, password, *, address=HERE):
    body = {"username": username, "password": password}
    return Client(REMOTE_ADDR=address, raise_request_exception=False).post(ADMIN, body)


def lock(username="ada", times=3):
    return [token(username, "wrong").status_code for _ in range(times)]


def test_after_some_failures_even_the_right_password_is_told_to_wait():
    assert lock() == [401, 401, 429]
    answer = token("ada", RIGHT)
    assert (answer.status_code, answer.json()["type"]) == (429, "/errors/too-many-failed-logins")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert 0 < int(answer.headers["Retry-After"]) <= 900


def test_the_real_user_gets_in_from_elsewhere():
    lock()
    assert token("ada", RIGHT, address=ELSEWHERE).status_code == 200


def test_other_users_get_in_from_there():
    lock("bob")
    assert token("ada", RIGHT).status_code == 200


def test_another_browser_is_no_way_around():
    assert [token("ada", "wrong", agent=str(number)).status_code for number in range(3)] == [
        401,
        401,
        429,
    ]


def test_a_name_that_nobody_has_is_answered_word_for_word_the_same():
    known = [token("ada", "wrong") for _ in range(4)]
    unknown = [token("nobody", "wrong") for _ in range(4)]
    inactive = User.objects.create_user("gone", password=RIGHT, is_active=False)
    gone = [token(inactive.username, RIGHT) for _ in range(4)]
    assert [(one.status_code, one.content) for one in known] == [
        (one.status_code, one.content) for one in unknown
    ]
    assert [(one.status_code, one.content) for one in known] == [
        (one.status_code, one.content) for one in gone
    ]


@pytest.mark.parametrize("username", ["ada", "nobody"])
def test_a_name_that_nobody_has_costs_as_much_work(monkeypatch, username):
    hashed: list[str] = []
    encode = hashers.MD5PasswordHasher.encode

    def noted(self, password, *args):
        hashed.append(password)
        return encode(self, password, *args)

    monkeypatch.setattr(hashers.MD5PasswordHasher, "encode", noted)
    token(username, "wrong")
    assert hashed == ["wrong"]


def test_who_gets_in_begins_anew():
    lock(times=2)
    assert token("ada", RIGHT).status_code == 200
    assert lock(times=2) == [401, 401]


def test_the_door_opens_again_after_the_cool_off(settings):
    lock()
    AccessAttempt.objects.update(
        attempt_time=F("attempt_time") - settings.AXES_COOLOFF_TIME - timedelta(seconds=1)
    )
    assert token("ada", RIGHT).status_code == 200


def test_who_keeps_trying_is_not_kept_out_longer_and_not_written_down():
    lock()
    before = list(AccessAttempt.objects.values())
    assert lock(times=5) == [429] * 5
    assert list(AccessAttempt.objects.values()) == before


def test_the_admin_closes_as_well_and_says_when_to_come_back():
    assert [admin("ada", "wrong").status_code for _ in range(3)] == [200, 200, 429]
    answer = admin("ada", RIGHT)
    assert (answer.status_code, answer.headers["Content-Type"]) == (
        429,
        "text/plain; charset=utf-8",
    )
    assert 0 < int(answer.headers["Retry-After"]) <= 900
    assert admin("ada", RIGHT, address=ELSEWHERE).status_code == 302


def test_failures_in_the_admin_and_in_the_api_add_up():
    assert [token("ada", "wrong").status_code, admin("ada", "wrong").status_code] == [401, 200]
    assert token("ada", "wrong").status_code == 429


def test_neither_passwords_nor_csrf_tokens_are_written_down():
    client = Client(REMOTE_ADDR=HERE)
    client.post(
        f"{ADMIN}?password=hunter2",
        {"username": "ada", "password": "hunter2", "csrfmiddlewaretoken": "secret"},
    )
    token("ada", "hunter2")
    written = str(list(AccessAttempt.objects.values()))
    assert "hunter2" not in written
    assert "secret" not in written
    assert AccessLog.objects.count() == 0


def test_failures_of_long_ago_are_purged(settings):
    lock(times=1)
    AccessAttempt.objects.update(
        attempt_time=F("attempt_time") - settings.AXES_COOLOFF_TIME - timedelta(seconds=1)
    )
    lock("bob", times=1)
    purge_logins()
    assert [attempt.username for attempt in AccessAttempt.objects.all()] == ["bob"]


@pytest.mark.parametrize("address", ["", "not an address", "2001:db8::1"])
def test_whatever_the_address_looks_like_a_failure_is_no_error_of_ours(address):
    assert token("ada", "wrong", address=address).status_code == 401
