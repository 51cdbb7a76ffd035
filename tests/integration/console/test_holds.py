"""Orders and steps on hold: permissions, previews, effects, and the page of holds."""

from uuid import UUID

import pytest

from audit.metrics import unsettled_money
from console.bulk_actions import runs, worker
from console.bulk_actions.results import NotAllowed, StateConflict
from console.holds import current_holds, troubled_steps
from console.models import Run
from inventory.models import Hold as InventoryHold
from inventory.models import Inbox as InventoryInbox
from inventory.models import StepFault
from orders.models import Hold as OrdersHold
from orders.models import Order
from orders.status import Status
from payments.models import Hold as PaymentsHold
from payments.models import Inbox
from sagas.definition.hold_scope import HoldScope
from sagas.ids import uuid7
from sagas.operations import probing, redrive, table_stats
from sagas.storage import automatic_holds
from sagas.storage.registry import get_home, get_service
from staff.models import LogEntry
from tests.broker import empty, take
from tests.integration.audit import harness as walked
from tests.integration.console.operators import (
    confirmed,
    member,
    outcomes,
    paid,
    select,
    stuck,
    work,
)
from tests.integration.orders import harness
from tests.integration.races import at_once

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("flushed"),
]

HOLDS = (OrdersHold, PaymentsHold, InventoryHold)
PAGE, STEP = "/admin/holds/", "/admin/holds/step/"


@pytest.fixture(autouse=True)
def quiet():
    """Start with nothing in the broker."""
    empty()


@pytest.fixture
def approver(client, anna):
    client.force_login(anna)
    return client


def held(order):
    """Return in how many services an order is on hold."""
    return sum(table.objects.filter(saga=order.id).count() for table in HOLDS)


def for_all(action, step, *, by, reason="The gateway refuses cards."):
    """Have an approver do something to a step of all orders, as it is shown."""
    run = runs.draft_for_step(action, step, by=by)
    return runs.confirm(run.id, by=by, reason=reason, fingerprint=runs.preview(run).fingerprint)


