"""Runs over orders: previewed, for a reason, once only, worked off row by row, and kept in a log that only grows."""

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection, transaction
from django.db.models import ProtectedError
from django.db.utils import IntegrityError

from console import runs
from console.models import Action, LogEntry, Run, RunItem
from inventory.models import Reservation
from orders.models import Order, Outbox
from orders.status import Status
from payments.models import Inbox, Payment
from sagas.ids import uuid7
from tests.integration.audit import shop as walked
from tests.integration.console.acting import FAR, confirmed, member, stuck, work
from tests.integration.console.conftest import client_of, count_queries
from tests.integration.orders import shop
from tests.integration.race import at_once

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

LIST = "/admin/orders/order/"


@pytest.fixture(autouse=True)
def nudged(monkeypatch):
    """The services whose relay was nudged; no thread flushes by itself, and no message leaves for a worker."""
    services: list[str] = []
    monkeypatch.setattr("console.effects.nudge", services.append)
    monkeypatch.setattr("console.views.work_soon", lambda: None)
    return services


@pytest.fixture
def anna(db):
    return member("anna", "approver")


@pytest.fixture
def operator(client, olga):
    client.force_login(olga)
    return client


def paid(amount=2500):
    """Place an order for real, and have it charged; the amount is as payments has it."""
    walked.open_shop()
    order = walked.place("MUG")
    walked.deliver("payments.charge", order)
    Payment.objects.filter(order_id=order).update(amount=amount)
    return Order.objects.get(id=order)


def outcomes(run):
    return list(run.items.order_by("id").values_list("state", "outcome"))


def select(client, action, *orders):
    data = {"action": action, "_selected_action": [str(order.id) for order in orders]}
    return client.post(LIST, data, follow=True)


class TestPreview:
    def test_an_action_on_a_selection_leads_to_its_blast_radius_and_does_nothing(self, operator):
        order, done = paid(), shop.order(Status.FULFILLED)
        page = select(operator, "cancel", order, done)
        radius = page.context["radius"]
        assert (radius.orders, radius.affected, radius.refunds) == (2, 1, {"eur": 2500})
        assert "25.00 EUR" in page.content.decode()
        order.refresh_from_db()
        assert (order.status, Run.objects.get().state) == ("pending", "draft")

    def test_pieces_and_charges_of_unknown_outcome_are_counted(self, olga):
        first, second = paid(), paid()
        walked.deliver("inventory.reserve", first.id)
        Payment.objects.filter(order_id=second.id).update(status="pending", charge_id=None)
        radius = runs.radius_now(runs.begin(Action.CANCEL, [first.id, second.id], by=olga))
        assert (radius.affected, radius.pieces, radius.unknown, radius.refunds) == (2, 2, 1, {"eur": 2500})

    def test_what_is_fulfilled_or_past_its_pivot_is_not_counted(self, olga):
        order = paid()
        walked.deliver("inventory.reserve", order.id)
        walked.deliver("orders.fulfil", order.id)
        radius = runs.radius_now(runs.begin(Action.CANCEL, [order.id], by=olga))
        assert (radius.affected, radius.refunds, radius.pieces) == (0, {}, 0)

    def test_the_orders_are_frozen_when_the_draft_is_made(self, operator):
        first = stuck()
        run = select(operator, "try_again", first).context["run"]
        stuck()
        assert list(run.items.values_list("order_id", flat=True)) == [first.id]

    def test_a_preview_takes_few_queries_however_many_orders_it_is_about(self, operator):
        run = select(operator, "cancel", *[stuck() for _ in range(30)]).context["run"]
        with count_queries() as total:
            operator.get(f"/admin/console/run/{run.id}/change/")
        assert total() <= 20

    def test_more_orders_than_one_run_may_have_are_refused(self, operator, monkeypatch):
        monkeypatch.setattr(runs, "MOST_ORDERS", 1)
        page = select(operator, "cancel", stuck(), stuck()).content.decode()
        assert "A run is about at most 1 orders." in page
        assert not Run.objects.exists()

    def test_a_selection_of_which_nothing_is_left_is_refused(self, operator):
        page = select(operator, "cancel", Order(id=uuid7())).content.decode()
        assert "no order is left in the list" in page
        assert not Run.objects.exists()

    def test_a_service_that_is_down_is_named_and_nothing_can_be_confirmed(self, olga, renamed):
        run = runs.begin(Action.CANCEL, [paid().id], by=olga)
        renamed("payments", "payments_payment")
        radius = runs.radius_now(run)
        assert radius.unreachable == ["payments"]
        with pytest.raises(runs.Refused, match="payments cannot be asked"):
            runs.confirm(run.id, by=olga, reason="why not", seen=radius.fingerprint)


