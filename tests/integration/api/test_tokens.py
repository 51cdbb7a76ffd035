"""Tokens: issued for a password or by an operator, valid for thirty days, stored as digests."""

from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from django.test import Client
from knox.models import AuthToken

from api.auth import tokens as token_module
from api.auth.tokens import TOKEN_LIFETIME, issue_token
from api.tasks import purge_logins

TOKEN = "/api/v1/auth/token/"
ORDERS = "/api/v1/orders/"
JSON = "application/json"


def ask(http, **body):
    return http.post(TOKEN, body, content_type=JSON)


def status_with(authorization):
    return (
        Client(raise_request_exception=False)
        .get(ORDERS, headers={"Authorization": authorization})
        .status_code
    )


def test_a_name_and_a_password_get_a_token_that_opens_the_api(ada, http):
    answer = ask(http, username="ada", password="correct horse")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert status_with(f"Bearer {answer.json()['token']}") == 200
    assert status_with(f"bearer {answer.json()['token']}") == 200


@pytest.mark.parametrize(
    "given", [{"username": "ada", "password": "wrong"}, {"username": "bob", "password": "x"}]
)
def test_a_wrong_name_or_password_gets_none_and_both_look_alike(ada, http, given):
    answer = ask(http, **given)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["detail"] == "No active user has this name and password."


def test_who_is_not_active_gets_no_token_and_their_tokens_are_void(ada, http):
    token = issue_token(ada)
    ada.is_active = False
    ada.save()
    assert ask(http, username="ada", password="correct horse").status_code == 401
    assert status_with(f"Bearer {token}") == 401


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"username": "ada"},
        {"username": "ada", "password": 1},
        {"username": "", "password": "x"},
        {"username": "a\0", "password": "x"},
        {"username": "ada", "password": "x" * 1025},
        {"username": "ada", "password": "x", "admin": True},
    ],
    ids=repr,
)
def test_what_is_no_name_and_password_is_refused(ada, http, given):
    assert ask(http, **given).status_code == 400


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer x",
        "Bearer x y",
        "Basic YTpi",
        "Token x",
        "Bearer \xff\xfe",
        "Bearer " + "x" * 5000,
        "Bearer \0",
    ],
)
def test_what_is_no_token_opens_nothing(db, authorization):
    assert status_with(authorization) == 401


def test_a_token_ends_after_thirty_days(ada):
    token = issue_token(ada)
    row = AuthToken.objects.get()
    assert abs(row.expiry - row.created - timedelta(days=30)) < timedelta(seconds=5)
    assert timedelta(days=30) == TOKEN_LIFETIME
    AuthToken.objects.update(expiry=Now())
    assert status_with(f"Bearer {token}") == 401


def test_a_revoked_token_opens_nothing_and_the_others_still_do(ada):
    revoked = issue_token(ada)
    AuthToken.objects.all().delete()
    kept = issue_token(ada)
    assert (status_with(f"Bearer {revoked}"), status_with(f"Bearer {kept}")) == (401, 200)


def test_the_database_holds_no_token_that_could_be_used(ada):
    token = issue_token(ada)
    assert len(token) * 4 == 256
    (row,) = AuthToken.objects.values("digest", "token_key")
    assert token not in row.values()
    assert status_with(f"Bearer {row['digest']}") == 401


def test_a_request_costs_one_query_for_its_token_and_writes_nothing(
    ada, ada_http, django_assert_num_queries
):
    AuthToken.objects.create(user=ada, expiry=timedelta(seconds=-1))
    with django_assert_num_queries(2):  # the token, an empty list
        ada_http.get(ORDERS)
    assert AuthToken.objects.count() == 2


def test_an_operator_makes_a_token(ada):
    out = StringIO()
    call_command("create_token", "ada", "--days=1", stdout=out)
    assert status_with(f"Bearer {out.getvalue().strip()}") == 200
    row = AuthToken.objects.get()
    assert abs(row.expiry - row.created - timedelta(days=1)) < timedelta(seconds=5)


def test_an_operator_is_told_of_a_user_that_is_not_there(db):
    with pytest.raises(CommandError, match="No active user 'bob'"):
        call_command("create_token", "bob")


def test_a_token_must_live_for_a_day_at_least(ada):
    with pytest.raises(CommandError, match="1 or more"):
        call_command("create_token", "ada", "--days=0")


def test_the_token_in_use_can_be_revoked_and_the_others_still_open_the_api(ada):
    used, kept = issue_token(ada), issue_token(ada)
    answer = Client().delete(TOKEN, headers={"Authorization": f"Bearer {used}"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert (status_with(f"Bearer {used}"), status_with(f"Bearer {kept}")) == (401, 200)


def test_all_tokens_of_a_user_can_be_revoked_and_those_of_others_stay(ada):
    used, other = issue_token(ada), issue_token(ada)
    bobs = issue_token(User.objects.create_user("bob"))
    assert (
        Client()
        .delete("/api/v1/auth/tokens/", headers={"Authorization": f"Bearer {used}"})
        .status_code
        == 204
    )
    assert [status_with(f"Bearer {token}") for token in (used, other, bobs)] == [401, 401, 200]


def test_an_operator_revokes_all_tokens_of_a_user(ada):
    token = issue_token(ada)
    out = StringIO()
    call_command("revoke_tokens", "ada", stdout=out)
    assert out.getvalue() == "1 tokens revoked.\n"
    assert status_with(f"Bearer {token}") == 401
    with pytest.raises(CommandError):
        call_command("revoke_tokens", "nobody")


def test_the_oldest_token_ends_when_there_are_too_many(ada, monkeypatch):
    monkeypatch.setattr(token_module, "MAX_TOKENS_PER_USER", 2)
    tokens = [issue_token(ada) for _ in range(3)]
    assert [status_with(f"Bearer {token}") for token in tokens] == [401, 200, 200]


def test_expired_tokens_are_purged_and_the_others_kept(ada):
    issue_token(ada)
    AuthToken.objects.update(expiry=Now())
    kept = issue_token(ada)
    assert purge_logins() == 1
    assert AuthToken.objects.count() == 1
    assert status_with(f"Bearer {kept}") == 200
