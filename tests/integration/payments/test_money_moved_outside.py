"""Money that people and banks move at the gateway is recorded, and the rest of it is given back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from django.db import transaction

from orders.saga import PLACE_ORDER
from payments import followup
from payments.events import PaymentMismatched, PaymentRefunded, PaymentVoided
from payments.followup import follow_up_once
from payments.gateways.stripe import StripeGateway, refunds
from payments.models import Dispute, Outbox, Payment, WebhookEvent
from payments.steps import refunded_by_hand
from sagas.definition.events import is_notice
from sagas.definition.handlers import ManualConfirmation, Unknown, Waiting
from sagas.definition.messages import Message
from sagas.execution import runner
from sagas.ids import uuid7
from tests.integration.payments.harness import Order, order, payment, run
from tests.integration.payments.scripted_gateway import PATH
from tests.integration.payments.stripe_harness import moved_money
from tests.integration.payments.test_webhooks import deliver, event
from tests.processes import until
from tests.sandbox.process import SECRET, Sandbox

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "payments"])


@pytest.fixture(autouse=True)
def _signed(settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRET = SECRET


def charged(method: str = "pm_card_visa") -> Order:
    paid = order(method)
    run("payments.charge", paid)
    return paid


def tell(kind: str, paid: Order) -> str:
    """Deliver an event about an object of the order's charge; return its effect."""
    charge = payment(paid).charge_id
    resource = {"id": "obj_1", "object": "any", "charge": charge, "metadata": None}
    sent = event(kind, resource=resource)
    assert deliver(sent).status_code == 200
    return WebhookEvent.objects.get(id=sent["id"]).effect


def refund_by_hand(sandbox: Sandbox, paid: Order, amount: int) -> None:
    sandbox.control("dashboard/refunds", charge=payment(paid).charge_id, amount=amount)


def dispute(sandbox: Sandbox, paid: Order, **fields: Any) -> str:
    opened = sandbox.control("dashboard/disputes", charge=payment(paid).charge_id, **fields)
    return str(opened["id"])


def close(sandbox: Sandbox, dispute_id: str, status: str) -> None:
    sandbox.control(f"dashboard/disputes/{dispute_id}", status=status)


def books(paid: Order) -> tuple[str, int | None, int, int, int, str]:
    row = payment(paid)
    return (
        row.status,
        row.captured_amount,
        row.refunded_amount,
        row.owed_amount,
        row.disputed_amount,
        row.dispute_status,
    )


def test_after_a_refund_of_a_part_by_hand_the_cancel_gives_back_the_rest(sandbox: Sandbox) -> None:
    paid = charged()
    refund_by_hand(sandbox, paid, 250)
    (outcome,) = run("payments.refund", paid)
    assert outcome == PaymentRefunded(payment_id=payment(paid).id, amount=1250, currency="eur")
    assert sorted(refund.amount for refund in refunds_of(sandbox, paid)) == [250, 1000]
    assert moved_money(sandbox, paid) == {"capture": 1250, "refund": 1250}
    assert books(paid) == ("refunded", 1250, 1250, 0, 0, "")
    assert left_of_charge(sandbox, paid) == 0


def left_of_charge(sandbox: Sandbox, paid: Order) -> int:
    charge = sandbox.client.v1.charges.retrieve(str(payment(paid).charge_id))
    return int(charge.amount_captured - charge.amount_refunded)


def test_another_amount_captured_by_hand_is_not_taken_for_the_orders(sandbox: Sandbox) -> None:
    paid = order()
    run("payments.authorize", paid)
    sandbox.control("dashboard/captures", payment_intent=intent_of(sandbox, paid), amount=500)
    (outcome,) = run("payments.capture", paid)
    assert isinstance(outcome, PaymentMismatched)
    assert "5.00 EUR were captured instead of 12.50 EUR." in outcome.detail
    assert books(paid) == ("captured", 500, 0, 0, 0, "")
    (undone,) = run("payments.void", paid)
    assert undone == PaymentVoided(payment_id=payment(paid).id, amount=500, currency="eur")
    assert books(paid) == ("refunded", 500, 500, 0, 0, "")
    assert left_of_charge(sandbox, paid) == 0