class TestConfirming:
    def test_a_reason_is_asked_for(self, olga):
        run = runs.begin(Action.RETRY, [stuck().id], by=olga)
        with pytest.raises(runs.Refused, match="Say why"):
            runs.confirm(run.id, by=olga, reason="  ", seen=runs.radius_now(run).fingerprint)

    def test_what_has_changed_since_it_was_shown_is_shown_again(self, olga):
        order = paid()
        run = runs.begin(Action.CANCEL, [order.id], by=olga)
        seen = runs.radius_now(run).fingerprint
        Payment.objects.update(amount=9_000)
        with pytest.raises(runs.Changed):
            runs.confirm(run.id, by=olga, reason="wrong price", seen=seen)

    def test_a_retry_may_have_changed_meanwhile_for_it_takes_nothing_back(self, olga):
        run = runs.begin(Action.RETRY, [stuck().id], by=olga)
        seen = runs.radius_now(run).fingerprint
        Inbox.objects.update(state="started")
        assert runs.confirm(run.id, by=olga, reason="mended", seen=seen).state == "running"

    def test_a_draft_of_another_is_not_for_me_to_confirm(self, olga, anna):
        run = runs.begin(Action.RETRY, [stuck().id], by=olga)
        with pytest.raises(runs.Refused, match="Only who made this draft"):
            runs.confirm(run.id, by=anna, reason="me too", seen=runs.radius_now(run).fingerprint)

    def test_clicked_twice_at_once_it_starts_once(self, olga):
        run = runs.begin(Action.RETRY, [stuck().id], by=olga)
        seen = runs.radius_now(run).fingerprint
        answers = at_once([lambda: started(run, olga, seen)] * 4)
        assert sorted(answers) == ["Moved", "Moved", "Moved", "running"]
        assert LogEntry.objects.filter(what="requested").count() == 1


def started(run, by, seen):
    try:
        return runs.confirm(run.id, by=by, reason="The gateway is back.", seen=seen).state
    except runs.Moved:
        return "Moved"


class TestEffects:
    def test_try_again_brings_every_open_step_forward(self, olga, nudged):
        order, idle = stuck(), shop.order()
        run = confirmed(Action.RETRY, order, idle, by=olga)
        work()
        assert outcomes(run) == [("done", "1 step tried again now."), ("nothing", "No step waits for its next try.")]
        assert Inbox.objects.filter(send_at__lt=FAR).exists()
        assert "payments" in nudged

    def test_publish_again_makes_every_message_due(self, olga):
        order = paid()
        walked.tell()
        run = confirmed(Action.PUBLISH, order, by=olga)
        work()
        assert outcomes(run) == [("done", "2 messages sent again.")]
        assert Outbox.objects.get(saga=order.id).published_at is None

    def test_cancel_begins_the_undo_and_tells_the_customer_nothing_of_the_reason(self, olga):
        order = paid()
        run = confirmed(Action.CANCEL, order, by=olga, reason="Fraud ring 7")
        work()
        walked.walk(order.id)
        order.refresh_from_db()
        assert outcomes(run) == [("done", "Called off; what was done for it is being undone.")]
        assert (order.status, order.failure_code, order.failure_detail) == (
            "cancelled",
            "cancelled_by_shop",
            "Cancelled by the shop.",
        )
        assert Payment.objects.get().status == "refunded"

    def test_after_the_pivot_nothing_is_undone(self, olga):
        order = paid()
        for step in ("inventory.reserve", "orders.fulfil"):
            walked.deliver(step, order.id)
        run = confirmed(Action.CANCEL, order, by=olga)
        work()
        assert outcomes(run) == [("nothing", "It is fulfilled: from there a saga only goes forward.")]
        walked.walk(order.id)
        assert (Payment.objects.get().status, Reservation.objects.get().state) == ("captured", "shipped")

    def test_two_people_who_cancel_the_same_order_have_one_effect(self, olga):
        order, oscar = paid(), member("oscar", "operator")
        first, second = confirmed(Action.CANCEL, order, by=olga), confirmed(Action.CANCEL, order, by=oscar)
        at_once([work] * 4)
        assert sorted(state for run in (first, second) for state, _ in outcomes(run)) == ["done", "nothing"]
        assert Outbox.objects.filter(type="order.cancelling").count() == 1

    def test_a_row_whose_worker_died_is_acted_on_by_another_after_its_lease(self, olga):
        run = confirmed(Action.RETRY, stuck(), by=olga)
        RunItem.objects.update(attempts=1, due_at=FAR)
        work()
        assert run.items.get().state == "pending"
        RunItem.objects.update(due_at="2026-01-01T00:00:00Z")
        work()
        run.refresh_from_db()
        assert (run.items.get().state, run.state) == ("done", "ended")

    def test_a_run_whose_last_row_was_settled_by_a_worker_that_died_ends_all_the_same(self, olga):
        run = confirmed(Action.RETRY, stuck(), by=olga)
        RunItem.objects.update(state="done", ended_at=FAR)
        work()
        run.refresh_from_db()
        assert run.state == "ended"

    def test_a_service_that_stays_down_is_given_up_and_says_so(self, olga, renamed):
        run = confirmed(Action.RETRY, stuck(), by=olga)
        renamed("payments", "payments_inbox")
        for _ in range(runs.TRIES):
            runs.work_once()
            RunItem.objects.filter(state="pending").update(due_at="2026-01-01T00:00:00Z")
        [(state, said)] = outcomes(run)
        assert state == "failed"
        assert "Given up after 5 tries" in said

    def test_an_order_that_cannot_be_acted_on_holds_up_no_other(self, olga):
        broken, order = shop.order(plan={}), stuck()
        run = confirmed(Action.RETRY, broken, order, by=olga)
        for _ in range(runs.TRIES):
            runs.work_once()
            RunItem.objects.filter(state="pending").update(due_at="2026-01-01T00:00:00Z")
        work()
        run.refresh_from_db()
        assert ([state for state, _ in outcomes(run)], run.state) == (["failed", "done"], "ended")

    def test_nothing_is_done_for_a_draft(self, olga):
        runs.begin(Action.RETRY, [stuck().id], by=olga)
        work()
        assert Inbox.objects.filter(send_at=FAR).exists()

    def test_an_order_that_is_none_has_nothing_to_do(self, olga):
        run = runs.begin(Action.CANCEL, [uuid7()], by=olga)
        runs.confirm(run.id, by=olga, reason="typed by hand", seen=runs.radius_now(run).fingerprint)
        work()
        assert outcomes(run) == [("nothing", "There is no such order.")]


