"""Returned pieces: on hand again or written off, once, and never more than were shipped."""

import pytest
from django.utils import timezone

from audit.checks.stock import (
    wrong_counters,
    wrong_reservations,
    wrong_returns,
)
from inventory.models import Inbox, Reservation, StockItem, StockReturn
from returns.events import LineReceived, ReturnAccepted
from returns.saga import RETURN_GOODS
from sagas.definition.messages import Message
from sagas.definition.results import with_result
from sagas.execution import runner
from sagas.execution.failures import StepFailed
from sagas.ids import uuid7
from tests.integration.returns.factories import fulfilled_order
from tests.sessions import another_session

pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)

STEP = "inventory.restock"


@pytest.fixture(autouse=True)
def no_broker(monkeypatch):
    monkeypatch.setattr("sagas.lifecycle.request_flush", lambda service: None)


def message(order, *lines):
    """Return the message of an accepted return."""
    accepted = ReturnAccepted(amount=1, currency="eur", lines=lines)
    context = with_result({"order_id": str(order.id)}, "returns.accept", accepted.facts())
    return Message(id=uuid7(), saga=uuid7(), started_at=timezone.now(), seq=4, context=context)


def deliver(*messages):
    runner.run(STEP, RETURN_GOODS.plan, list(messages))


def state(sent):
    return Inbox.objects.get(saga=sent.saga, step=STEP).state


def counters(sku="MUG"):
    item = StockItem.objects.get(sku=sku)
    return item.on_hand, item.shipped, item.returned


def assert_books_agree():
    assert wrong_counters(["MUG", "PLATE"]) == wrong_reservations(["MUG", "PLATE"]) == []
    assert wrong_returns(["MUG", "PLATE"]) == []


def test_a_batch_puts_pieces_back_and_writes_others_off():
    first, second = fulfilled_order("MUG", "PLATE"), fulfilled_order("MUG")
    before = counters()
    deliver(
        message(first, LineReceived("MUG", 1, 1), LineReceived("PLATE", 2, 0)),
        message(second, LineReceived("MUG", 1, 0)),
    )

    assert counters() == (before[0] + 2, before[1], 3)
    assert StockReturn.objects.count() == 3
    assert_books_agree()


def test_a_repeated_message_moves_nothing():
    sent = message(fulfilled_order("MUG"), LineReceived("MUG", 1, 0))
    deliver(sent)
    after = counters()
    deliver(sent, sent)
    assert counters() == after


def test_more_than_was_shipped_is_never_taken_back():
    order = fulfilled_order("MUG")
    deliver(message(order, LineReceived("MUG", 2, 0)))
    before = counters()

    with pytest.raises(StepFailed, match="has 0 left"):
        deliver(message(order, LineReceived("MUG", 1, 0)))

    assert counters() == before
    assert_books_agree()


def test_two_returns_of_one_order_in_a_batch_count_together():
    order = fulfilled_order("MUG")
    with pytest.raises(StepFailed):
        deliver(
            message(order, LineReceived("MUG", 2, 0)), message(order, LineReceived("MUG", 1, 0))
        )
    assert counters()[2] <= 2
    assert_books_agree()


def test_a_return_waits_until_its_order_is_shipped():
    order = fulfilled_order("MUG")
    Reservation.objects.update(state="held")
    sent = message(order, LineReceived("MUG", 1, 0))
    deliver(sent)
    assert (state(sent), counters()[2]) == ("waiting", 0)


def test_a_locked_item_delays_only_its_own_returns():
    first, second = fulfilled_order("MUG"), fulfilled_order("PLATE")
    late, prompt = (
        message(first, LineReceived("MUG", 1, 0)),
        message(second, LineReceived("PLATE", 1, 0)),
    )
    locked = "SELECT 1 FROM inventory_stockitem WHERE sku = 'MUG' FOR UPDATE"
    with another_session(locked, alias="inventory"):
        deliver(late, prompt)
        assert (state(late), state(prompt)) == ("waiting", "done")


def test_the_audit_finds_counters_that_differ_from_the_returns():
    deliver(message(fulfilled_order("MUG"), LineReceived("MUG", 1, 0)))
    StockReturn.objects.update(restocked=9)
    assert [found.subject for found in wrong_reservations(["MUG"])] == ["MUG"]
    assert [found.detail for found in wrong_returns(["MUG"])] == ["returned 9 of MUG, but got 2"]
    StockItem.objects.update(returned=0)
    assert [found.subject for found in wrong_counters(["MUG"])] == ["MUG"]
