"""The effect of each action on an order: once, also after double clicks and dead workers."""

import pytest

from console.bulk_actions import runs, worker
from console.models import RunItem
from inventory.models import Reservation
from orders.models import Order, Outbox
from orders.saga import AUTHORIZE_FIRST
from payments.models import Inbox, Payment
from sagas.ids import uuid7
from tests.integration.audit import harness as walked
from tests.integration.console.conftest import count_queries
from tests.integration.console.operators import FAR, confirmed, member, outcomes, paid, stuck, work
from tests.integration.orders import harness
from tests.integration.races import at_once
from tests.shop import position

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("flushed"),
]


class TestEffects:
    def test_try_again_brings_every_open_step_forward(self, olga, flushed):
        order, idle = stuck(), harness.order()
        run = confirmed("retry", order, idle, by=olga)
        work()
        assert outcomes(run) == [
            ("done", "1 step made due now."),
            ("nothing", "No step is waiting for its next attempt."),
        ]
        assert Inbox.objects.filter(send_at__lt=FAR).exists()
        assert "payments" in flushed

    def test_publish_again_makes_every_message_due(self, olga):
        order = paid()
        walked.record_timeline()
        run = confirmed("publish", order, by=olga)
        work()
        sent = position("payments.charge", walked.PLAN) + 1  # also the order itself sent one
        assert outcomes(run) == [("done", f"{sent} messages sent again.")]
        assert Outbox.objects.get(saga=order.id).published_at is None

    def test_cancel_begins_the_undo_and_tells_the_customer_nothing_of_the_reason(self, olga):
        order = paid()
        run = confirmed("cancel", order, by=olga, reason="Fraud ring 7")
        work()
        walked.run_to_end(order.id)
        order.refresh_from_db()
        assert outcomes(run) == [("done", "Cancelling: the steps that were done are being undone.")]
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
        run = confirmed("cancel", order, by=olga)
        work()
        assert outcomes(run) == [("nothing", "It is fulfilled, so it can no longer be cancelled.")]
        walked.run_to_end(order.id)
        assert (Payment.objects.get().status, Reservation.objects.get().state) == (
            "captured",
            "shipped",
        )

    def test_where_another_service_has_the_pivot_it_is_asked(self, olga, settings):
        walked.open_shop()
        settings.ORDER_SAGA = "authorize_first"
        order = Order.objects.get(id=walked.place())
        run = confirmed("cancel", order, by=olga)
        work()
        assert outcomes(run) == [
            ("done", "Cancel requested: the service of the pivot decides whether it comes in time.")
        ]
        walked.deliver("payments.withhold", order.id, plan=AUTHORIZE_FIRST.plan)
        walked.run_to_end(order.id, plan=AUTHORIZE_FIRST.plan)
        order.refresh_from_db()
        assert (order.status, order.failure_code) == ("cancelled", "cancelled_by_shop")

    def test_two_people_who_cancel_the_same_order_have_one_effect(self, olga):
        order, oscar = paid(), member("oscar", "operator")
        first, second = (
            confirmed("cancel", order, by=olga),
            confirmed("cancel", order, by=oscar),
        )
        at_once([work] * 4)
        assert sorted(state for run in (first, second) for state, _ in outcomes(run)) == [
            "done",
            "nothing",
        ]
        assert Outbox.objects.filter(type="order.cancelling").count() == 1

    def test_a_row_whose_worker_died_is_acted_on_by_another_after_its_lease(self, olga):
        run = confirmed("retry", stuck(), by=olga)
        RunItem.objects.update(attempts=1, due_at=FAR)
        work()
        assert run.items.get().state == "pending"
        RunItem.objects.update(due_at="2026-01-01T00:00:00Z")
        work()
        run.refresh_from_db()
        assert (run.items.get().state, run.state) == ("done", "ended")

    def test_a_run_whose_last_row_was_settled_by_a_worker_that_died_ends_all_the_same(self, olga):
        run = confirmed("retry", stuck(), by=olga)
        RunItem.objects.update(state="done", ended_at=FAR)
        work()
        run.refresh_from_db()
        assert run.state == "ended"

    def test_a_service_that_stays_down_is_given_up_and_says_so(self, olga, renamed):
        run = confirmed("retry", stuck(), by=olga)
        renamed("payments", "payments_inbox")
        for _ in range(worker.MAX_ATTEMPTS):
            worker.work_once()
            RunItem.objects.filter(state="pending").update(due_at="2026-01-01T00:00:00Z")
        [(state, said)] = outcomes(run)
        assert state == "failed"
        assert "Given up after 5 attempts" in said

    def test_an_order_that_cannot_be_acted_on_holds_up_no_other(self, olga):
        broken, order = harness.order(plan={}), stuck()
        run = confirmed("retry", broken, order, by=olga)
        for _ in range(worker.MAX_ATTEMPTS):
            worker.work_once()
            RunItem.objects.filter(state="pending").update(due_at="2026-01-01T00:00:00Z")
        work()
        run.refresh_from_db()
        assert ([state for state, _ in outcomes(run)], run.state) == (["failed", "done"], "ended")

    def test_a_round_with_nothing_to_do_asks_the_services_nothing(self):
        with count_queries() as total:
            work()
        assert total() == 4  # are rows due; and in a transaction, has a run no row left

    def test_nothing_is_done_for_a_draft(self, olga):
        runs.draft("retry", [stuck().id], by=olga)
        work()
        assert Inbox.objects.filter(send_at=FAR).exists()

    def test_an_order_that_does_not_exist_has_nothing_to_do(self, olga):
        run = runs.draft("cancel", [uuid7()], by=olga)
        runs.confirm(
            run.id, by=olga, reason="typed by hand", fingerprint=runs.preview(run).fingerprint
        )
        work()
        assert outcomes(run) == [("nothing", "This saga does not exist.")]