class TestOrders:
    def test_a_selection_leads_to_a_preview_and_holds_no_order_yet(self, operator):
        order, ended = paid(), harness.order(Status.CANCELLED)
        page = select(operator, "hold", order, ended)
        assert (page.context["impact"].orders, page.context["impact"].affected) == (2, 1)
        assert "before their next step" in page.content.decode()
        assert (held(order), Run.objects.get().state) == (0, "draft")

    def test_an_order_is_held_in_every_service_and_goes_on_when_it_is_released(self, olga, flushed):
        order = paid()
        run = confirmed("hold", order, by=olga)
        work()
        assert outcomes(run) == [("done", "On hold before its next step.")]
        assert held(order) == 3
        walked.deliver("inventory.reserve", order.id)
        assert InventoryInbox.objects.get(step="inventory.reserve").state == "held"
        run = confirmed("release", order, by=olga)
        work()
        assert (outcomes(run), held(order)) == ([("done", "Released.")], 0)
        assert InventoryInbox.objects.get(step="inventory.reserve").state == "waiting"
        assert "inventory" in flushed
        walked.run_to_end(order.id)
        order.refresh_from_db()
        assert order.status == "fulfilled"

    def test_author_and_reason_of_a_hold_are_stored_in_the_service_and_shown_with_the_order(
        self, operator, olga
    ):
        order = paid()
        confirmed("hold", order, by=olga, reason="The address is odd.")
        work()
        page = operator.get(f"/admin/orders/order/{order.id}/change/")
        assert "by olga: The address is odd." in page.content.decode()
        assert [action.name for action in page.context["actions"]] == [
            "retry",
            "publish",
            "cancel",
            "release",
        ]
        assert PaymentsHold.objects.values_list("by", "why").get() == (
            "olga",
            "The address is odd.",
        )

    def test_held_and_released_twice_it_says_so(self, olga):
        order, said = paid(), []
        for action in ("hold", "hold", "release", "release"):
            run = runs.draft(action, [order.id], by=olga)
            runs.confirm(run.id, by=olga, reason="again", fingerprint="")
            work()
            said += [outcome for _, outcome in outcomes(run)]
        assert said == [
            "On hold before its next step.",
            "It was already on hold.",
            "Released.",
            "It was not on hold.",
        ]

    def test_two_people_who_hold_the_same_order_at_once_have_one_effect(self, olga):
        order, oscar = paid(), member("oscar", "operator")
        first, second = (
            confirmed("hold", order, by=olga),
            confirmed("hold", order, by=oscar),
        )
        at_once([work] * 4)
        assert sorted(state for run in (first, second) for state, _ in outcomes(run)) in (
            ["done", "nothing"],
            ["done", "done"],  # each was the first in another service
        )
        assert held(order) == 3

    def test_an_order_that_has_ended_is_not_held(self, olga):
        order = harness.order(Status.CANCELLED)
        run = confirmed("hold", order, by=olga)
        work()
        assert (outcomes(run), held(order)) == (
            [("nothing", "It has ended, so there is nothing to hold.")],
            0,
        )

    def test_a_running_step_is_named_and_finishes_first(self, olga):
        order = stuck()
        Inbox.objects.update(state="started")
        run = confirmed("hold", order, by=olga)
        work()
        assert outcomes(run) == [
            (
                "done",
                "On hold before its next step. payments.charge is running and finishes first.",
            ),
        ]

    def test_a_service_that_is_down_is_named_and_the_rescue_still_cares_for_the_order(
        self, olga, renamed
    ):
        order = paid()
        run = confirmed("hold", order, by=olga)
        renamed("payments", "payments_hold")
        for _ in range(worker.MAX_ATTEMPTS):
            worker.work_once()
            run.items.filter(state="pending").update(due_at="2026-01-01T00:00:00Z")
        [(state, said)] = outcomes(run)
        assert (state, "payments_hold" in said) == ("failed", True)
        assert not OrdersHold.objects.exists()

    def test_a_worker_that_dies_half_way_leaves_a_hold_that_another_completes(self, olga):
        order = paid()
        run = confirmed("hold", order, by=olga)
        InventoryHold.objects.create(
            saga=order.id, by="olga", why=run.reason
        )  # all that the dead one came to
        work()
        assert (outcomes(run), held(order)) == ([("done", "On hold before its next step.")], 3)

    def test_a_retry_or_cancel_of_an_order_on_hold_names_the_hold(self, olga):
        order = paid()
        confirmed("hold", order, by=olga)
        work()
        walked.deliver("inventory.reserve", order.id)
        retried = runs.draft("retry", [order.id], by=olga)
        runs.confirm(retried.id, by=olga, reason="now", fingerprint="")
        cancelled = confirmed("cancel", order, by=olga)
        work()
        assert outcomes(retried) == [("nothing", "The saga is on hold: release it first.")]
        assert outcomes(cancelled) == [
            (
                "done",
                "Cancelling, but the saga is on hold: its steps are undone after the release.",
            )
        ]
        walked.run_to_end(order.id)
        order.refresh_from_db()
        assert order.status == "cancelling"
        confirmed("release", order, by=olga)
        work()
        walked.run_to_end(order.id)
        order.refresh_from_db()
        assert order.status == "cancelled"

    def test_orders_on_hold_are_filtered_in_the_list_and_released_together(self, operator, olga):
        orders = [paid(), paid()]
        paid()
        confirmed("hold", *orders, by=olga)
        work()
        page = operator.get("/admin/orders/order/?hold=yes")
        assert set(page.context["cl"].result_list) == set(orders)
        assert select(operator, "release", *orders).context["impact"].affected == 2

    def test_money_of_an_order_on_hold_counts_as_unsettled_without_an_age(self, olga):
        order = paid()
        assert (unsettled_money().by_currency["eur"].seconds or 0) > 0
        confirmed("hold", order, by=olga)
        work()
        assert (
            unsettled_money().by_currency["eur"].orders,
            unsettled_money().by_currency["eur"].seconds,
        ) == (1, None)


