"""What a run would do is shown before it does anything, about exactly the orders that were
selected.
"""

import pytest

from console.bulk_actions import runs
from console.bulk_actions.reach import QUESTIONS, radius_now
from console.models import Action, Run
from orders.models import Order
from orders.saga import AUTHORIZE_FIRST
from orders.status import Status
from payments.models import Payment
from sagas.ids import uuid7
from tests.integration.audit import shop as walked
from tests.integration.console.conftest import count_queries
from tests.integration.console.operators import paid, select, stuck
from tests.integration.orders import shop

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("nudged"),
]


def test_of_every_action_it_is_known_how_to_ask_what_it_would_do():
    assert set(QUESTIONS) == set(Action)


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
        radius = radius_now(runs.begin(Action.CANCEL, [first.id, second.id], by=olga))
        assert (radius.affected, radius.pieces, radius.unknown, radius.refunds) == (
            2,
            2,
            1,
            {"eur": 2500},
        )

    def test_what_is_fulfilled_or_past_its_pivot_is_not_counted(self, olga):
        order = paid()
        walked.deliver("inventory.reserve", order.id)
        walked.deliver("orders.fulfil", order.id)
        radius = radius_now(runs.begin(Action.CANCEL, [order.id], by=olga))
        assert (radius.affected, radius.refunds, radius.pieces) == (0, {}, 0)

    def test_what_is_past_the_pivot_of_its_own_plan_is_not_counted(self, olga, settings):
        walked.open_shop()
        settings.ORDER_SAGA = "authorize_first"
        under_way, captured = (Order.objects.get(id=walked.place()) for _ in range(2))
        for step in ("payments.authorize", "inventory.reserve"):
            walked.deliver(step, under_way.id, captured.id, plan=AUTHORIZE_FIRST.plan)
        walked.deliver("payments.capture", captured.id, plan=AUTHORIZE_FIRST.plan)
        radius = radius_now(runs.begin(Action.CANCEL, [under_way.id, captured.id], by=olga))
        assert (radius.orders, radius.affected, radius.refunds, radius.pieces) == (2, 1, {}, 2)

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
        radius = radius_now(run)
        assert radius.unreachable == ["payments"]
        with pytest.raises(runs.Refused, match="payments cannot be asked"):
            runs.confirm(run.id, by=olga, reason="why not", seen=radius.fingerprint)
