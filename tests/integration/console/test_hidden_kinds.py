"""Every door to a saga asks for the permission to view its kind, beside that of the action."""

from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.urls import reverse
from django_celery_results.models import TaskResult

from console.admin.filters import FailureFilter
from console.bulk_actions import runs
from console.bulk_actions.results import NotAllowed
from console.failures.grouping import current_failures
from console.models import Run
from returns.events import ReturnApproved
from returns.models import Return
from returns.saga import RETURN_GOODS
from returns.services import give_goodwill
from sagas.ids import uuid7
from sagas.operations import holds
from sagas.storage.registry import get_service
from sagas.testing import story
from staff.models import LogEntry
from staff.policy import NotPermitted
from staff.signals import answer_wait
from tests.integration.console.conftest import client_of
from tests.integration.console.operators import confirmed, member, paid, stuck
from tests.integration.returns.factories import APPROVE, fulfilled_order, propose
from tests.integration.sagas.waits import REVIEW, to_review
from tests.integration.test_message_admin import received, sent
from tests.trips.harness import row
from tests.trips.models import Trip

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("flushed"),
]

NEEDS_ORDERS, NEEDS_TRIPS = "orders.view_order", "trips.view_trip"
GOODWILL = {"amount": "5", "reason": "It came late."}
ANSWER = {"type": "trip.reviewed", "data": '{"score": 7}', "reason": "I know her."}
TO_RUN = ("view_run", "add_run", "approve_run", "pause_step", "hold_step")


@pytest.fixture(autouse=True)
def _no_messages(monkeypatch):
    monkeypatch.setattr("sagas.waits.request_flush", lambda service: None)
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)


@pytest.fixture
def tess():
    """The client of a user who may act on sagas, and view trips only."""
    return client_of("tess", "view_trip", *TO_RUN)


def person(name):
    return User.objects.get(username=name)


def refusals(**columns):
    return LogEntry.objects.filter(what="refused", **columns)


@pytest.mark.parametrize("permissions", [(), ("view_order",), ("view_return",)])
def test_a_form_needs_the_view_of_the_saga_and_of_the_kind_that_it_starts(permissions):
    order = fulfilled_order("MUG")
    page = reverse("console:propose", args=[order.pk, "goodwill"])
    gil = client_of("gil", "give_goodwill", *permissions)
    for answer in (gil.get(page), gil.post(page, GOODWILL)):
        assert answer.status_code == 403
        assert "25.00" not in answer.content.decode()
    assert refusals(action="give_goodwill", order_id=order.pk, who="gil").exists()
    assert not Return.objects.exists()


def test_the_page_of_a_saga_offers_no_form_of_a_hidden_kind():
    order = fulfilled_order("MUG")
    page = reverse("admin:orders_order_change", args=[order.pk])
    offered = "propose/goodwill"
    both = client_of("bea", "give_goodwill", "view_order", "view_return")
    assert offered in both.get(page).content.decode()
    assert offered not in client_of("gil", "give_goodwill", "view_order").get(page).content.decode()


def test_goodwill_for_a_hidden_order_is_refused_by_the_service():
    order = fulfilled_order("MUG")
    client_of("gil", "give_goodwill", "view_return")
    with pytest.raises(NotPermitted, match=NEEDS_ORDERS):
        give_goodwill(person("gil"), order_id=order.pk, amount=500, reason="Late.", via="api")
    assert refusals(action="give_goodwill", order_id=order.pk).exists()


def test_a_wait_of_a_hidden_saga_is_not_shown_or_answered():
    [trip] = to_review()
    page = reverse("console:saga_signal", args=[trip, REVIEW])
    sid = client_of("sid", "add_run", "view_order")
    assert sid.get(page).status_code == 403
    assert sid.post(page, ANSWER).status_code == 403
    assert row(trip, REVIEW).signal is None
    assert refusals(action="signal", order_id=trip, outcome__contains=NEEDS_TRIPS).exists()


def test_an_answer_of_a_person_who_may_not_view_the_saga_is_refused_by_the_service():
    goodwill = story(RETURN_GOODS, lambda: propose(fulfilled_order("MUG"), 100)).run()
    client_of("sid", "approve_return", "view_order")
    with pytest.raises(NotPermitted, match=r"returns\.view_return"):
        answer_wait(
            person("sid"), goodwill.tracked, APPROVE, ReturnApproved(), why="x", via="console"
        )
    goodwill.run().expect(ended=None, waiting=[APPROVE])


