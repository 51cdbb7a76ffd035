"""Requests for returns: the pieces that are left, who may ask, and which of two requests loses."""

import pytest
from django.db import transaction

from api.problems.exceptions import InvalidInput
from api.resources.records import KeyInFlight, KeyReused
from orders.models import Order
from returns.events import ReturnApproved
from returns.models import IdempotencyKey, Return, ReturnedOrder
from returns.saga import RETURN_GOODS
from returns.services import NotReturnable, OrderUnknown, TooMuch, cancel_return, request_return
from sagas.testing import story
from tests.integration.audit.harness import open_shop, place
from tests.integration.races import at_once, started
from tests.integration.returns.factories import (
    APPROVE,
    RECEIVE,
    ask,
    fulfilled_order,
    new_return,
    propose,
    received,
)

pytestmark = pytest.mark.django_db(databases="__all__")

MUG = 1250


def no_broker(monkeypatch):
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)


def left_of(order, **pieces):
    """Ask for too many pieces; return the SKU and the number that the refusal names."""
    with pytest.raises(TooMuch) as refused:
        ask(order, **pieces)
    return refused.value.sku, refused.value.left


def is_refused(call, *given, **named):
    """Tell whether too little was left for a request."""
    try:
        call(*given, **named)
    except TooMuch:
        return True
    return False


class TestWhatIsLeft:
    def test_more_than_was_ordered_changes_nothing(self):
        order = fulfilled_order("MUG")
        assert left_of(order, MUG=3) == ("MUG", 2)
        assert not Return.objects.exists()

    def test_open_returns_keep_their_pieces(self):
        order = fulfilled_order("MUG", "PLATE")
        ask(order, MUG=1, PLATE=2)
        assert left_of(order, MUG=2) == ("MUG", 1)
        assert left_of(order, PLATE=1) == ("PLATE", 0)
        ask(order, MUG=1)

    def test_a_cancelled_return_frees_its_pieces(self):
        order = fulfilled_order("MUG")
        told = story(RETURN_GOODS, lambda: ask(order, MUG=2)).run()
        told.then(lambda: cancel_return(Return.objects.get(id=told.saga))).run()
        ask(order, MUG=2)

    def test_pieces_that_did_not_come_back_can_come_later(self):
        order = fulfilled_order("MUG")
        told = story(RETURN_GOODS, lambda: ask(order, MUG=2))
        told.signals(RECEIVE, received(MUG=1)).run().expect(ended="done")
        assert left_of(order, MUG=2) == ("MUG", 1)
        again = story(RETURN_GOODS, lambda: ask(order, MUG=1))
        again.signals(RECEIVE, received(MUG=1)).run().expect(ended="done")
        assert left_of(order, MUG=1) == ("MUG", 0)

    def test_goodwill_and_returns_together_give_back_at_most_the_price(self):
        order = fulfilled_order("MUG")
        told = story(RETURN_GOODS, lambda: propose(order, 2 * MUG - 100))
        told.signals(APPROVE, ReturnApproved()).run().expect(ended="done")

        rest = story(RETURN_GOODS, lambda: ask(order, MUG=2))
        rest.signals(RECEIVE, received(MUG=2)).run().expect(ended="done")

        assert Return.objects.get(id=rest.saga).amount == 100
        with pytest.raises(TooMuch) as refused:
            propose(order, 1)
        assert (refused.value.sku, refused.value.left) == (None, 0)

    def test_more_goodwill_than_the_price_is_refused(self):
        order = fulfilled_order("MUG")
        with pytest.raises(TooMuch):
            propose(order, 2 * MUG + 1)
        assert not Return.objects.exists()


class TestWhoMayAsk:
    def test_an_order_of_another_customer_is_unknown(self):
        order = fulfilled_order("MUG")
        order.user_id += 1
        with pytest.raises(OrderUnknown):
            ask(order, MUG=1)

    def test_an_order_that_is_not_fulfilled_cannot_be_returned(self):
        open_shop()
        order = Order.objects.get(id=place("MUG"))
        with pytest.raises(NotReturnable):
            ask(order, MUG=1)
        assert not ReturnedOrder.objects.exists()

    @pytest.mark.parametrize("pieces", [{"VASE": 1}, {"MUG": 1, "VASE": 1}])
    def test_a_line_that_was_not_ordered_is_named(self, pieces):
        with pytest.raises(InvalidInput, match="VASE"):
            ask(fulfilled_order("MUG"), **pieces)


class TestIdempotency:
    def test_a_repeated_request_gets_the_same_answer(self):
        order = fulfilled_order("MUG")
        assert ask(order, key="k", MUG=1) == ask(order, key="k", MUG=1)
        assert Return.objects.count() == IdempotencyKey.objects.count() == 1

    def test_a_key_with_another_request_is_refused(self):
        order = fulfilled_order("MUG")
        ask(order, key="k", MUG=1)
        with pytest.raises(KeyReused):
            ask(order, key="k", MUG=2)


@pytest.mark.django_db(databases="__all__", transaction=True)
class TestRaces:
    def test_of_two_returns_of_the_last_piece_one_is_refused(self, monkeypatch):
        no_broker(monkeypatch)
        order = fulfilled_order("MUG")
        ask(order, MUG=1)

        refused = at_once([lambda: is_refused(ask, order, MUG=1)] * 2)

        assert sorted(refused) == [False, True]
        assert Return.objects.count() == 2

    def test_a_return_and_goodwill_at_once_give_back_at_most_the_price(self, monkeypatch):
        no_broker(monkeypatch)
        order = fulfilled_order("MUG")

        refused = at_once(
            [lambda: is_refused(propose, order, 2 * MUG), lambda: is_refused(ask, order, MUG=2)]
        )

        assert sorted(refused) == [False, True]
        assert sum(Return.objects.values_list("amount", flat=True)) <= 2 * MUG

    def test_a_key_in_flight_is_refused(self, monkeypatch):
        no_broker(monkeypatch)
        order = fulfilled_order("MUG")

        def second(row):
            with pytest.raises(KeyInFlight):
                started(lambda: ask(order, key="k", MUG=1)).result(timeout=20)
            return str(row.id)

        with transaction.atomic():
            request_return(
                user_id=order.user_id,
                order_id=order.id,
                key="k",
                new=new_return(MUG=1),
                render=second,
            )
        assert Return.objects.count() == 1
