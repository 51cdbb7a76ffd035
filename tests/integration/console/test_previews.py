"""A run shows its preview before it does anything, for exactly the selected orders."""

import msgspec
import pytest

from console.bulk_actions import runs
from console.bulk_actions.registry import get_action
from console.bulk_actions.results import NotAllowed
from console.models import Run
from orders.models import Order
from orders.saga import AUTHORIZE_FIRST
from orders.status import Status
from payments.models import Inbox, Payment
from sagas.definition.plan import Plan
from sagas.ids import uuid7
from services import NAMES
from staff.models import LogEntry
from tests.integration.audit import harness as walked
from tests.integration.console.conftest import count_queries
from tests.integration.console.operators import FAR, confirmed, paid, select, stuck
from tests.integration.console.payments_rows import capture_waits, owed
from tests.integration.orders import harness

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("flushed"),
]


class TestPreview:
    def test_an_action_on_a_selection_leads_to_its_preview_and_does_nothing(self, operator):
        order, done = paid(), harness.order(Status.FULFILLED)
        page = select(operator, "cancel", order, done)
        impact = page.context["impact"]
        assert (impact.orders, impact.affected, impact.refunds) == (2, 1, {"eur": 2500})
        assert "25.00 EUR" in page.content.decode()
        order.refresh_from_db()
        assert (order.status, Run.objects.get().state) == ("pending", "draft")

    def test_pieces_and_charges_of_unknown_outcome_are_counted(self, olga):
        first, second = paid(), paid()
        walked.deliver("inventory.reserve", first.id)
        Payment.objects.filter(order_id=second.id).update(status="pending", charge_id=None)
        impact = runs.preview(runs.draft("cancel", [first.id, second.id], by=olga))
        assert (impact.affected, impact.units, impact.unknown_charges, impact.refunds) == (
            2,
            2,
            1,
            {"eur": 2500},
        )

    def test_an_order_past_its_pivot_is_not_counted(self, olga):
        order = paid()
        walked.deliver("inventory.reserve", order.id)
        walked.deliver("orders.fulfil", order.id)
        impact = runs.preview(runs.draft("cancel", [order.id], by=olga))
        assert (impact.affected, impact.refunds, impact.units) == (0, {}, 0)

    def test_an_order_past_the_pivot_of_its_own_plan_is_not_counted(self, olga, settings):
        walked.open_shop()
        settings.ORDER_SAGA = "authorize_first"
        under_way, captured = (Order.objects.get(id=walked.place()) for _ in range(2))
        for step in ("payments.authorize", "inventory.reserve"):
            walked.deliver(step, under_way.id, captured.id, plan=AUTHORIZE_FIRST.plan)
        walked.deliver("payments.capture", captured.id, plan=AUTHORIZE_FIRST.plan)
        impact = runs.preview(runs.draft("cancel", [under_way.id, captured.id], by=olga))
        assert (impact.orders, impact.affected, impact.refunds, impact.units) == (2, 1, {}, 2)

    def test_a_free_order_is_no_charge_of_unknown_outcome(self, olga, settings):
        settings.FREE_PRODUCTS = True
        walked.open_free_shop()
        order = Order.objects.get(id=walked.place("GIFT"))
        plan = msgspec.convert(order.plan, Plan)
        walked.deliver("inventory.reserve", order.id, plan=plan)
        walked.record_timeline()
        order.refresh_from_db()
        assert order.status == "reserved"
        impact = runs.preview(runs.draft("cancel", [order.id], by=olga))
        assert (impact.affected, impact.refunds, impact.units) == (1, {}, 2)
        assert (impact.unknown_charges, impact.undecided) == (0, {})

    def test_the_orders_are_frozen_when_the_draft_is_made(self, operator):
        first = stuck()
        run = select(operator, "retry", first).context["run"]
        stuck()
        assert list(run.items.values_list("order_id", flat=True)) == [first.id]

    def test_a_preview_takes_few_queries_however_many_orders_it_is_about(self, operator):
        run = select(operator, "cancel", *[stuck() for _ in range(30)]).context["run"]
        with count_queries() as total:
            operator.get(f"/admin/console/run/{run.id}/change/")
        assert total() <= 14 + 2 * len(NAMES)

    def test_more_orders_than_one_run_may_have_are_refused(self, operator, monkeypatch):
        monkeypatch.setattr(runs, "MOST_ORDERS", 1)
        page = select(operator, "cancel", stuck(), stuck()).content.decode()
        assert "A run takes at most 1 sagas." in page
        assert not Run.objects.exists()

    def test_a_selection_of_which_nothing_is_left_is_refused(self, operator):
        page = select(operator, "cancel", Order(id=uuid7())).content.decode()
        assert "None of the selected sagas" in page
        assert not Run.objects.exists()

    def test_a_service_that_is_down_is_named_and_nothing_can_be_confirmed(self, olga, renamed):
        run = runs.draft("cancel", [paid().id], by=olga)
        renamed("payments", "payments_payment")
        impact = runs.preview(run)
        assert impact.unreachable == ["payments"]
        with pytest.raises(NotAllowed, match="database of payments does not answer"):
            runs.confirm(run.id, by=olga, reason="why not", fingerprint=impact.fingerprint)

    def test_the_figures_of_a_service_that_is_down_are_not_shown_as_none(self, operator, renamed):
        order = paid()
        renamed("payments", "payments_payment")
        page = select(operator, "cancel", order).content.decode()
        assert "the impact is unknown" in page
        assert "Money refunded" not in page
        assert "Charges of unknown outcome" not in page

    def test_a_fulfilled_order_is_not_said_to_have_captured_nothing(self, operator):
        order = paid()
        for step in ("inventory.reserve", "orders.fulfil"):
            walked.deliver(step, order.id)
        page = select(operator, "cancel", order).content.decode()
        assert "because no order changes" in page
        assert "nothing is captured" not in page

    def test_money_that_may_be_captured_is_shown_with_its_amount(self, operator):
        order = paid()
        Payment.objects.update(status="pending", charge_id=None, captured_amount=None)
        page = select(operator, "cancel", order)
        impact = page.context["impact"]
        assert (impact.refunds, impact.undecided) == ({}, {"eur": 2500})
        text = page.content.decode()
        assert "1: 25.00 EUR" in text
        assert "none known" in text
        assert "nothing is captured" not in text

    def test_only_the_money_that_is_still_ours_can_be_refunded(self, olga):
        order = paid()
        Payment.objects.update(
            captured_amount=2500, refunded_amount=250, disputed_amount=1000, dispute_status="open"
        )
        impact = runs.preview(runs.draft("cancel", [order.id], by=olga))
        assert impact.refunds == {"eur": 1250}

    def test_a_paid_order_whose_payment_is_missing_counts_as_unknown(self, olga):
        order = paid()
        Order.objects.filter(id=order.id).update(status=Status.PAID)
        Payment.objects.all().delete()
        impact = runs.preview(runs.draft("cancel", [order.id], by=olga))
        assert (impact.unknown_charges, impact.undecided) == (1, {"eur": order.amount})

    def test_a_capture_that_was_requested_may_have_happened(self, olga, settings):
        walked.open_shop()
        settings.ORDER_SAGA = "authorize_first"
        order = Order.objects.get(id=walked.place())
        for step in ("payments.authorize", "inventory.reserve"):
            walked.deliver(step, order.id, plan=AUTHORIZE_FIRST.plan)
        run = runs.draft("cancel", [order.id], by=olga)
        assert runs.preview(run).unknown_charges == 0
        capture_waits(order.id)
        assert runs.preview(run).undecided == {"eur": order.amount}

    def test_a_retry_that_repeats_an_owed_refund_shows_it_and_counts_towards_no_limit(
        self, operator, olga, settings
    ):
        settings.CONSOLE_REFUND_LIMIT = 0
        ended = harness.order(Status.CANCELLED)
        owed(ended.id, follow_at=FAR)
        run = runs.draft("retry", [ended.id], by=olga)
        page = operator.get(f"/admin/console/run/{run.id}/change/").content.decode()
        assert "Owed refund repeated" in page
        assert "12.50 EUR" in page
        assert "none by this action" not in page
        assert confirmed("retry", ended, by=olga).state == Run.State.RUNNING
        assert "Owed refunds repeated: 12.50 EUR." in LogEntry.objects.get(what="requested").outcome

    def test_charges_of_unknown_outcome_count_towards_the_limit_of_one_person(self, olga, settings):
        settings.CONSOLE_REFUND_LIMIT = 2000
        order = paid()
        Payment.objects.update(status="pending", charge_id=None, captured_amount=None)
        assert confirmed("cancel", order, by=olga).state == Run.State.AWAITING
        entry = LogEntry.objects.get()
        assert "no known money refunded" in entry.outcome
        assert "1 charges of unknown outcome (25.00 EUR)" in entry.outcome

    def test_a_refund_by_hand_of_an_undecided_charge_is_not_shown_as_no_money(self, olga):
        order = paid()
        Payment.objects.update(status="pending", charge_id=None, captured_amount=None)
        Inbox.objects.create(
            saga=order.id,
            saga_started_at=order.created_at,
            step="payments.refund",
            state="waiting",
            attempts=3,
        )
        run = runs.draft("by_hand", [order.id], by=olga, step="payments.refund")
        impact = runs.preview(run)
        assert impact.undecided == {"eur": 2500}
        assert "Charges of unknown outcome" in {
            tile.title for tile in get_action("by_hand").tiles(impact)
        }
