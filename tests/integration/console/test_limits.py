"""Operators limit the calls to an outside system, and the log of staff keeps each change."""

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from payments.models import CallLimit
from sagas.definition.limits import Limit
from sagas.storage import call_limits
from sagas.storage.registry import get_service
from staff.models import LogEntry
from tests.integration.console.operators import member

pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)


def post(client, **fields):
    form = {"service": "payments", "key": "stripe", "reason": "Stripe asks for it.", **fields}
    return client.post(reverse("console:limit_calls"), form, follow=True)


def test_an_operator_sets_a_limit_and_the_page_and_the_log_show_it(admin_client):
    page = post(admin_client, per_second="20", at_once="")
    assert "stripe has at most 20 calls per second." in page.content.decode()
    row = CallLimit.objects.get()
    assert (row.key, row.per_second, row.at_once, row.by) == ("stripe", 20, None, "admin")
    entries = LogEntry.objects.filter(action="limit_calls").order_by("id")
    assert [(entry.what, entry.subject, entry.why) for entry in entries] == [
        ("intended", "payments: stripe", "Stripe asks for it."),
        ("done", "payments: stripe", "Stripe asks for it."),
    ]


def test_the_default_holds_again_on_request(admin_client):
    post(admin_client, at_once="2")
    page = post(admin_client, action="default")
    assert "The default limit of stripe holds again." in page.content.decode()
    assert call_limits.listed(get_service("payments")) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"per_second": "0"},
        {"per_second": "many"},
        {"reason": ""},
        {"key": ""},
        {"service": "elsewhere"},
        {"action": "default"},
    ],
)
def test_a_limit_that_makes_no_sense_is_rejected_in_words(admin_client, fields):
    page = post(admin_client, **fields)
    assert page.status_code == 200
    assert [each.level_tag for each in page.context["messages"]] == ["error"]
    assert not CallLimit.objects.exists()


class TestRights:
    """A lower limit is a brake. A higher one lets more calls start, as the release of a step."""

    @pytest.fixture(autouse=True)
    def stripe_has_a_default(self, settings):
        settings.STRIPE_API_BASE = "https://api.stripe.com"
        settings.STRIPE_API_KEY = "sk_live_none"  # 40 orders a second

    @pytest.fixture
    def limited(self):
        """Limits of `stripe` and of the merchants of `bank` that another operator has set."""
        payments = get_service("payments")
        for key in ("stripe", "bank/*"):
            call_limits.set_limit(payments, key, Limit(per_second=10, at_once=2), by="x", why="x")

    LOWER = (
        {"per_second": "9", "at_once": "2"},
        {"per_second": "10", "at_once": "1"},
        {"key": "bank/merchant-7", "per_second": "10", "at_once": "2"},
        {"key": "bank", "at_once": "50"},
        {"key": "bank/*", "per_second": "1", "at_once": "1"},
    )
    HIGHER = (
        {"per_second": "11", "at_once": "2"},
        {"per_second": "5", "at_once": ""},
        {"per_second": "", "at_once": ""},
        {"action": "default"},
        {"key": "bank/merchant-7", "per_second": "11", "at_once": "2"},
        {"key": "bank/*", "action": "default"},
        {"key": "branch/*", "per_second": "1"},
    )

    @pytest.mark.parametrize("fields", LOWER)
    def test_an_operator_lowers_a_limit(self, operator, limited, fields):
        page = post(operator, **fields)
        assert [each.level_tag for each in page.context["messages"]] == ["success"]
        assert CallLimit.objects.filter(by="olga").exists()

    @pytest.mark.parametrize("fields", HIGHER)
    def test_an_operator_cannot_raise_a_limit_and_the_log_has_the_attempt(
        self, operator, limited, fields
    ):
        before = [*CallLimit.objects.order_by("id").values()]
        assert post(operator, **fields).status_code == 403
        assert [*CallLimit.objects.order_by("id").values()] == before
        entry = LogEntry.objects.get()
        assert (entry.who, entry.what, entry.action) == ("olga", "refused", "raise_limit")

    @pytest.mark.parametrize("fields", HIGHER)
    def test_an_approver_raises_a_limit(self, client, limited, fields):
        client.force_login(member("anna", "approver"))
        page = post(client, **fields)
        assert [each.level_tag for each in page.context["messages"]] == ["success"]
        entries = LogEntry.objects.filter(action="raise_limit").order_by("id")
        assert [entry.what for entry in entries] == ["intended", "done"]

    def test_the_default_of_a_key_counts_as_its_limit(self, operator):
        assert post(operator, per_second="41").status_code == 403
        assert post(operator, per_second="40").status_code == 200
        assert CallLimit.objects.get().per_second == 40

    def test_an_operator_may_use_a_default_again_that_is_no_higher(self, operator):
        call_limits.set_limit(get_service("payments"), "stripe", Limit(), by="x", why="x")
        assert post(operator, action="default").status_code == 200
        assert call_limits.listed(get_service("payments")) == []

    def test_the_page_says_that_raising_takes_an_approver(self, operator, client):
        page = operator.get(reverse("console:holds")).content.decode()
        assert "Raising or removing a limit takes an approver." in page
        client.force_login(member("anna", "approver"))
        assert "takes an approver" not in client.get(reverse("console:holds")).content.decode()

    def test_a_person_without_any_permission_learns_nothing_from_a_wrong_form(self, client):
        client.force_login(member("vera", "viewer"))
        assert post(client, service="elsewhere").status_code == 403
        assert LogEntry.objects.get().what == "refused"


def test_limits_that_cannot_be_read_are_unknown(admin_client, renamed, capsys):
    call_limits.set_limit(
        get_service("inventory"), "inventory.reserve", Limit(at_once=1), by="x", why="x"
    )
    renamed("payments", "payments_calllimit")
    page = admin_client.get(reverse("console:holds")).content.decode()
    assert (
        "The database of payments does not answer: its holds and limits are missing here." in page
    )
    assert "inventory.reserve" in page

    with pytest.raises(CommandError, match="The database of payments does not answer") as failed:
        call_command("limit_calls")
    assert failed.value.returncode == 2
    assert "inventory inventory.reserve: - per second, 1 at once" in capsys.readouterr().out

    call_limits.remove(get_service("inventory"), "inventory.reserve")
    page = admin_client.get(reverse("console:holds")).content.decode()
    assert "Unknown whether a limit is set or reached." in page
    assert "No limit is set or reached." not in page


def test_the_command_says_that_a_reached_limit_is_the_default(capsys):
    call_limits.set_limit(get_service("payments"), "stripe", Limit(), by="", why="")
    CallLimit.objects.update(reached_at="2999-01-01T00:00:00Z")
    call_command("limit_calls")
    assert capsys.readouterr().out == "payments stripe: default reached\n"


def test_a_reached_limit_is_shown_though_no_operator_has_set_it(admin_client):
    call_limits.set_limit(get_service("payments"), "stripe", Limit(), by="", why="")
    CallLimit.objects.update(reached_at="2999-01-01T00:00:00Z")
    page = admin_client.get(reverse("console:holds")).content.decode()
    assert "<strong>reached</strong>" in page


def test_the_command_sets_and_lists_limits(capsys):
    call_command("limit_calls", "payments", "stripe", per_second=20, reason="Stripe asks for it.")
    call_command("limit_calls")
    assert "payments stripe: 20 per second, - at once, by shell:" in capsys.readouterr().out
    assert LogEntry.objects.filter(action="limit_calls", via="command").count() == 2
    with pytest.raises(CommandError, match="Give a reason"):
        call_command("limit_calls", "payments", "stripe", per_second=20)