class TestSteps:
    def test_an_approver_sees_the_preview_gives_a_reason_and_the_step_is_held(self, approver):
        order = harness.order()
        page = approver.post(STEP, {"action": "hold_step", "step": "payments.charge"}, follow=True)
        impact = page.context["impact"]
        assert (impact.orders, impact.step_holds) == (1, 1)
        assert not PaymentsHold.objects.exists()
        given = {"reason": "The gateway refuses cards.", "seen": impact.fingerprint}
        approver.post(f"/admin/console/run/{page.context['run'].id}/confirm/", given)
        work()
        assert PaymentsHold.objects.values_list("step", "by", "why").get() == (
            "payments.charge",
            "anna",
            "The gateway refuses cards.",
        )
        assert order.status == "pending"

    def test_the_page_of_holds_shows_step_author_reason_and_waiting_orders(self, operator, anna):
        walked.open_shop()
        for_all("hold_step", "payments.charge", by=anna)
        work()
        for order in (walked.place("MUG"), walked.place("MUG")):
            walked.deliver("payments.charge", order)
        [step] = current_holds().steps
        assert (step.step, step.by, step.why, step.waiting) == (
            "payments.charge",
            "anna",
            "The gateway refuses cards.",
            2,
        )
        page = operator.get(PAGE).content.decode()
        assert "The gateway refuses cards." in page
        assert "Releasing a step takes an approver." in page
        assert "Release …" not in page

    def test_the_home_knows_of_a_held_step_and_does_not_redrive_orders_that_wait_there(self, anna):
        walked.open_shop()
        for_all("hold_step", "payments.charge", by=anna)
        work()
        order = walked.place("MUG")
        walked.deliver("payments.charge", order)
        walked.record_timeline()
        Order.objects.update(rescue_at="2020-01-01T00:00:00Z")
        assert OrdersHold.objects.get().step == Order.objects.get().on_hold == "payments.charge"
        assert redrive.run_once(get_home("orders")) == 0
        for_all("release_step", "payments.charge", by=anna)
        work()
        assert redrive.run_once(get_home("orders")) == 1

    def test_released_it_says_how_many_wait_and_has_them_sent_on(self, anna):
        walked.open_shop()
        for_all("hold_step", "payments.charge", by=anna)
        work()
        walked.deliver("payments.charge", walked.place("MUG"))
        run = for_all("release_step", "payments.charge", by=anna)
        work()
        assert outcomes(run) == [
            ("done", "payments.charge is released; held messages being sent on: 1.")
        ]
        assert [sent.args for sent in take("payments") if sent.task == "sagas.release_held"] == [
            ["payments"]
        ]
        assert not any(table.objects.exists() for table in HOLDS)

    def test_a_count_of_waiting_orders_that_may_be_too_small_says_so(
        self, operator, anna, monkeypatch
    ):
        monkeypatch.setattr(table_stats, "COUNT_LIMIT", 1)
        walked.open_shop()
        for_all("hold_step", "payments.charge", by=anna)
        work()
        walked.deliver("payments.charge", walked.place("MUG"))
        assert "<td>at least 1</td>" in operator.get(PAGE).content.decode()
        assert "sagas waiting: at least 1." in operator.get("/admin/").content.decode()
        run = for_all("release_step", "payments.charge", by=anna)
        work()
        assert outcomes(run) == [
            ("done", "payments.charge is released; held messages being sent on: at least 1.")
        ]

    def test_an_order_that_is_released_where_its_step_is_held_for_all_still_waits_and_it_is_said(
        self, olga, anna
    ):
        order = paid()
        for_all("hold_step", "inventory.reserve", by=anna)
        confirmed("hold", order, by=olga)
        work()
        walked.deliver("inventory.reserve", order.id)
        run = confirmed("release", order, by=olga)
        work()
        assert outcomes(run) == [
            (
                "done",
                "Released. It still waits at inventory.reserve, which is on hold for all sagas.",
            )
        ]
        assert InventoryInbox.objects.get(step="inventory.reserve").state == "held"

    def test_clicked_twice_it_is_held_once_and_logged_once(self, anna):
        run = runs.draft_for_step("hold_step", "payments.charge", by=anna)
        seen = runs.preview(run).fingerprint

        def click():
            try:
                runs.confirm(run.id, by=anna, reason="Cards are refused.", fingerprint=seen)
            except StateConflict:
                return "Moved"
            return "running"

        assert sorted(at_once([click] * 4)) == ["Moved", "Moved", "Moved", "running"]
        at_once([work] * 4)
        assert PaymentsHold.objects.count() == 1
        assert LogEntry.objects.filter(what="acted").values_list(
            "who", "action", "step", "why"
        ).get() == (
            "anna",
            "hold_step",
            "payments.charge",
            "Cards are refused.",
        )

    def test_a_hold_that_cannot_be_read_is_unknown_on_the_page_of_an_order_and_never_released(
        self, operator, anna, renamed
    ):
        walked.open_shop()
        for_all("hold_step", "payments.charge", by=anna)
        work()
        order = walked.place("MUG")
        walked.deliver("payments.charge", order)
        path = f"/admin/orders/order/{order}/change/"
        assert "because payments.charge is on hold" in operator.get(path).content.decode()

        renamed("payments", "payments_hold")
        answer = operator.get(path)
        page = answer.content.decode()
        assert "the database of payments did not answer" in page
        assert "is released" not in page
        offered = {action.name for action in answer.context["actions"]}
        assert {"hold", "release"} <= offered

    def test_the_page_of_an_order_asks_each_service_once_for_the_holds_of_its_steps(
        self, approver, anna, monkeypatch
    ):
        order, asked = paid(), []
        Inbox.objects.filter(saga=order.id).update(state="held")
        Inbox.objects.create(
            saga=order.id,
            saga_started_at=order.created_at,
            step="payments.capture",
            state="held",
            due_at=order.created_at,
        )

        def counted(service):
            asked.append(service.name)
            return troubled_steps(service)

        monkeypatch.setattr("console.holds.troubled_steps", counted)
        approver.get(f"/admin/orders/order/{order.id}/change/")
        assert asked == ["payments"]

    def test_a_cancel_says_if_it_is_unknown_whether_the_order_is_on_hold(self, olga, renamed):
        order = paid()
        run = confirmed("cancel", order, by=olga)
        renamed("inventory", "inventory_hold")
        work()
        [(state, outcome)] = outcomes(run)
        assert state == "done"
        assert "the database of inventory did not answer" in outcome

    def test_a_step_whose_database_does_not_answer_cannot_be_held_blindly(
        self, approver, anna, renamed
    ):
        run = runs.draft_for_step("hold_step", "payments.charge", by=anna)
        renamed("payments", "payments_hold")
        with pytest.raises(NotAllowed, match="database of payments does not answer"):
            runs.confirm(run.id, by=anna, reason="Cards are refused.", fingerprint="")
        assert current_holds().unreachable == ["payments"]
        page = approver.get("/admin/holds/").content.decode()
        assert "Unknown whether a step is on hold." in page
        assert "No step is on hold." not in page

    def test_an_unknown_step_is_rejected(self, approver):
        page = approver.post(STEP, {"action": "hold_step", "step": "payments.swindle"}, follow=True)
        assert "Unknown step" in page.content.decode()
        assert not Run.objects.exists()