class TestFourEyes:
    @pytest.fixture
    def large(self, olga, settings):
        settings.CONSOLE_REFUND_LIMIT = 2_000
        return confirmed(Action.CANCEL, paid(), by=olga)

    def test_a_refund_above_the_limit_waits_for_another_person(self, large):
        work()
        assert (large.state, large.items.get().state) == ("awaiting", "pending")

    def test_another_person_approves_and_it_runs(self, client, large, anna):
        client.force_login(anna)
        page = f"/admin/console/run/{large.id}/"
        seen = client.get(f"{page}change/").context["radius"].fingerprint
        client.post(f"{page}approve/", {"seen": seen})
        work()
        large.refresh_from_db()
        assert (large.state, large.decided_by, large.items.get().state) == ("ended", anna, "done")

    def test_another_person_declines_and_nothing_runs(self, client, large, anna):
        client.force_login(anna)
        client.post(f"/admin/console/run/{large.id}/decline/")
        work()
        large.refresh_from_db()
        assert (large.state, large.items.get().state) == ("declined", "pending")

    def test_nobody_approves_what_they_have_requested(self, large, olga):
        olga.groups.add(Group.objects.get(name="approver"))
        with pytest.raises(runs.Refused, match="Another person"):
            runs.approve(large.id, by=olga, seen=runs.radius_now(large).fingerprint)

    def test_the_database_refuses_it_as_well(self, large, olga):
        with pytest.raises(IntegrityError, match="console_run_four_eyes"), transaction.atomic():
            Run.objects.filter(id=large.id).update(decided_by=olga)

    def test_a_refund_up_to_the_limit_needs_nobody_else(self, olga, settings):
        settings.CONSOLE_REFUND_LIMIT = 2_500
        assert confirmed(Action.CANCEL, paid(), by=olga).state == "running"


