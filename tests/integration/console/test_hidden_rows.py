"""A user who may view some kinds of sagas sees no row that a saga of another kind may have.

A saga keeps its plan. So old sagas have steps that no plan of this release declares, and such a
step may be of any kind. So may a saga that no home has, or whose home does not answer.
"""

import re
from contextlib import ExitStack, contextmanager
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connections
from django.urls import reverse
from django_celery_results.models import TaskResult

from console.approvals import SHOWN, notices_for
from console.bulk_actions import runs
from console.bulk_actions.results import NotAllowed
from console.models import Run
from console.saga_pages import find_kinds
from sagas.ids import uuid7
from sagas.operations import holds
from sagas.storage.registry import get_service
from staff.models import LogEntry
from tests.integration.console.conftest import client_of, count_queries
from tests.integration.console.operators import stuck
from tests.integration.returns.factories import fulfilled_order, propose
from tests.integration.sagas.waits import to_review
from tests.integration.test_message_admin import received, sent

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("flushed"),
]

# A step of an earlier release.
OLD = "payments.settle_by_fax"
LOOKUP = re.compile(r'FROM "(orders_order|returns_return|trips_trip|trips_cruise)" WHERE .* IN \(')


@pytest.fixture(autouse=True)
def _no_messages(monkeypatch):
    monkeypatch.setattr("sagas.waits.request_flush", lambda service: None)
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)


@pytest.fixture
def vera():
    """The client of a user who may view returns only, with their messages and failed tasks."""
    return client_of("vera", "view_inbox", "view_outbox", "view_return", "view_taskresult")


@pytest.fixture
def rosa():
    """The client of a user who may act on sagas, and view returns only."""
    return client_of(
        "rosa",
        "view_inbox",
        "view_return",
        "view_run",
        "add_run",
        "approve_run",
        "pause_step",
        "hold_step",
    )


def person(name):
    return User.objects.get(username=name)


def listed(client, service, table):
    rows = client.get(f"/admin/{service}/{table}/").context["cl"].result_list
    return {row.pk for row in rows}


def refusals(**columns):
    return LogEntry.objects.filter(what="refused", **columns).count()


@contextmanager
def kind_lookups():
    """Give a list of the lookups of kinds: the table, and whether a transaction is open."""
    lookups = []

    def note(execute, sql, params, many, context):
        if found := LOOKUP.search(sql):
            lookups.append((found[1], connections["default"].in_atomic_block))
        return execute(sql, params, many, context)

    with ExitStack() as stack:
        for alias in connections:
            stack.enter_context(connections[alias].execute_wrapper(note))
        yield lookups


@pytest.mark.parametrize("write", [sent, received])
def test_messages_of_a_step_that_no_plan_declares_take_the_view_of_all_kinds(vera, whole, write):
    table = {sent: "outbox", received: "inbox"}[write]
    old = write("payments", step=OLD)
    assert listed(vera, "payments", table) == set()
    assert vera.get(f"/admin/payments/{table}/{old.pk}/change/").status_code != 200
    assert listed(whole, "payments", table) == {old.pk}


def test_an_event_that_no_step_wrote_is_judged_by_its_target(vera, whole):
    first = sent("returns", step="", target="returns.close")
    hidden = [
        sent("returns", step="", target="payments.charge"),
        sent("returns", step="", target="returns.asked_by_fax"),
        sent("returns", step="", target=None),
    ]
    assert listed(vera, "returns", "outbox") == {first.pk}
    assert listed(whole, "returns", "outbox") == {first.pk, *(row.pk for row in hidden)}


def test_a_hold_of_a_step_that_no_plan_declares_takes_the_view_of_all_kinds(rosa, olga):
    holds.hold(get_service("payments"), step=OLD, by="olga", why="Ask first.")
    assert OLD not in rosa.get(reverse("console:holds")).content.decode()
    answer = rosa.post(reverse("console:hold_step"), {"action": "release_step", "step": OLD})
    assert answer.status_code == 403
    assert refusals(who="rosa", action="release_step", step=OLD) == 1

    with pytest.raises(NotAllowed, match=r"orders\.view_order"):
        runs.draft_for_step("release_step", OLD, by=person("rosa"))
    with pytest.raises(CommandError, match=r"orders\.view_order"):
        call_command(
            "saga",
            "release",
            "--step",
            OLD,
            "--by",
            "rosa",
            "--reason",
            "x",
            "--yes",
            stdout=StringIO(),
        )
    assert refusals(who="rosa", via="command", step=OLD) == 1
    assert not Run.objects.exists()
    assert runs.draft_for_step("release_step", OLD, by=olga).step == OLD


