"""A database with returns is lost: pieces, messages and counters are rebuilt, or a note says so."""

from itertools import chain

import pytest
from django.utils import timezone

from audit.run import audit
from inventory.models import StockAdjustment, StockItem, StockReturn
from payments.followup import follow_up_once
from payments.models import Inbox, Outbox, PartialRefund, Payment, SimulatedCharge
from payments.paid_otherwise import ACTION, Record, record_paid_otherwise
from recovery.journal import all_services, load_journals
from recovery.run import _lost_rows
from returns.models import Return
from returns.saga import RETURN_GOODS
from returns.services import cancel_return
from sagas import sql
from sagas.testing import story
from staff import log
from staff.policy import Shell
from tests.integration.audit.harness import PUBLISHED
from tests.integration.recovery.harness import backed_up, lose, recover, restore
from tests.integration.returns.factories import RECEIVE, ask, fulfilled_order, received

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture
def returned():
    """A return of two mugs, of which one is written off, and a cancelled return."""
    order = fulfilled_order("MUG", "PLATE")
    told = story(RETURN_GOODS, lambda: ask(order, MUG=2))
    told.signals(RECEIVE, received(MUG=(1, 1))).run().expect(ended="done")
    other = story(RETURN_GOODS, lambda: ask(order, PLATE=1)).run()
    other.then(lambda: cancel_return(Return.objects.get(id=other.saga))).run()
    for service in all_services():
        sql.run(service.alias, PUBLISHED.format(outbox=service.outbox), {})
    assert violations() == []
    return told.saga


def violations():
    return [
        (verdict.invariant.id, *violation)
        for verdict in audit().verdicts
        for violation in verdict.shown
    ]


def stock():
    """Return the pieces of each SKU, and the pieces that came back."""
    counters = StockItem.objects.values_list("sku", "reserved", "shipped", "returned")
    back = StockReturn.objects.values_list("return_id", "item_id", "restocked", "written_off")
    written_off = StockAdjustment.objects.filter(by="returns").values_list("item_id", "quantity")
    return {*counters}, {*back}, {*written_off}


def refunds():
    """Return the refunds of parts, with their amounts and references."""
    names = ("id", "status", "refunded_amount", "covered_amount", "order_id", "key", "refund_id")
    return list(PartialRefund.objects.values_list(*names))


def messages():
    """Return the messages of payments about returns."""
    sagas = list(Return.objects.values_list("id", flat=True))
    sent = Outbox.objects.filter(saga__in=sagas).values_list("saga", "type", "target")
    states = Inbox.objects.filter(saga__in=sagas).values_list("saga", "step", "state")
    return {*chain(sent, states)}


def test_a_lost_inventory_gets_back_its_returned_pieces_once(returned):
    before = stock()
    lose("inventory")
    for _ in range(2):
        recover("inventory", stock_counted=True)
        assert stock() == before
        assert violations() == []


def test_lost_payments_get_back_the_messages_of_returns(returned):
    before = messages()
    lose("payments")
    recover("payments")
    assert messages() == before


def test_lost_payments_get_back_the_refunds_of_returns_and_no_money_moves(returned):
    before = refunds()
    ledger = SimulatedCharge.objects.count()
    assert [row[:3] for row in before] == [(returned, "succeeded", 2500)]
    lose("payments")
    for _ in range(2):
        recover("payments")
        assert refunds() == before
    follow_up_once()
    assert (Payment.objects.get().status, Payment.objects.get().refunded_amount) == (
        "captured",
        2500,
    )
    assert SimulatedCharge.objects.count() == ledger
    assert violations() == []


def pay_otherwise(order, amount):
    """Let the refund fail at the bank, and record its payment, with the entry of the console."""
    SimulatedCharge.objects.filter(kind="refund").delete()
    PartialRefund.objects.update(status="failed", refunded_amount=0)
    assert record_paid_otherwise(order, amount=amount, reference="transfer 17")
    outcome = str(Record(amount, "eur", "transfer 17"))
    log.record(
        Shell("olga"), "acted", ACTION, {"order_id": order, "outcome": outcome}, via="console"
    )


@pytest.mark.parametrize("loss", ["all rows", "the rows since a backup"])
def test_a_part_that_was_paid_in_another_way_is_not_given_back_again(returned, loss):
    order = Return.objects.get(id=returned).order_id
    if loss == "all rows":
        pay_otherwise(order, 2500)
        lose("payments")
    else:
        with backed_up("payments"):
            pay_otherwise(order, 2500)
            restore("payments")
        SimulatedCharge.objects.filter(kind="refund").delete()

    for _ in range(2):
        recover("payments")
        follow_up_once()

    refund = PartialRefund.objects.get()
    assert (refund.status, refund.reference) == ("succeeded", "transfer 17")
    assert (refund.refunded_amount, refund.covered_amount) == (0, 2500)
    assert Payment.objects.get().paid_otherwise_amount == 2500
    assert not SimulatedCharge.objects.filter(kind="refund").exists()
    assert violations() == []


def test_a_payment_in_another_way_of_unknown_parts_needs_a_person(returned, capsys):
    order = Return.objects.get(id=returned).order_id
    outcome = str(Record(100, "eur", "transfer 17"))
    log.record(
        Shell("olga"), "acted", ACTION, {"order_id": order, "outcome": outcome}, via="console"
    )
    lose("payments")
    recover("payments")
    assert "Ask that person" in capsys.readouterr().out
    SimulatedCharge.objects.filter(kind="refund").delete()
    Payment.objects.update(balance_due_at=timezone.now())
    follow_up_once()
    assert not SimulatedCharge.objects.filter(kind="refund").exists()


def test_a_return_whose_row_is_lost_is_named_and_is_not_taken_for_an_order(returned):
    Return.objects.filter(id=returned).delete()
    [note] = _lost_rows(load_journals([returned]))
    assert (note.subject, note.blocking) == (str(returned), False)
    assert "no row of it" in note.detail