def test_a_charge_of_another_amount_is_undone_by_its_own_step(sandbox: Sandbox) -> None:
    paid = order()
    run("payments.authorize", paid)
    sandbox.control("dashboard/captures", payment_intent=intent_of(sandbox, paid), amount=500)
    message = message_of(paid)
    runner.run("payments.charge", PLACE_ORDER.plan, [message])
    row = Outbox.objects.get(saga=paid.saga)
    assert (row.type, row.target) == ("payment.failed", "payments.refund")
    assert row.context["failure"]["code"] == "payment_amount_differs"


def message_of(paid: Order) -> Message:
    return Message(
        id=uuid7(),
        saga=paid.saga,
        started_at=datetime.now(UTC),
        seq=0,
        context={"amount": 1250, "currency": "eur", "payment_method": paid.context.payment_method},
    )


def intent_of(sandbox: Sandbox, paid: Order) -> str:
    query = {"query": f"metadata['order_id']:'{paid.saga}'"}
    found = sandbox.client.v1.payment_intents.search(query)  # type: ignore[arg-type]
    return str(found.data[0].id)


def test_a_goodwill_refund_of_a_captured_payment_is_recorded(sandbox: Sandbox) -> None:
    paid = charged()
    refund_by_hand(sandbox, paid, 300)
    assert tell("charge.refunded", paid) == "followed"
    # The last release would give back the whole charge of each payment that is due by `follow_at`.
    assert payment(paid).follow_at is None
    assert follow_up_once() == 1
    assert books(paid) == ("captured", 1250, 300, 0, 0, "")
    assert payment(paid).balance_due_at is None
    assert left_of_charge(sandbox, paid) == 950


def test_a_refund_that_fails_after_the_end_is_owed_until_the_next_one_is_through(
    sandbox: Sandbox,
) -> None:
    paid = charged()
    run("payments.refund", paid)
    assert books(paid)[0] == "refunded"
    first = refunds_of(sandbox, paid)[0].id
    sandbox.fault("refunds.create", "500_lost", times=2)
    sandbox.control(f"dashboard/refunds/{first}/fail")
    assert tell("refund.failed", paid) == "followed"
    assert follow_up_once() == 1
    assert books(paid) == ("captured", 1250, 0, 1250, 0, "")
    assert payment(paid).follow_error

    def follow() -> bool:
        Payment.objects.filter(follow_at__isnull=False).update(follow_at="2020-01-01T00:00Z")
        follow_up_once()
        return payment(paid).status == "refunded"

    until(follow, "the money is back")
    assert books(paid) == ("refunded", 1250, 1250, 0, 0, "")
    assert (payment(paid).follow_at, payment(paid).follow_error) == (None, "")
    assert left_of_charge(sandbox, paid) == 0


def test_a_refund_that_the_bank_delays_after_the_end_waits_as_agreed(sandbox: Sandbox) -> None:
    paid = charged("pm_card_pendingRefund")
    # The rows say that the charge was barred, as after a restore from an older backup.
    Payment.objects.update(status="void", charge_id=None, captured_amount=None)
    Payment.objects.update(follow_at="2020-01-01T00:00Z")
    assert follow_up_once() == 1
    assert books(paid) == ("captured", 1250, 0, 1250, 0, "")
    waiting = payment(paid)
    assert waiting.expected_at is not None
    assert waiting.expected_at > datetime.now(UTC) + timedelta(days=1)

    sandbox.control(f"settle/{refunds_of(sandbox, paid)[0].id}", outcome="succeeded")
    Payment.objects.update(follow_at="2020-01-01T00:00Z")
    assert follow_up_once() == 1
    assert books(paid) == ("refunded", 1250, 1250, 0, 0, "")
    assert payment(paid).expected_at is None


def refunds_of(sandbox: Sandbox, paid: Order) -> list[stripe.Refund]:
    listed = sandbox.client.v1.refunds.list({"charge": str(payment(paid).charge_id)})
    return list(listed.data)


def test_a_dispute_is_recorded_and_told_to_the_timeline(sandbox: Sandbox) -> None:
    paid = order()
    runner.run("payments.charge", PLACE_ORDER.plan, [message_of(paid)])
    opened = dispute(sandbox, paid, amount=500)
    assert tell("charge.dispute.created", paid) == "followed"
    assert follow_up_once() == 1
    assert books(paid) == ("captured", 1250, 0, 0, 500, "open")
    row = Dispute.objects.get()
    assert (row.id, row.order_id, row.amount, row.status) == (opened, paid.saga, 500, "open")
    assert row.respond_by is not None

    tell("charge.dispute.updated", paid)
    follow_up_once()
    close(sandbox, opened, "won")
    tell("charge.dispute.closed", paid)
    follow_up_once()
    assert books(paid) == ("captured", 1250, 0, 0, 0, "won")
    notices = Outbox.objects.filter(type="payment.disputed").order_by("id")
    assert is_notice("payment.disputed")
    assert [(notice.data["status"], notice.target) for notice in notices] == [
        ("open", None),
        ("won", None),
    ]