class TestFailedTasks:
    """The page of a failed task has the traceback and the arguments."""

    def failure(self, step, *sagas):
        named = ", ".join(f'"{saga}"' for saga in sagas)
        meta = f'{{"sagas": [{named}], "step": "{step}", "count": 1}}'
        return TaskResult.objects.create(task_id=str(uuid7()), status="FAILURE", meta=meta)

    def opens(self, client, task):
        page = reverse("admin:django_celery_results_taskresult_change", args=[task.pk])
        return client.get(page).status_code == 200

    def test_those_of_a_step_that_no_plan_declares_are_not_listed(self, vera, whole):
        old, own = self.failure(OLD, uuid7()), self.failure("returns.close", uuid7())
        assert listed(vera, "django_celery_results", "taskresult") == {own.pk}
        assert listed(whole, "django_celery_results", "taskresult") == {old.pk, own.pk}
        assert [self.opens(vera, task) for task in (old, own)] == [False, True]

    @pytest.mark.parametrize("step", ["", OLD])
    def test_the_page_about_a_saga_that_no_home_has_takes_the_view_of_all_kinds(
        self, vera, whole, step
    ):
        purged = self.failure(step, uuid7())
        assert not self.opens(vera, purged)
        assert self.opens(whole, purged)

    def test_the_page_is_not_shown_while_the_home_of_its_saga_does_not_answer(self, vera, renamed):
        returned = propose(fulfilled_order("MUG"), 100)
        own, hidden = self.failure("", returned), self.failure("", stuck().pk)
        mixed = self.failure("", returned, stuck().pk)
        renamed("default", "orders_order")
        assert [self.opens(vera, task) for task in (own, hidden, mixed)] == [True, False, False]

    def test_the_sagas_are_looked_up_once_for_the_page_and_its_links(self, vera):
        returned = propose(fulfilled_order("MUG"), 100)
        own = self.failure("returns.close", returned)
        with kind_lookups() as once:
            find_kinds([returned])
        with kind_lookups() as lookups:
            assert self.opens(vera, own)
        assert once
        assert lookups == once


class TestNotices:
    """The runs that wait, on the start page of an approver who may view some kinds."""

    def wait(self, requester, number):
        for _ in range(number):
            run = Run.objects.create(
                action="retry", state=Run.State.AWAITING, requested_by=requester, reason="x"
            )
            run.items.create(order_id=uuid7())

    def queries(self, user):
        with count_queries() as count:
            notices = notices_for(user)
            return count(), notices

    def test_the_number_of_queries_does_not_grow_with_the_number_of_runs(self, rosa, olga):
        user = person("rosa")
        self.wait(olga, 1)
        self.queries(user)  # reads the permissions
        for_one, _ = self.queries(user)
        self.wait(olga, SHOWN + 4)
        for_many, notices = self.queries(user)
        assert for_many == for_one
        assert (len(notices.to_decide), notices.number) == (SHOWN, SHOWN + 5)
        assert all("orders.view_order" in " ".join(run.reasons) for run in notices.to_decide)

    def test_a_home_that_does_not_answer_is_asked_once(self, rosa, olga, renamed):
        self.wait(olga, 5)
        renamed("default", "orders_order")
        with kind_lookups() as lookups:
            notices = notices_for(person("rosa"))
        tables = [table for table, _ in lookups]
        assert tables.count("orders_order") == 1
        assert len(tables) == len(set(tables))
        assert notices.is_known
        assert len(notices.to_decide) == 5

    def test_no_saga_is_looked_up_for_a_user_who_may_not_decide(self, olga):
        self.wait(olga, 2)
        client_of("nina", "view_run", "view_return")
        with kind_lookups() as lookups:
            assert notices_for(person("nina")).to_decide == []
        assert lookups == []


def test_a_draft_that_the_policy_refuses_is_in_the_log_once(rosa):
    row = received("returns", step="returns.close")  # of a saga that no home has
    data = {"action": "try_now", "_selected_action": [str(row.pk)]}
    answer = rosa.post("/admin/returns/inbox/", data, follow=True)
    assert "orders.view_order" in answer.content.decode()
    assert not Run.objects.exists()
    [entry] = LogEntry.objects.filter(what="refused")
    assert (entry.who, entry.action, entry.via) == ("rosa", "retry", "console")
    assert entry.order_id == row.saga
    assert "orders.view_order" in entry.outcome


def test_a_refused_draft_over_several_sagas_names_their_number(rosa):
    rows = [received("returns", step="returns.close") for _ in range(2)]
    data = {"action": "try_now", "_selected_action": [str(row.pk) for row in rows]}
    rosa.post("/admin/returns/inbox/", data)
    [entry] = LogEntry.objects.filter(what="refused")
    assert (entry.subject, entry.order_id) == ("2 sagas", None)


def test_kinds_are_looked_up_once_and_before_a_run_is_made():
    [trip] = to_review()
    client_of("tess", "view_trip", "add_run")
    with kind_lookups() as once:
        runs.draft("retry", [trip], by=person("tess"))
    with kind_lookups() as lookups:
        runs.request("retry", trip, by=person("tess"), reason="x", via="api")
    assert ("trips_trip", False) in once
    assert lookups == once


@pytest.mark.parametrize("decision", ["approve", "decline"])
def test_kinds_are_looked_up_before_a_run_is_locked(decision):
    [trip] = to_review()
    client_of("tess", "view_trip", "add_run")
    client_of("tom", "view_trip", "approve_run")
    run = Run.objects.create(
        action="retry", state=Run.State.AWAITING, requested_by=person("tess"), reason="x"
    )
    run.items.create(order_id=trip)
    seen = {"fingerprint": runs.preview(run).fingerprint} if decision == "approve" else {}
    with kind_lookups() as lookups:
        getattr(runs, decision)(run.id, by=person("tom"), **seen)
    assert ("trips_trip", False) in lookups
    assert not any(in_transaction for _, in_transaction in lookups)
