"""After a part was given back, its refund may fail at the bank. Then the part is owed, until
another refund is through, or a person has paid it in another way.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from payments import followup
from payments.gateways.base import BalanceAnswer, Declined, Pending, Unanswered
from payments.gateways.simulated import SimulatedGateway
from payments.gateways.simulated.ledger import SimulatedCharge, SimulatedRefund
from payments.models import Inbox, Payment
from payments.open_money import money_owed, owed_late
from payments.paid_otherwise import FollowUpUnderWay, OwedAmountChanged, record_paid_otherwise
from payments.reconciliation import reconcile
from payments.steps.refund_part import part_refunded_by_hand
from payments.summaries import partial_refund_summaries, payment_summaries
from payments.webhooks import EventData, EventObject, StripeEvent, receive
from sagas.ids import uuid7
from sagas.manual import ManualConfirmation
from tests.integration.payments.gateway_contract.simulated import SimulatedHarness
from tests.integration.payments.harness import Order, ledger, payment
from tests.integration.payments.part_harness import (
    STEP,
    Part,
    answering,
    call_parts,
    paid,
    part_of,
    row,
    run_parts,
)

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])

FAILED_AGAIN = Declined("refund_failed", "The account is closed.")
REFUND = ManualConfirmation(by="ada", evidence="seen at the gateway", reference="re_by_hand")


def given_back(amount: int = 300) -> tuple[Order, Part]:
    """Give back a part of an order of 12.50 euros."""
    bought = paid()
    part = part_of(bought, amount)
    run_parts(part)
    return bought, part


def bounce(part: Part) -> None:
    """Let the bank return the refund of a part."""
    with transaction.atomic(using="payments"):
        line = SimulatedCharge.objects.get(key=row(part).key)
        columns = ("key", "order_id", "charge_id", "amount", "currency")
        SimulatedRefund.objects.create(
            state="failed", **{name: getattr(line, name) for name in columns}
        )
        line.delete()


def event(kind: str, bought: Order) -> StripeEvent:
    """Return a webhook event about a refund of an order's charge."""
    about = EventObject(id="re_1", charge=payment(bought).charge_id)
    return StripeEvent(f"evt_{uuid7().hex}", kind, 0, EventData(about))


def follow_up(bought: Order) -> Payment:
    """Follow the payment up now."""
    assert followup.schedule([bought.saga], ["captured", "refunded"], again=True)
    followup.follow_up_once()
    return payment(bought)


def failed_for_good() -> tuple[Order, Part]:
    """Give back a part whose refund fails later. Its next refund fails as well."""
    bought, part = given_back()
    bounce(part)
    with answering(FAILED_AGAIN):
        follow_up(bought)
    return bought, part


def test_a_part_that_bounces_is_given_back_once_more() -> None:
    bought, part = given_back()
    bounce(part)
    receive(event("refund.failed", bought))
    followup.follow_up_once()
    assert (row(part).status, row(part).refunded_amount) == ("succeeded", 300)
    assert row(part).refund_id == f"re_{row(part).key}-2"
    assert (payment(bought).status, payment(bought).refunded_amount) == ("captured", 300)
    assert ledger(bought) == {"capture": 1250, "refund": 300}


def test_a_part_that_cannot_be_given_back_is_owed_and_no_more_than_the_part() -> None:
    bought, part = failed_for_good()
    assert (row(part).status, row(part).missing) == ("failed", 300)
    assert (payment(bought).status, payment(bought).refunded_amount) == ("captured", 0)
    assert "The account is closed." in payment(bought).follow_error
    assert [(each.payments, each.amount) for each in money_owed().values()] == [(1, 300)]
    assert owed_late() == {"eur": 1}
    assert payment_summaries([bought.saga])[bought.saga]["owed_amount"] == 300

    assert follow_up(bought).follow_error == ""
    assert (row(part).status, money_owed()) == ("succeeded", {})
    assert payment_summaries([bought.saga])[bought.saga]["owed_amount"] == 0
    assert ledger(bought) == {"capture": 1250, "refund": 300}


def test_a_part_that_was_covered_by_others_owes_only_what_has_failed() -> None:
    bought = paid("pm_sim_partly_refunded")  # a person gives back 2.50 euros
    part = part_of(bought, 1250)
    run_parts(part)
    assert (row(part).refunded_amount, row(part).covered_amount) == (1000, 250)
    bounce(part)
    gateway = SimulatedHarness()
    dispute = gateway.open_dispute(str(payment(bought).charge_id), 500)
    follow_up(bought)
    assert (row(part).status, row(part).refunded_amount, row(part).missing) == ("failed", 0, 1000)
    assert row(part).covered_amount == 250

    gateway.close_dispute(dispute, won=True)
    follow_up(bought)
    assert (row(part).status, row(part).refunded_amount, row(part).missing) == (
        "succeeded",
        1000,
        0,
    )


