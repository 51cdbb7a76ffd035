"""Orders whose payment is undecided for days: vouchers and bank debits, with real workers."""

from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from orders.models import Order
from payments.models import Payment
from tests.integration.payments.stripe_harness import confirm
from tests.processes import until
from tests.system.harness import ended, order, outcome, shop, timeline
from tests.system.stripe_system import (
    StripeSystem,
    net,
    next_action,
    running_workers,
    stripe_system,
)

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

__all__ = ["shop", "stripe_system"]


def settle(stripe_system: StripeSystem, placed: str, verdict: str) -> None:
    """Let the bank decide on an order's payment, or its time run out, without waiting for days."""
    intents = stripe_system.sandbox.client.v1.payment_intents.list().data
    (intent,) = (each for each in intents if each.metadata["order_id"] == placed)
    stripe_system.sandbox.control(f"settle/{intent.id}", outcome=verdict)


def assert_waits_as_agreed(placed: str, *, days: int) -> None:
    """Check that the order waits, without alarm and without re-drives, for this many days."""
    waiting = Order.objects.get(id=placed)
    assert (waiting.status, waiting.needs_attention, waiting.redrives) == ("pending", False, 0)
    assert waiting.rescue_at - timezone.now() > timedelta(days=days)


def test_a_voucher_is_shown_and_its_order_is_fulfilled_once_it_is_paid(
    stripe_system: StripeSystem, api_client: Client, tmp_path: Path
) -> None:
    with running_workers(stripe_system, tmp_path):
        paid, unpaid = [order(api_client, f"{n}", method="pm_sim_boleto") for n in range(2)]
        actions = {
            placed: until(partial(next_action, api_client, placed), "the voucher is shown")
            for placed in (paid, unpaid)
        }
        for placed, action in actions.items():
            assert "Pay your order" in stripe_system.sandbox.http.get(action["url"]).text
            assert_waits_as_agreed(placed, days=2)

        confirm(stripe_system.sandbox, actions[paid]["url"])
        until(lambda: ended(paid), "the paid order has ended")
        assert outcome(paid) == ("fulfilled", "")
        assert_waits_as_agreed(unpaid, days=2)

        settle(stripe_system, unpaid, "failed")
        until(lambda: ended(unpaid), "the unpaid order has ended")
    assert outcome(unpaid) == ("cancelled", "payment_declined")
    assert next_action(api_client, unpaid) is None
    assert [net(stripe_system, placed) for placed in (paid, unpaid)] == [1_000, 0]
    call_command("audit", "--expect-ended")


@pytest.mark.outside
@pytest.mark.parametrize(
    ("verdict", "end"),
    [("succeeded", ("fulfilled", "")), ("failed", ("cancelled", "payment_declined"))],
)
def test_an_order_waits_as_agreed_for_a_bank_debit(
    stripe_system: StripeSystem, api_client: Client, tmp_path: Path, verdict: str, end: object
) -> None:
    with running_workers(stripe_system, tmp_path):
        placed = order(api_client, "key", method="pm_sim_sepa_debit")
        until(lambda: "payment.undecided" in timeline(placed), "the bank has not decided")
        assert_waits_as_agreed(placed, days=5)
        assert Payment.objects.get(order_id=placed).status == "pending"

        settle(stripe_system, placed, verdict)
        until(lambda: ended(placed), "the order has ended")
    assert outcome(placed) == end
    assert net(stripe_system, placed) == (1_000 if verdict == "succeeded" else 0)
    call_command("audit", "--expect-ended")