def test_a_refund_waits_for_the_dispute_and_ends_with_it(sandbox: Sandbox) -> None:
    paid = charged()
    opened = dispute(sandbox, paid)
    (waiting,) = run("payments.refund", paid)
    assert isinstance(waiting, Waiting)
    assert "dispute" in waiting.reason
    close(sandbox, opened, "lost")
    (outcome,) = run("payments.refund", paid)
    assert outcome == PaymentRefunded(
        payment_id=payment(paid).id, amount=0, currency="eur", disputed=1250
    )
    assert books(paid) == ("refunded", 1250, 0, 0, 1250, "lost")


def test_a_dispute_that_is_recorded_leaves_the_refund_waiting_as_agreed(sandbox: Sandbox) -> None:
    paid = order()
    runner.run("payments.charge", PLACE_ORDER.plan, [message_of(paid)])
    dispute(sandbox, paid)
    (waiting,) = run("payments.refund", paid)
    assert isinstance(waiting, Waiting)
    assert waiting.notice is not None
    expected_at = payment(paid).expected_at

    tell("charge.dispute.created", paid)
    assert follow_up_once() == 1
    assert books(paid) == ("captured", 1250, 0, 0, 1250, "open")
    assert payment(paid).expected_at == expected_at
    (again,) = run("payments.refund", paid)
    assert isinstance(again, Waiting)
    assert again.notice is None


def test_a_refund_goes_on_after_a_dispute_that_was_won(sandbox: Sandbox) -> None:
    paid = charged()
    opened = dispute(sandbox, paid)
    run("payments.refund", paid)
    close(sandbox, opened, "won")
    (outcome,) = run("payments.refund", paid)
    assert outcome == PaymentRefunded(payment_id=payment(paid).id, amount=1250, currency="eur")
    assert left_of_charge(sandbox, paid) == 0


def test_a_disputed_charge_of_a_cancelled_order_is_not_owed(sandbox: Sandbox) -> None:
    paid = charged()
    run("payments.refund", paid)
    Payment.objects.update(follow_at="2020-01-01T00:00Z")
    assert follow_up_once() == 1
    assert books(paid) == ("refunded", 1250, 1250, 0, 0, "")