@pytest.mark.parametrize(
    ("address", "form"),
    [
        ("saga_act", {"action": "retry"}),
        ("saga_act", {"action": "no_such_action"}),
        ("saga_by_hand", {"step": "payments.refund"}),
        ("saga_by_hand", {"step": "no.such.step"}),
    ],
)
def test_a_button_of_a_hidden_saga_drafts_nothing(tess, address, form):
    order = stuck()
    answer = tess.post(reverse(f"console:{address}", args=[order.pk]), form)
    assert answer.status_code == 403
    assert not Run.objects.exists()


def test_a_run_over_hidden_sagas_is_neither_drafted_nor_confirmed(tess):
    order, user = stuck(), person("tess")
    with pytest.raises(NotAllowed, match=NEEDS_ORDERS):
        runs.draft("retry", [order.pk], by=user)
    with pytest.raises(NotAllowed, match=NEEDS_ORDERS):
        runs.request("retry", order.pk, by=user, reason="x", via="api")
    assert not Run.objects.exists()

    drafted = Run.objects.create(action="retry", requested_by=user)
    drafted.items.create(order_id=order.pk)
    with pytest.raises(NotAllowed, match=NEEDS_ORDERS):
        runs.confirm(drafted.id, by=user, reason="x", fingerprint="")
    answer = tess.post(reverse("console:confirm", args=[drafted.id]), {"reason": "x"})
    assert answer.status_code == 403
    assert Run.objects.get().state == Run.State.DRAFT


def test_a_run_over_a_saga_that_no_home_has_needs_the_view_of_all_kinds(tess, olga):
    with pytest.raises(NotAllowed, match="view_"):
        runs.draft("retry", [uuid7()], by=person("tess"))
    assert runs.draft("retry", [uuid7()], by=olga).items.count() == 1


def test_a_step_of_hidden_sagas_is_not_put_on_hold_or_released(tess):
    holds.hold(get_service("payments"), step="payments.charge", by="olga", why="Ask first.")
    for action, step in (("hold_step", "payments.refund"), ("release_step", "payments.charge")):
        answer = tess.post(reverse("console:hold_step"), {"action": action, "step": step})
        assert answer.status_code == 403
    assert not Run.objects.exists()
    with pytest.raises(NotAllowed, match=NEEDS_ORDERS):
        runs.draft_for_step("hold_step", "payments.refund", by=person("tess"))


def test_a_step_that_sagas_of_a_hidden_kind_share_is_shown_without_its_buttons(tess):
    holds.hold(get_service("trips"), step="trips.pay", by="olga", why="Ask first.")
    page = tess.get(reverse("console:holds"))
    assert [held.step for held in page.context["holds"].steps] == ["trips.pay"]
    assert "release_step" not in page.content.decode()
    assert not page.context["free"]
    both = client_of("bea", "view_trip", "view_cruise", *TO_RUN).get(reverse("console:holds"))
    assert "release_step" in both.content.decode()
    assert "trips.book" in both.context["free"]


def test_the_page_of_a_run_over_hidden_sagas_is_not_shown(tess, olga):
    run = runs.draft("cancel", [paid().id], by=olga)
    for page in ("admin:console_run_change", "console:progress"):
        assert tess.get(reverse(page, args=[run.id])).status_code == 403
    assert tess.get(reverse("admin:console_run_changelist")).status_code == 200


def test_a_run_over_hidden_sagas_is_not_decided_on(tess, olga):
    waiting = confirmed("cancel", paid(200_000), by=olga)
    for decision in ("approve", "decline"):
        answer = tess.post(reverse(f"console:{decision}", args=[waiting.id]), {"seen": ""})
        assert answer.status_code == 403
        given = {"fingerprint": runs.preview(waiting).fingerprint} if decision == "approve" else {}
        with pytest.raises(NotAllowed, match=NEEDS_ORDERS):
            getattr(runs, decision)(waiting.id, by=person("tess"), **given)
    assert Run.objects.get().state == Run.State.AWAITING


def test_a_run_is_not_approved_for_a_requester_who_may_no_longer_view_its_sagas(olga, anna):
    waiting = confirmed("cancel", paid(200_000), by=olga)
    olga.groups.clear()
    client_of("olga", "add_run")
    seen = runs.preview(waiting).fingerprint
    with pytest.raises(NotAllowed, match="no longer has permission"):
        runs.approve(waiting.id, by=anna, fingerprint=seen)