def test_a_gateway_that_does_not_tell_what_is_back_leaves_the_whole_part_owed() -> None:
    bought = paid("pm_sim_partly_refunded")
    part = part_of(bought, 1250)
    run_parts(part)
    with answering(FAILED_AGAIN):
        follow_up(bought)
    assert (row(part).status, row(part).missing) == ("failed", 1250)


def test_money_is_owed_since_its_refund_failed_not_since_the_last_try() -> None:
    bought, part = failed_for_good()
    since = row(part).updated_at
    with answering(FAILED_AGAIN):
        follow_up(bought)
    assert row(part).updated_at == since


def test_a_lost_answer_of_a_follow_up_makes_no_part_owed() -> None:
    bought, part = given_back()
    with answering(Unanswered("timeout")):
        assert follow_up(bought).follow_error == "timeout"
    assert row(part).status == "succeeded"


def test_an_owed_refund_that_is_under_way_is_not_late() -> None:
    bought, part = failed_for_good()
    with answering(Pending("undecided", timezone.now() + timedelta(days=1))):
        follow_up(bought)
    assert row(part).expected_at is not None
    assert owed_late() == {"eur": 0}


def test_a_wholly_returned_payment_whose_part_bounces_is_given_back_again() -> None:
    bought, part = given_back(1250)
    assert payment(bought).status == "refunded"
    bounce(part)
    receive(event("refund.failed", bought))
    followup.follow_up_once()
    assert (payment(bought).status, payment(bought).owed_amount) == ("refunded", 0)
    assert row(part).refund_id == f"re_{row(part).key}-2"
    assert ledger(bought) == {"capture": 1250, "refund": 1250}


def test_an_owed_part_that_a_person_has_paid_is_not_refunded_any_more() -> None:
    bought, part = failed_for_good()
    Payment.objects.update(balance_due_at=timezone.now() + timedelta(seconds=20))
    with pytest.raises(FollowUpUnderWay):
        record_paid_otherwise(bought.saga, amount=300, reference="transfer 7")
    Payment.objects.update(balance_due_at=timezone.now())
    with pytest.raises(OwedAmountChanged) as changed:
        record_paid_otherwise(bought.saga, amount=299, reference="transfer 7")
    assert changed.value.owed == 300
    for _ in range(2):
        assert record_paid_otherwise(bought.saga, amount=300, reference="transfer 7")
    assert payment(bought).paid_otherwise_amount == 300
    assert (row(part).status, row(part).missing, money_owed()) == ("succeeded", 0, {})
    with answering() as asked:
        assert follow_up(bought).follow_error == ""
    assert (asked, ledger(bought)) == ([], {"capture": 1250})


def test_a_part_that_a_person_has_marked_as_done_is_only_read() -> None:
    bought = paid()
    part = part_of(bought, 300)
    with transaction.atomic(using="payments"):
        part_refunded_by_hand(part, REFUND)
    with answering() as asked:
        follow_up(bought)
    assert (asked, payment(bought).status) == ([], "captured")


def test_a_balance_that_a_part_has_overtaken_is_read_again(monkeypatch: Any) -> None:
    bought = paid()
    part = part_of(bought, 300)
    read = SimulatedGateway.balance

    def overtaken(gateway: SimulatedGateway, requests: Any) -> list[BalanceAnswer]:
        answers = read(gateway, requests)
        run_parts(part)
        return answers

    monkeypatch.setattr(SimulatedGateway, "balance", overtaken)
    assert follow_up(bought).follow_error == followup.CHANGED
    assert payment(bought).refunded_amount == 300


def test_an_event_of_a_refund_wakes_the_step_that_waits_for_it() -> None:
    bought = paid("pm_sim_refund_bounces_once")
    part = part_of(bought, 300)
    run_parts(part)
    later = datetime(2999, 1, 1, tzinfo=UTC)
    Inbox.objects.create(
        saga=part.saga,
        saga_started_at=timezone.now(),
        step=STEP,
        state="waiting",
        message={},
        attempts=1,
        due_at=later,
        send_at=later,
    )
    assert receive(event("refund.updated", bought)) == "woke"
    assert Inbox.objects.get().due_at < later


def test_reconciliation_finds_a_part_that_bounced_without_an_event() -> None:
    bought, part = given_back()
    bounce(part)
    now = datetime.now(UTC)
    assert not reconcile(now - timedelta(hours=1), now + timedelta(hours=1)).open
    followup.follow_up_once()
    assert row(part).refund_id == f"re_{row(part).key}-2"
    assert payment(bought).balance_due_at is None


def test_a_saga_reads_what_became_of_its_refund() -> None:
    bought = paid("pm_sim_partly_refunded")
    part = part_of(bought, 1250)
    call_parts(part)
    assert partial_refund_summaries([part.saga, uuid7()]) == {
        part.saga: {
            "status": "pending",
            "asked_amount": 1250,
            "refunded_amount": 0,
            "covered_amount": 0,
            "currency": "eur",
        }
    }
    run_parts(part)
    found = partial_refund_summaries([part.saga])[part.saga]
    assert (found["refunded_amount"], found["covered_amount"]) == (1000, 250)