def test_a_refund_that_the_bank_delays_waits_as_agreed_until_its_deadline(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = charged("pm_card_pendingRefund")
    (waiting,) = run("payments.refund", paid)
    assert isinstance(waiting, Waiting)
    assert waiting.notice is not None
    expected_at = payment(paid).expected_at
    assert expected_at is not None
    assert waiting.notice.facts()["waits_until"] == expected_at.isoformat().replace("+00:00", "Z")
    assert waiting.notice.facts()["subject"] == "refund"

    (again,) = run("payments.refund", paid)
    assert isinstance(again, Waiting)
    assert again.notice is None

    monkeypatch.setattr(refunds, "REFUND_TAKES", timedelta(0))
    Payment.objects.update(expected_at=datetime.now(UTC) - timedelta(seconds=1))
    (overdue,) = run("payments.refund", paid)
    assert isinstance(overdue, Unknown)
    assert "was due at" in overdue.reason
    assert overdue.after < 10  # the bank may decide just after its deadline

    monkeypatch.setattr(refunds, "REFUND_TAKES", -timedelta(days=1))
    Payment.objects.update(expected_at=datetime.now(UTC) - timedelta(days=1))
    (long_overdue,) = run("payments.refund", paid)
    assert isinstance(long_overdue, Unknown)
    assert long_overdue.after == 300


def test_an_event_repeats_a_refund_that_a_person_made(sandbox: Sandbox) -> None:
    paid = charged()
    refund_by_hand(sandbox, paid, 1250)
    (made,) = refunds_of(sandbox, paid)
    confirmation = ManualConfirmation(by="olga", evidence="In the dashboard.", reference=made.id)
    with transaction.atomic(using="payments"):
        refunded_by_hand(paid, confirmation)
    sandbox.control(f"dashboard/refunds/{made.id}/fail")
    assert tell("refund.failed", paid) == "followed"
    assert follow_up_once() == 1
    assert books(paid) == ("refunded", 1250, 1250, 0, 0, "")
    assert left_of_charge(sandbox, paid) == 0


def test_a_refund_marked_as_done_gets_the_amounts_of_the_gateway(sandbox: Sandbox) -> None:
    paid = charged()
    refund_by_hand(sandbox, paid, 750)
    confirmation = ManualConfirmation(by="olga", evidence="In the dashboard.", reference="re_1")
    with transaction.atomic(using="payments"):
        refunded_by_hand(paid, confirmation)
    assert books(paid) == ("refunded", 1250, 1250, 0, 0, "")
    assert follow_up_once() == 1
    assert books(paid) == ("refunded", 1250, 750, 0, 0, "")
    assert left_of_charge(sandbox, paid) == 500
    # Other events, and "Try again now", only read the balance as well.
    assert tell("charge.succeeded", paid) == "followed"
    assert follow_up_once() == 1
    assert left_of_charge(sandbox, paid) == 500


def test_a_payment_that_cannot_be_recorded_does_not_stop_the_others(sandbox: Sandbox) -> None:
    wrong, good, other = charged(), charged(), charged()
    charge = payment(wrong).charge_id
    Payment.objects.filter(order_id=wrong.saga).update(
        status="void", charge_id=None, captured_amount=None, follow_at="2020-01-01T00:00Z"
    )
    # Another row has the charge, as after a restore by hand.
    Payment.objects.filter(order_id=other.saga).update(charge_id=charge)
    refund_by_hand(sandbox, good, 300)
    assert tell("charge.refunded", good) == "followed"

    assert follow_up_once() == 2
    assert books(good) == ("captured", 1250, 300, 0, 0, "")
    assert payment(wrong).status == "void"
    assert "cannot be recorded" in payment(wrong).follow_error


def test_a_follow_up_has_the_time_of_one_step(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Its requests end within the lease, and before the time limit of its task."""
    made: list[float] = []
    begin = StripeGateway.__init__

    def counted(gateway: StripeGateway) -> None:
        begin(gateway)
        made.append(gateway.until)

    undone, kept = charged(), charged()
    Payment.objects.filter(order_id=undone.saga).update(
        status="void", charge_id=None, captured_amount=None, follow_at="2020-01-01T00:00Z"
    )
    Payment.objects.filter(order_id=kept.saga).update(balance_due_at="2020-01-01T00:00Z")
    monkeypatch.setattr(StripeGateway, "__init__", counted)
    assert follow_up_once() == 2
    assert len(made) == 1
    assert payment(undone).status == "refunded"


def test_a_follow_up_starts_no_batch_late(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(followup, "BATCH", 1)
    for _ in range(3):
        charged()
    Payment.objects.update(balance_due_at="2020-01-01T00:00Z")
    settings.CELERY_TASK_SOFT_TIME_LIMIT = settings.SAGA_LEASE_SECONDS
    assert follow_up_once() == 1
    settings.CELERY_TASK_SOFT_TIME_LIMIT = settings.SAGA_LEASE_SECONDS + 60
    assert follow_up_once() == 2


def test_an_older_answer_does_not_replace_a_newer_one(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid = charged()
    assert tell("charge.refunded", paid) == "followed"
    ask = followup._ask

    def slow(*args: Any) -> Any:
        """Answer only after an event, and the follow-up that it caused."""
        findings = ask(*args)
        monkeypatch.setattr(followup, "_ask", ask)
        refund_by_hand(sandbox, paid, 300)
        tell("charge.refunded", paid)
        assert follow_up_once() == 1
        return findings

    monkeypatch.setattr(followup, "_ask", slow)
    assert follow_up_once() == 1
    assert books(paid) == ("captured", 1250, 300, 0, 0, "")
    assert payment(paid).balance_due_at is None


def test_a_gateway_that_raises_does_not_stop_the_others(sandbox: Sandbox) -> None:
    good, wrong = charged(), charged()
    Payment.objects.filter(order_id=wrong.saga).update(
        gateway=PATH, owed_amount=1250, follow_at="2020-01-01T00:00Z"
    )
    refund_by_hand(sandbox, good, 300)
    assert tell("charge.refunded", good) == "followed"
    assert follow_up_once() == 2
    assert books(good) == ("captured", 1250, 300, 0, 0, "")
    assert "must not move money" in payment(wrong).follow_error
