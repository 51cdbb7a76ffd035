"""Each message has one effect if the broker delivers it twice, late or in the wrong order."""

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


def place_each_kind_of_order(client):
    """Place orders that are fulfilled, declined, sold out, and cancelled by the customer."""
    placed = [order(client, f"good-{number}") for number in range(4)]
    placed.append(order(client, "poor", method="pm_card_chargeDeclined"))
    placed.append(order(client, "greedy", sku="RARE", quantity=4))
    placed.append(order(client, "regret"))
    client.post(f"/api/v1/orders/{placed[-1]}/cancel/")

    return placed


def test_repeated_and_reordered_messages_change_nothing(api_client, system):
    with capture() as messages:
        place_each_kind_of_order(api_client)
        system.wait_until_idle()

    before = effects()
    repeated = steps(messages) * 2
    assert {sent.args[0] for sent in repeated} >= {
        "payments.charge",
        "payments.refund",
        "inventory.reserve",
        "inventory.ship",
        "orders.fulfil",
        "orders.cancel",
    }
    random.Random(1).shuffle(repeated)
    send(*repeated)
    system.wait_until_idle()
    assert effects() == before


@pytest.mark.usefixtures("steps_of_the_shop")
def test_an_undo_that_arrives_before_its_action_bars_the_action(api_client, system):
    with capture() as messages, system.suspended():
        placed = order(api_client, "late")
        until(lambda: steps(messages, "payments.charge"), "the charge is sent")
        lost = lose("payments.charge", messages)
        assert api_client.post(f"/api/v1/orders/{placed}/cancel/").status_code == 202

    until(lambda: outcome(placed)[0] == "cancelled", "the order is cancelled")
    send(*lost)
    system.wait_until_idle()
    assert PaymentsInbox.objects.get(saga=placed, step="payments.charge").state == "refused"
    assert not SimulatedCharge.objects.exists()
    assert net(placed) == 0
