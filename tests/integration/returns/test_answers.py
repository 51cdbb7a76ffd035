"""Staff approve returns and receive their goods: with their own permissions, and in the log."""

import re

import pytest
from django.test import override_settings

from inventory.models import StockItem
from returns.events import ReturnApproved, ReturnDeclined
from returns.models import Inbox, Return
from returns.saga import RETURN_GOODS
from returns.services import give_goodwill
from sagas import SignalResult
from sagas.kinds import kind_of
from sagas.testing import story
from sagas.waits import WrongSignal
from staff.models import LogEntry
from staff.policy import NotPermitted
from staff.signals import answer_wait
from tests.integration.returns.factories import (
    APPROVE,
    RECEIVE,
    ask,
    fulfilled_order,
    propose,
    received,
)
from tests.integration.roles.roles import ROLES, admin_client, user_of

pytestmark = pytest.mark.django_db(databases="__all__")


def answer(told, person, step, event):
    """Answer a wait as a person of staff does."""
    return answer_wait(person, told.tracked, step, event, why="It is here.", via="console")


def waiting_return(**pieces):
    order = fulfilled_order("MUG", "PLATE")
    return story(RETURN_GOODS, lambda: ask(order, **pieces)).run()


def may(role, told, step, event):
    """Tell whether a role may answer a wait."""
    try:
        answer(told, user_of(role), step, event)
    except NotPermitted:
        return False
    return True


@pytest.mark.parametrize("role", [role for role in ROLES if role != "anonymous"])
def test_operators_receive_goods_and_approvers_approve(role):
    told = waiting_return(MUG=1)
    assert may(role, told, RECEIVE, received(MUG=1)) == (role in {"operator", "superuser"})

    order = fulfilled_order("MUG")
    goodwill = story(RETURN_GOODS, lambda: propose(order, 100)).run()
    assert may(role, goodwill, APPROVE, ReturnApproved()) == (role in {"approver", "superuser"})


@override_settings(RETURN_APPROVAL_LIMITS={"eur": 0})
@pytest.mark.parametrize("event", [ReturnApproved(), ReturnDeclined()])
def test_no_person_of_staff_approves_a_refund_to_themselves(event):
    sue = user_of("superuser")
    told = waiting_return(MUG=1)
    Return.objects.update(user=sue)

    with pytest.raises(NotPermitted, match="The money is yours"):
        answer(told, sue, APPROVE, event)

    told.run().expect(ended=None, waiting=[APPROVE])
    assert LogEntry.objects.filter(action="approve_return", what="failed").exists()


def test_an_answer_is_in_the_log_with_its_reason_and_its_person():
    told = waiting_return(MUG=1)
    result = answer(told, user_of("operator"), RECEIVE, received(MUG=1))

    assert result is SignalResult.ACCEPTED
    entry = LogEntry.objects.get(action="receive_return", what="done")
    assert (entry.order_id, entry.step, entry.why) == (told.saga, RECEIVE, "It is here.")
    assert Inbox.objects.filter(saga=told.saga, step=RECEIVE, signal__by="operator").exists()


@pytest.mark.parametrize("event", [ReturnApproved(), ReturnDeclined()])
def test_goodwill_is_not_decided_by_the_person_who_proposes_it(event):
    sue, order = user_of("superuser"), fulfilled_order("MUG")
    row = give_goodwill(sue, order_id=order.id, amount=100, reason="Late.", via="admin")
    told = story(RETURN_GOODS, row.id).run()

    with pytest.raises(NotPermitted, match="second person"):
        answer(told, sue, APPROVE, event)

    told.run().expect(ended=None, waiting=[APPROVE])
    assert LogEntry.objects.filter(action="approve_return", what="failed").exists()


@pytest.mark.parametrize(
    "event",
    [
        received(MUG=2),
        received(MUG=(1, 1)),
        received(VASE=1),
        received(PLATE=1),
        ReturnDeclined(code=""),
        ReturnDeclined(code="cancelled_by_customer"),
        ReturnDeclined(detail=" "),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_the_return_goes_on_waiting(event):
    told = waiting_return(MUG=1)

    with pytest.raises(WrongSignal):
        answer(told, user_of("operator"), RECEIVE, event)

    told.run().expect(ended=None, waiting=[RECEIVE])


def test_a_refusal_may_have_its_own_words_for_the_customer():
    told = waiting_return(MUG=1)
    answer(told, user_of("operator"), RECEIVE, ReturnDeclined(detail="The box was empty."))

    told.run().expect(ended="cancelled")
    row = Return.objects.get(id=told.saga)
    assert (row.status, row.failure_code, row.failure_detail) == (
        "refused",
        "return_declined",
        "The box was empty.",
    )


def test_an_approver_finds_the_amount_the_proposer_and_the_reason_of_goodwill():
    told = story(RETURN_GOODS, lambda: propose(fulfilled_order("MUG"), 100)).run()
    given_by = Return.objects.get(id=told.saga).given_by

    page = admin_client("approver").get(kind_of(Return).page(told.saga), follow=True)

    shown = " ".join(re.sub(r"<[^>]*>", " ", page.content.decode()).split())
    for fact in ("Amount 1.00 EUR", "Reason Late.", f"Given by {given_by}"):
        assert fact in shown


@pytest.mark.parametrize(("role", "allowed"), [("operator", True), ("approver", False)])
def test_operators_propose_goodwill(role, allowed):
    order = fulfilled_order("MUG")
    person = user_of(role)
    if not allowed:
        with pytest.raises(NotPermitted):
            give_goodwill(person, order_id=order.id, amount=100, reason="Late.", via="admin")
        assert not Return.objects.exists()
        return

    row = give_goodwill(person, order_id=order.id, amount=100, reason="Late.", via="admin")
    assert (row.given_by, row.kind, row.user_id) == (role, "goodwill", order.user_id)
    entry = LogEntry.objects.get(action="give_goodwill", what="done")
    assert (entry.order_id, entry.why) == (order.id, "Late.")


@override_settings(RETURN_APPROVAL_LIMITS={"eur": 0})
def test_an_early_answer_of_a_later_wait_counts_once_the_return_gets_there():
    told = waiting_return(MUG=1)
    answer(told, user_of("operator"), RECEIVE, received(MUG=1))
    answer(told, user_of("approver"), APPROVE, ReturnApproved())

    told.run().expect(ended="done")
    assert StockItem.objects.get(sku="MUG").returned == 1
