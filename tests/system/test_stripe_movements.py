"""Orders whose money people and banks move at Stripe, with real workers and webhooks."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from orders.models import Order
from payments.models import Dispute, Payment, WebhookEvent
from tests.processes import until, worker
from tests.shop import FURTHER
from tests.system.harness import ended, order, outcome, shop, timeline
from tests.system.stripe_system import StripeSystem, net, running_workers, stripe_system

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.system,
    pytest.mark.outside,
]

__all__ = ["shop", "stripe_system"]

WITHOUT_STOCK = ("orders", "payments", *FURTHER)


class Checkout:
    """A running system whose stock is not reserved before `open_stock` is called."""

    def __init__(self, system: StripeSystem, client: Client, stack: ExitStack) -> None:
        self.system = system
        self.client = client
        self.stack = stack

    def place(self, status: str) -> Payment:
        """Place an order and return its payment, once that has the status."""
        placed = order(self.client, "key")
        until(
            lambda: Payment.objects.filter(order_id=placed, status=status).exists(),
            f"the payment is {status}",
        )
        return Payment.objects.get(order_id=placed)

    def cancel(self, payment: Payment) -> None:
        """Cancel the order of a payment, as its customer."""
        answer = self.client.post(f"/api/v1/orders/{payment.order_id}/cancel/")
        assert answer.status_code == 202, answer.content

    def open_stock(self) -> None:
        """Start the worker of inventory."""
        self.stack.enter_context(worker("inventory", environ=self.system.environ))

    def await_end(self, payment: Payment) -> tuple[str, str]:
        """Wait until the order has ended; return its status and failure code."""
        placed = str(payment.order_id)
        until(lambda: ended(placed), "the order has ended")
        return outcome(placed)

    def left(self, payment: Payment) -> int:
        """Return the money that is left of the order at the provider, in minor units."""
        return net(self.system, str(payment.order_id))


@pytest.fixture
def checkout(stripe_system: StripeSystem, api_client: Client, tmp_path: Path) -> Iterator[Checkout]:
    """Run the workers of orders and payments, beat and the API."""
    with ExitStack() as stack:
        stack.enter_context(running_workers(stripe_system, tmp_path, WITHOUT_STOCK))
        yield Checkout(stripe_system, api_client, stack)


@pytest.mark.parametrize(
    ("verdict", "refunded", "disputed"), [("lost", 0, 1_000), ("won", 1_000, 0)]
)
def test_a_refund_waits_as_agreed_for_a_dispute_and_ends_with_it(
    checkout: Checkout, verdict: str, refunded: int, disputed: int
) -> None:
    payment = checkout.place("captured")
    placed = str(payment.order_id)
    dispute = checkout.system.sandbox.control("dashboard/disputes", charge=payment.charge_id)
    checkout.cancel(payment)
    checkout.open_stock()

    expected = {"payment.undecided", "payment.disputed", "stock.released"}
    until(lambda: expected <= set(timeline(placed)), "the refund waits, and the stock is released")
    waiting = Order.objects.get(id=placed)
    assert (waiting.status, waiting.needs_attention, waiting.redrives) == (
        "cancelling",
        False,
        0,
    )
    assert waiting.rescue_at - timezone.now() > timedelta(days=75)
    assert Dispute.objects.get(id=dispute["id"]).status == "open"

    checkout.system.sandbox.control(f"dashboard/disputes/{dispute['id']}", status=verdict)
    assert checkout.await_end(payment) == ("cancelled", "cancelled_by_customer")
    until(
        lambda: Dispute.objects.get(id=dispute["id"]).status == verdict, "the verdict is recorded"
    )
    assert checkout.left(payment) == 0
    payment.refresh_from_db()
    assert (payment.status, payment.refunded_amount) == ("refunded", refunded)
    assert (payment.disputed_amount, payment.owed_amount) == (disputed, 0)
    call_command("audit", "--expect-ended")


def test_an_order_is_cancelled_if_a_part_was_captured_by_hand(
    checkout: Checkout, settings: Settings
) -> None:
    settings.ORDER_SAGA = "authorize_first"
    payment = checkout.place("authorized")
    (intent,) = checkout.system.sandbox.client.v1.payment_intents.list().data
    checkout.system.sandbox.control("dashboard/captures", payment_intent=intent.id, amount=400)
    checkout.open_stock()

    assert checkout.await_end(payment) == ("cancelled", "payment_amount_differs")
    assert "order.fulfilled" not in timeline(str(payment.order_id))
    assert checkout.left(payment) == 0
    payment.refresh_from_db()
    assert (payment.status, payment.captured_amount) == ("refunded", 400)
    assert (payment.refunded_amount, payment.owed_amount) == (400, 0)
    call_command("audit", "--expect-ended")


def test_a_goodwill_refund_after_fulfilment_is_recorded_and_explained(checkout: Checkout) -> None:
    checkout.open_stock()
    payment = checkout.place("captured")
    assert checkout.await_end(payment) == ("fulfilled", "")
    call_command("audit", "--expect-ended")

    checkout.system.sandbox.control("dashboard/refunds", charge=payment.charge_id, amount=250)
    until(
        lambda: Payment.objects.get(order_id=payment.order_id).refunded_amount == 250,
        "the refund is recorded",
    )
    payment.refresh_from_db()
    assert (payment.status, payment.owed_amount) == ("captured", 0)
    assert WebhookEvent.objects.filter(order_id=payment.order_id, effect="followed").exists()
    assert checkout.left(payment) == 750
    assert outcome(str(payment.order_id)) == ("fulfilled", "")
    call_command("audit", "--expect-ended")


def test_after_a_refund_of_a_part_by_hand_a_cancel_gives_back_the_rest(checkout: Checkout) -> None:
    payment = checkout.place("captured")
    checkout.system.sandbox.control("dashboard/refunds", charge=payment.charge_id, amount=250)
    checkout.cancel(payment)
    checkout.open_stock()

    assert checkout.await_end(payment) == ("cancelled", "cancelled_by_customer")
    refunds = [
        entry["amount"] for entry in checkout.system.sandbox.ledger() if entry["kind"] == "refund"
    ]
    assert (refunds, checkout.left(payment)) == ([250, 750], 0)
    payment.refresh_from_db()
    assert (payment.status, payment.refunded_amount) == ("refunded", 1_000)
    call_command("audit", "--expect-ended")


def test_a_refund_that_bounces_after_the_end_is_made_again(checkout: Checkout) -> None:
    payment = checkout.place("captured")
    checkout.cancel(payment)
    checkout.open_stock()
    assert checkout.await_end(payment) == ("cancelled", "cancelled_by_customer")

    (made,) = (each for each in checkout.system.sandbox.ledger() if each["kind"] == "refund")
    checkout.system.sandbox.control(f"dashboard/refunds/{made['id']}/fail")
    assert checkout.left(payment) == 1_000
    until(lambda: checkout.left(payment) == 0, "the money is given back again")
    until(
        lambda: not Payment.objects.filter(follow_at__isnull=False).exists(),
        "the follow-up has ended",
    )
    payment.refresh_from_db()
    assert (payment.status, payment.refunded_amount, payment.owed_amount) == ("refunded", 1_000, 0)
    call_command("audit", "--expect-ended")