class TestRights:
    @pytest.mark.parametrize("path", ["confirm", "approve", "decline"])
    def test_a_viewer_may_start_and_decide_nothing(self, client, olga, path):
        run = runs.begin(Action.RETRY, [stuck().id], by=olga)
        client.force_login(member("vera", "viewer"))
        assert client.post(f"/admin/console/run/{run.id}/{path}/").status_code == 403
        assert client.get(f"/admin/console/run/{run.id}/change/").status_code == 200

    def test_a_viewer_is_offered_no_action_and_has_none(self, client):
        order = stuck()
        client.force_login(member("vera", "viewer"))
        page = f"/admin/orders/order/{order.id}/"
        assert "Cancel and undo" not in client.get(f"{page}change/").content.decode()
        assert client.post(f"{page}act/", {"action": "cancel"}).status_code == 403
        select(client, "cancel", order)
        assert not Run.objects.exists()

    def test_no_way_back_is_offered_where_there_is_none(self, operator):
        fulfilled, ended = shop.order(Status.FULFILLED), shop.order(Status.CANCELLED)
        page = operator.get(f"/admin/orders/order/{fulfilled.id}/change/")
        assert [value for value, _ in page.context["actions"]] == ["retry", "publish"]
        assert operator.get(f"/admin/orders/order/{ended.id}/change/").context["actions"] == []

    def test_an_approver_who_is_no_operator_acts_on_nothing(self, client, anna):
        client.force_login(anna)
        assert client.post(f"/admin/orders/order/{stuck().id}/act/", {"action": "cancel"}).status_code == 403

    def test_an_operator_does_not_approve(self, operator, olga, settings):
        settings.CONSOLE_REFUND_LIMIT = 0
        run = confirmed(Action.CANCEL, paid(), by=member("oscar", "operator"))
        assert operator.post(f"/admin/console/run/{run.id}/approve/").status_code == 403

    @pytest.mark.parametrize("path", ["confirm", "approve", "decline"])
    def test_nothing_is_changed_by_a_get(self, admin_client, olga, path):
        run = runs.begin(Action.RETRY, [stuck().id], by=olga)
        assert admin_client.get(f"/admin/console/run/{run.id}/{path}/").status_code == 405

    def test_a_post_without_its_token_is_refused(self, olga):
        from django.test import Client  # noqa: PLC0415

        strict = Client(enforce_csrf_checks=True)
        strict.force_login(olga)
        assert strict.post(f"/admin/orders/order/{stuck().id}/act/", {"action": "cancel"}).status_code == 403

    def test_an_action_that_is_none_is_refused(self, operator):
        page = operator.post(f"/admin/orders/order/{stuck().id}/act/", {"action": "delete"}, follow=True)
        assert "There is no such action." in page.content.decode()

    def test_what_an_administrator_took_from_a_group_stays_taken(self):
        from console.rights import make_groups  # noqa: PLC0415

        Group.objects.get(name="operator").permissions.clear()
        Group.objects.get(name="viewer").delete()
        make_groups(None, using="default")
        assert not Group.objects.get(name="operator").permissions.exists()
        assert Group.objects.get(name="viewer").permissions.filter(codename="view_order").exists()

    def test_no_group_may_do_more_than_look_and_act(self):
        given = Permission.objects.filter(group__isnull=False).exclude(codename__startswith="view_")
        assert set(given.values_list("codename", flat=True)) == {
            "add_run",
            "approve_run",
            "change_outbox",
            "change_inbox",
        }


class TestLog:
    def test_it_says_who_did_what_why_and_what_came_of_it(self, operator, olga):
        order = stuck()
        confirmed(Action.RETRY, order, by=olga)
        work()
        rows = LogEntry.objects.order_by("id").values_list("who", "what", "action", "order_id", "why", "outcome")
        assert list(rows)[1:] == [
            ("olga", "acted", "retry", order.id, "The gateway is back.", "1 step tried again now."),
            ("olga", "ended", "retry", None, "The gateway is back.", "1 done."),
        ]
        page = operator.get(f"/admin/orders/order/{order.id}/change/").content.decode()
        assert "1 step tried again now." in page

    @pytest.mark.parametrize("change", ["UPDATE console_logentry SET why = 'x'", "DELETE FROM console_logentry"])
    def test_the_database_refuses_to_change_it(self, olga, change):
        confirmed(Action.RETRY, stuck(), by=olga)
        with pytest.raises(IntegrityError, match="only grows"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(change)

    def test_nobody_edits_it_in_the_admin(self, admin_client, olga):
        confirmed(Action.RETRY, stuck(), by=olga)
        entry = LogEntry.objects.get()
        for page in ("change", "delete"):
            assert admin_client.post(f"/admin/console/logentry/{entry.pk}/{page}/", {"post": "yes"}).status_code == 403
        assert admin_client.get("/admin/console/logentry/add/").status_code == 403

    def test_who_has_requested_a_run_cannot_be_deleted_from_under_it(self, olga):
        confirmed(Action.RETRY, stuck(), by=olga)
        with pytest.raises(ProtectedError):
            olga.delete()


def test_the_page_of_a_run_renews_itself_while_it_runs_and_stops_when_it_has_ended(operator, olga):
    run = confirmed(Action.RETRY, stuck(), by=olga)
    progress = f"/admin/console/run/{run.id}/progress/"
    assert 'hx-trigger="every 1s"' in operator.get(progress).content.decode()
    work()
    page = operator.get(progress).content.decode()
    assert "hx-trigger" not in page
    assert "1 step tried again now." in page


def test_who_may_not_view_runs_sees_no_progress(olga):
    run = runs.begin(Action.RETRY, [stuck().id], by=olga)
    assert client_of("sid").get(f"/admin/console/run/{run.id}/progress/").status_code == 403
