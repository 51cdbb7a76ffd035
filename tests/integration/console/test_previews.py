"""A run shows its preview before it does anything, for exactly the selected orders."""

import pytest

from console.bulk_actions import runs
from console.bulk_actions.results import NotAllowed
from console.models import Run
from orders.models import Order
from orders.saga import AUTHORIZE_FIRST
from orders.status import Status
from payments.models import Payment
from sagas.ids import uuid7
from tests.integration.audit import harness as walked
from tests.integration.console.conftest import count_queries
from tests.integration.console.operators import paid, select, stuck
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

    def test_the_orders_are_frozen_when_the_draft_is_made(self, operator):
        first = stuck()
        run = select(operator, "retry", first).context["run"]
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
        assert "A run takes at most 1 orders." in page
        assert not Run.objects.exists()

    def test_a_selection_of_which_nothing_is_left_is_refused(self, operator):
        page = select(operator, "cancel", Order(id=uuid7())).content.decode()
        assert "None of the selected orders" in page
        assert not Run.objects.exists()

    def test_a_service_that_is_down_is_named_and_nothing_can_be_confirmed(self, olga, renamed):
        run = runs.draft("cancel", [paid().id], by=olga)
        renamed("payments", "payments_payment")
        impact = runs.preview(run)
        assert impact.unreachable == ["payments"]
        with pytest.raises(NotAllowed, match="database of payments does not answer"):
            runs.confirm(run.id, by=olga, reason="why not", fingerprint=impact.fingerprint)
