"""Changes of users and groups are in the log; a new password or a deactivation ends access."""

import sys
from io import StringIO

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.test import Client
from knox.models import AuthToken

from api.auth.tokens import issue_token
from staff.models import LogEntry

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

RIGHT, NEW = "correct horse", "battery staple 9"


@pytest.fixture
def admin(client):
    boss = User.objects.create_superuser("boss", password=RIGHT)
    client.force_login(boss)
    return client


@pytest.fixture
def olga():
    return User.objects.create_user("olga", password=RIGHT, is_staff=True)


@pytest.fixture
def shell(monkeypatch):
    """Let this process be a command."""
    monkeypatch.setattr(sys, "argv", ["manage.py", "shell"])


def logged():
    return list(
        LogEntry.objects.order_by("seq").values_list("who", "action", "subject", "outcome", "via")
    )


def form_of(user, **changed):
    joined = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    flags = {name: "on" for name in ("is_active", "is_staff") if getattr(user, name)}
    fields = {"username": user.username, **flags, **joined, **changed}
    return {name: value for name, value in fields.items() if value is not None}


class TestLog:
    def test_a_change_in_the_admin_is_logged_with_old_and_new_rights(self, admin, olga):
        group = Group.objects.create(name="payers")
        page = f"/admin/auth/user/{olga.pk}/change/"
        answer = admin.post(page, form_of(olga, is_superuser="on", groups=[group.pk]))
        assert answer.status_code == 302
        assert logged() == [
            ("boss", "change_user", f"user {olga.pk}", "olga: is_superuser: no → yes.", "admin"),
            (
                "boss",
                "change_permissions",
                f"user {olga.pk}",
                "olga: groups added: payers.",
                "admin",
            ),
        ]

    def test_the_page_of_a_group_is_logged(self, admin):
        group = Group.objects.create(name="payers")
        right = Permission.objects.get(codename="approve_run")
        admin.post(
            f"/admin/auth/group/{group.pk}/change/", {"name": "payers", "permissions": [right.pk]}
        )
        expected = "payers: permissions added: console.approve_run."
        assert ("boss", "change_permissions", f"group {group.pk}", expected, "admin") in logged()

    def test_members_who_are_put_into_a_group_are_logged(self, shell, olga):
        group = Group.objects.create(name="payers")
        group.user_set.add(olga)
        group.user_set.clear()
        outcomes = [entry[3] for entry in logged()[-2:]]
        assert outcomes == [f"payers: users added: {olga.pk}.", "payers: users all removed."]

    def test_a_deletion_is_logged(self, admin, olga):
        number = olga.pk
        admin.post(f"/admin/auth/user/{number}/delete/", {"post": "yes"})
        assert ("boss", "delete_user", f"user {number}", "olga: Deleted.", "admin") in logged()

    def test_users_and_passwords_of_the_commands_are_logged(self, shell, monkeypatch):
        monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", NEW)
        call_command("createsuperuser", "--noinput", "--username", "root", "--email", "r@x.org")
        monkeypatch.setattr("getpass.getpass", lambda **_: NEW + "1")
        call_command("changepassword", "root", stdout=StringIO())
        rows = logged()
        assert [row[1] for row in rows] == ["add_user", "change_user"]
        assert rows[1][3] == "root: password changed."
        assert all(row[0].startswith("shell:") and row[4] == "command" for row in rows)
        assert LogEntry.objects.exclude(address="").count() == 2

    def test_a_customer_is_not_named_and_private_values_are_left_out(self, shell):
        carl = User.objects.create_user("carl", email="carl@example.org")
        carl.email, carl.username, carl.is_active = "other@example.org", "karl", False
        carl.save()
        text = str(list(LogEntry.objects.values()))
        assert "is_active: yes → no; email changed" in text
        assert "carl" not in text
        assert "karl" not in text
        assert "other@" not in text

    def test_a_login_changes_no_user(self, shell, olga):
        before = len(logged())
        User.objects.get(pk=olga.pk).save(update_fields=["last_login"])
        assert len(logged()) == before


def is_in(browser):
    return browser.get("/admin/").status_code == 200


def token_works(token):
    answer = Client(headers={"Authorization": f"Bearer {token}"}).get("/api/v1/orders/")
    return answer.status_code == 200


class TestAccess:
    @pytest.fixture
    def browser(self, olga):
        browser = Client()
        browser.force_login(olga)
        assert is_in(browser)
        return browser

    @pytest.fixture
    def token(self, olga):
        return issue_token(olga)

    def ended(self, browser, token):
        return (is_in(browser), token_works(token)) == (False, False)

    def test_a_new_password_from_the_admin_ends_sessions_and_tokens(
        self, admin, olga, browser, token
    ):
        page = f"/admin/auth/user/{olga.pk}/password/"
        fields = {"password1": NEW, "password2": NEW, "usable_password": "true"}
        assert admin.post(page, fields).status_code == 302
        assert self.ended(browser, token)
        assert is_in(admin)

    def test_a_new_password_from_the_command_ends_them(self, olga, browser, token, monkeypatch):
        monkeypatch.setattr("getpass.getpass", lambda **_: NEW)
        call_command("changepassword", "olga", stdout=StringIO())
        assert self.ended(browser, token)

    def test_a_hash_that_is_stored_ends_them(self, olga, browser, token):
        olga.password = make_password(NEW)
        olga.save(update_fields=["password"])
        assert self.ended(browser, token)

    def test_a_deactivated_user_stays_out_after_the_next_activation(self, olga, browser, token):
        olga.is_active = False
        olga.save()
        olga.is_active = True
        olga.save()
        assert self.ended(browser, token)

    def test_other_users_stay_in(self, admin, olga, token):
        other = issue_token(User.objects.create_user("carl"))
        olga.set_password(NEW)
        olga.save()
        assert is_in(admin)
        assert token_works(other)
        assert not AuthToken.objects.filter(user=olga).exists()

    def test_a_member_of_staff_with_a_new_password_stays_in_at_this_browser_only(
        self, olga, browser, token
    ):
        elsewhere = Client()
        elsewhere.force_login(olga)
        fields = {"old_password": RIGHT, "new_password1": NEW, "new_password2": NEW}
        assert browser.post("/admin/password_change/", fields).status_code == 302
        assert is_in(browser)
        assert self.ended(elsewhere, token)

    def test_a_login_that_stores_the_password_with_a_new_algorithm_ends_nothing(
        self, olga, token, settings
    ):
        settings.PASSWORD_HASHERS = [
            "django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher",
            *settings.PASSWORD_HASHERS,
        ]
        before = User.objects.get(pk=olga.pk).password
        assert User.objects.get(pk=olga.pk).check_password(RIGHT)
        assert User.objects.get(pk=olga.pk).password != before
        assert token_works(token)