class TestRights:
    @pytest.mark.parametrize(
        ("group", "action"),
        [("viewer", "hold_step"), ("viewer", "release_step"), ("operator", "release_step")],
    )
    def test_a_viewer_pauses_no_step_an_operator_releases_none_and_the_log_has_the_attempt(
        self, client, group, action
    ):
        client.force_login(member("vera", group))
        assert client.post(STEP, {"action": action, "step": "payments.charge"}).status_code == 403
        entry = LogEntry.objects.get()
        assert (entry.who, entry.what, entry.action) == ("vera", "refused", action)
        assert (entry.step, entry.via) == ("payments.charge", "console")

    def test_a_viewer_is_offered_neither(self, client, anna):
        for_all("hold_step", "payments.charge", by=anna)
        work()
        client.force_login(member("vera", "viewer"))
        page = client.get(PAGE).content.decode()
        assert "Preview …" not in page
        assert "Release …" not in page

    def test_an_operator_on_call_pauses_a_step_and_an_approver_releases_it(self, operator, client):
        page = operator.post(STEP, {"action": "hold_step", "step": "payments.charge"}, follow=True)
        given = {"reason": "Double charges.", "seen": page.context["impact"].fingerprint}
        run = page.context["run"]
        operator.post(f"/admin/console/run/{run.id}/confirm/", given)
        work()
        assert PaymentsHold.objects.values_list("step", "by").get() == ("payments.charge", "olga")

        client.force_login(member("anna", "approver"))
        assert "Release …" in client.get(PAGE).content.decode()
        page = client.post(STEP, {"action": "release_step", "step": "payments.charge"}, follow=True)
        given = {"reason": "All is well.", "seen": page.context["impact"].fingerprint}
        run = page.context["run"]
        client.post(f"/admin/console/run/{run.id}/confirm/", given)
        work()
        assert not PaymentsHold.objects.exists()

    def test_an_operator_cannot_confirm_a_release_drafted_before(self, operator, olga):
        run = runs.draft_for_step("release_step", "payments.charge", by=olga)
        given = {"reason": "All is well.", "seen": ""}
        assert operator.post(f"/admin/console/run/{run.id}/confirm/", given).status_code == 403

    def test_an_approver_holds_no_single_order(self, approver):
        assert (
            approver.post(f"/admin/orders/order/{stuck().id}/act/", {"action": "hold"}).status_code
            == 403
        )

    def test_a_step_is_not_held_by_way_of_an_order(self, operator):
        page = operator.post(
            f"/admin/orders/order/{stuck().id}/act/", {"action": "hold_step"}, follow=True
        )
        assert "Unknown action" in page.content.decode()

    def test_a_draft_cannot_be_confirmed_after_the_permission_is_gone(self, approver, anna):
        run = runs.draft_for_step("hold_step", "payments.charge", by=anna)
        anna.groups.clear()
        given = {"reason": "Cards are refused.", "seen": ""}
        assert approver.post(f"/admin/console/run/{run.id}/confirm/", given).status_code == 403
        run.refresh_from_db()
        assert run.state == "draft"

    def test_nothing_is_held_by_a_get_or_without_its_token(self, approver, anna):
        from django.test import Client  # noqa: PLC0415

        assert (
            approver.get(STEP, {"action": "hold_step", "step": "payments.charge"}).status_code
            == 405
        )
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(anna)
        assert (
            strict.post(STEP, {"action": "hold_step", "step": "payments.charge"}).status_code == 403
        )
        assert not Run.objects.exists()