def test_the_command_refuses_a_hidden_saga(tess):
    order = stuck()
    for target in ([str(order.pk)], ["--step", "payments.charge"]):
        with pytest.raises(CommandError, match=NEEDS_ORDERS):
            call_command(
                "saga", "hold", *target, "--by", "tess", "--reason", "x", "--yes", stdout=StringIO()
            )
    assert not Run.objects.exists()


@pytest.mark.parametrize("write", [sent, received])
def test_the_messages_of_hidden_sagas_are_not_listed_found_or_shown(write):
    tables = {sent: "outbox", received: "inbox"}
    hidden = write("payments", step="payments.charge")
    page = f"/admin/payments/{tables[write]}/"
    vera = client_of("vera", f"view_{tables[write]}", "view_return")
    for query in ("", f"?q={hidden.saga}", "?q=payments"):
        assert vera.get(page + query).context["cl"].result_count == 0
    assert vera.get(f"{page}{hidden.pk}/change/").status_code != 200
    assert b"view_order" in vera.get(page).content

    shown = write("returns", step="returns.close")
    page = page.replace("payments", "returns")
    assert [each.pk for each in vera.get(page).context["cl"].result_list] == [shown.pk]
    assert vera.get(f"{page}{shown.pk}/change/").status_code == 200


def test_an_action_of_a_list_of_messages_drafts_nothing_for_hidden_sagas():
    message = received("payments", step="payments.charge")
    mel = client_of("mel", "view_inbox", "view_return", "add_run")
    data = {"action": "try_now", "_selected_action": [str(message.pk)]}
    mel.post("/admin/payments/inbox/", data)
    assert not Run.objects.exists()


def test_failed_tasks_of_hidden_sagas_are_not_listed_or_shown():
    meta = '{"sagas": ["%s"], "step": "%s", "count": 1}'
    order = TaskResult.objects.create(
        task_id="a", status="FAILURE", meta=meta % (uuid7(), "payments.charge")
    )
    returned = TaskResult.objects.create(
        task_id="b", status="FAILURE", meta=meta % (uuid7(), "returns.close")
    )
    general = TaskResult.objects.create(task_id="c", status="FAILURE", meta="{}")
    timeline = TaskResult.objects.create(
        task_id="d", status="FAILURE", meta=meta % (stuck().pk, "")
    )
    vera = client_of("vera", "view_taskresult", "view_return")
    page = reverse("admin:django_celery_results_taskresult_changelist")
    listed = {task.pk for task in vera.get(page).context["cl"].result_list}
    assert listed == {returned.pk, general.pk, timeline.pk}
    assert b"view_order" in vera.get(page).content

    def shown(task):
        name = "admin:django_celery_results_taskresult_change"
        return vera.get(reverse(name, args=[task.pk])).status_code == 200

    tasks = (order, returned, general, timeline)
    assert [shown(task) for task in tasks] == [False, True, True, False]


def test_the_filter_by_failure_names_no_failure_of_a_hidden_kind(tess):
    stuck()
    [group] = current_failures().groups
    page = f"{reverse('admin:trips_trip_changelist')}?show=all&failure={group.key}"
    [spec] = [
        each
        for each in tess.get(page).context["cl"].filter_specs
        if isinstance(each, FailureFilter)
    ]
    assert spec.lookup_choices == []


def test_the_deletion_of_a_customer_names_no_hidden_saga():
    order = stuck()
    customer = order.user_id
    page = reverse("admin:auth_user_delete", args=[customer])
    users = reverse("admin:auth_user_changelist")
    several = {"action": "delete_selected", "_selected_action": [str(customer)]}
    ursula = client_of("ursula", "delete_user", "view_user")
    for answer in (ursula.get(page), ursula.post(users, several)):
        assert answer.status_code == 200
        assert str(order.pk) not in answer.content.decode()


def test_a_default_group_sees_and_does_all_of_it(client, olga, anna):
    [trip] = to_review()
    client.force_login(member("otto", "operator"))
    assert client.get(reverse("console:saga_signal", args=[trip, REVIEW])).status_code == 200
    assert Trip.objects.filter(pk=trip).exists()
    order = fulfilled_order("MUG")
    page = reverse("console:propose", args=[order.pk, "goodwill"])
    assert "25.00 EUR" in client.post(page, GOODWILL).content.decode()
    run = runs.draft("retry", [stuck().pk], by=olga)
    client.force_login(anna)
    assert client.get(reverse("admin:console_run_change", args=[run.id])).status_code == 200
