"""Messages that come twice, late and in the wrong order, through the broker itself: one effect
each.
"""

import random
from typing import Any

import pytest

from inventory.models import Inbox as InventoryInbox
from inventory.models import Outbox as InventoryOutbox
from inventory.models import Reservation, StockItem
from orders.models import Inbox as OrdersInbox
from orders.models import Order
from orders.models import Outbox as OrdersOutbox
from payments.models import Inbox as PaymentsInbox
from payments.models import Outbox as PaymentsOutbox
from payments.models import SimulatedCharge
from tests.outside.captured_messages import capture, lose, send
from tests.processes import until
from tests.system.harness import net, order, outcome

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.outside]

EFFECTS: dict[Any, tuple[str, ...]] = {
    SimulatedCharge: ("kind", "key", "amount"),
    Reservation: ("order_id", "item_id", "quantity", "state"),
    StockItem: ("sku", "on_hand", "reserved", "shipped"),
    Order: ("id", "status", "failure_code", "ended_at"),
    **dict.fromkeys(
        (OrdersInbox, PaymentsInbox, InventoryInbox), ("saga", "step", "state", "attempts")
    ),
    **dict.fromkeys((OrdersOutbox, PaymentsOutbox, InventoryOutbox), ("id", "type")),
}


def effects():
    return {model: set(model.objects.values_list(*columns)) for model, columns in EFFECTS.items()}


def steps(messages, *names):
    return [
        sent
        for sent in messages
        if sent.task == "sagas.run_step" and (not names or sent.args[0] in names)
    ]


def orders_of_each_kind(client):
    """Fulfilled ones, a declined one, one sold out, and one whose customer changes her mind."""
    placed = [order(client, f"good-{number}") for number in range(4)]
    placed.append(order(client, "poor", method="pm_card_chargeDeclined"))
    placed.append(order(client, "greedy", sku="RARE", quantity=4))
    placed.append(order(client, "regret"))
    client.post(f"/api/v1/orders/{placed[-1]}/cancel/")

    return placed


def test_every_message_again_twice_and_in_any_order_changes_nothing(api_client, system):
    with capture() as messages:
        orders_of_each_kind(api_client)
        system.wait_until_idle()

    before = effects()
    again = steps(messages) * 2
    assert {sent.args[0] for sent in again} >= {
        "payments.charge",
        "payments.refund",
        "inventory.reserve",
        "inventory.ship",
        "orders.fulfil",
        "orders.cancel",
    }
    random.Random(1).shuffle(again)
    send(*again)
    system.wait_until_idle()
    assert effects() == before


def test_an_undo_that_comes_before_its_action_bars_it_for_ever(api_client, system):
    with capture() as messages, system.suspended():
        placed = order(api_client, "late")
        until(lambda: steps(messages, "payments.charge"), "its charge is sent")
        lost = lose("payments.charge", messages)
        assert api_client.post(f"/api/v1/orders/{placed}/cancel/").status_code == 202

    until(lambda: outcome(placed)[0] == "cancelled", "the order is cancelled")
    send(*lost)
    system.wait_until_idle()
    assert PaymentsInbox.objects.get(saga=placed, step="payments.charge").state == "refused"
    assert not SimulatedCharge.objects.exists()
    assert net(placed) == 0