class TestAutomaticHolds:
    ERROR = "The outside system does not answer: HTTP 503"

    @pytest.fixture
    def waiting(self):
        """Put payments.charge on hold by itself, with one order that waits there."""
        walked.open_shop()
        automatic_holds.place(get_service("payments"), HoldScope("payments.charge"), why=self.ERROR)
        order = walked.place("MUG")
        walked.deliver("payments.charge", order)
        return order

    @pytest.mark.parametrize("page", [PAGE, "/admin/"])
    def test_the_pages_show_it_as_automatic_with_its_error_and_the_waiting_orders(
        self, operator, waiting, page
    ):
        text = operator.get(page).content.decode()
        assert "automatic" in text
        assert self.ERROR in text
        assert current_holds().steps[0].waiting == 1

    def test_the_page_of_an_order_says_at_which_step_it_waits_since_when_and_why(
        self, operator, waiting
    ):
        text = operator.get(f"/admin/orders/order/{waiting}/change/").content.decode()
        assert "This order waits because payments.charge is on hold for all sagas since" in text
        assert self.ERROR in text

    def test_an_operator_keeps_it_on_hold_and_then_no_order_tries(self, waiting, anna):
        run = for_all("hold_step", "payments.charge", by=anna)
        work()
        assert outcomes(run)[0][0] == "done"
        assert PaymentsHold.objects.values_list("automatic", "by").get() == (False, "anna")
        PaymentsHold.objects.update(probe_at="2020-01-01T00:00:00Z")
        probing.run_once(get_service("payments"))
        assert PaymentsHold.objects.get().probes == 0

    def test_an_approver_releases_it_by_hand(self, waiting, anna):
        run = for_all("release_step", "payments.charge", by=anna)
        work()
        assert outcomes(run)[0][0] == "done"
        assert not PaymentsHold.objects.exists()

    @pytest.mark.parametrize("page", [PAGE, "/admin/"])
    def test_the_pages_show_a_step_that_fails_for_many_orders_and_succeeds_for_others(
        self, operator, page
    ):
        for _ in range(3):
            StepFault.objects.create(
                id=uuid7(),
                step="inventory.reserve",
                pattern=UUID(int=1),
                saga=uuid7(),
                blame="order",
                error="ZeroDivisionError",
                shared=True,
            )
        [failing] = current_holds().failing
        assert (failing.step, failing.orders) == ("inventory.reserve", 3)
        assert "ZeroDivisionError" in operator.get(page).content.decode()
