"""The audit finds a return that has moved other money or pieces than it shows, and no other."""

import pytest

from returns.kind import ReturnKind
from returns.models import Return, ReturnLine, TimelineEvent
from returns.saga import RETURN_GOODS
from sagas.kinds import SagaRecord
from sagas.testing import story
from tests.integration.returns.factories import RECEIVE, ask, fulfilled_order, received

pytestmark = pytest.mark.django_db(databases="__all__")

STEPS = {"payments.refund_part": "done", "inventory.restock": "done"}


@pytest.fixture
def returned():
    order = fulfilled_order("MUG")
    told = story(RETURN_GOODS, lambda: ask(order, MUG=2))
    told.signals(RECEIVE, received(MUG=(1, 1))).run().expect(ended="done")
    return told.saga


def violations(saga, steps=STEPS):
    row = Return.objects.get(id=saga)
    record = SagaRecord(row=row, ended=True, undone=False, has_messages=True, steps=steps)
    return list(ReturnKind(Return).violations(record))


def test_a_completed_return_has_none(returned):
    assert violations(returned) == []


def test_a_lost_entry_of_the_timeline_is_none(returned):
    TimelineEvent.objects.filter(saga=returned).delete()
    assert violations(returned) == []


def test_another_amount_is_one(returned):
    Return.objects.filter(id=returned).update(amount=1)
    [found] = violations(returned)
    assert "payment.partly_refunded has (2500, 'eur')" in found


def test_other_pieces_are_one(returned):
    ReturnLine.objects.filter(of_return=returned).update(resellable=2)
    [found] = violations(returned)
    assert "stock.restocked has (1, 1)" in found


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_is_not_done_is_one(returned, step):
    [found] = violations(returned, {**STEPS, step: "refused"})
    assert f"{step} is refused" in found
