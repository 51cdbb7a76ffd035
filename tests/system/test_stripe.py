"""Orders paid through Stripe's client at the sandbox, with real workers and an API for webhooks."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import Settings

from orders.models import Order, TimelineEvent
from orders.saga import SAGAS
from payments.models import Payment, WebhookEvent
from sagas.failpoints import Action, Fault, Point
from sagas.ids import uuid7
from sagas.testing.armed_faults import ArmedFaults
from tests.integration.payments.stripe_harness import confirm
from tests.processes import until, worker
from tests.shop import FURTHER
from tests.system.harness import order, outcome, shop
from tests.system.stripe_system import (
    StripeSystem,
    net,
    next_action,
    running_workers,
    stripe_system,
)

pytestmark = [pytest.mark.django_db(transaction=True, databases="__all__"), pytest.mark.system]

__all__ = ["shop", "stripe_system"]

each_saga = pytest.mark.parametrize("saga", sorted(SAGAS))


@pytest.mark.faults
@each_saga
def test_orders_reach_the_expected_end_despite_stripe_faults(
    stripe_system: StripeSystem, api_client: Client, tmp_path: Path, settings: Settings, saga: str
) -> None:
    settings.ORDER_SAGA = saga
    ends = {
        "pm_card_visa": "fulfilled",
        "pm_card_chargeDeclined": "cancelled",
        "pm_card_chargeDeclinedStolenCard": "cancelled",
        "pm_sim_500_charged": "fulfilled",
        "pm_sim_processing": "fulfilled",
        "pm_sim_timeout_lost": "fulfilled",
    }
    for operation in ("create", "confirm", "retrieve", "capture", "cancel"):
        for fault in ("500_done", "reset_lost", "reset_done", "429"):
            stripe_system.sandbox.fault(
                f"payment_intents.{operation}", fault, times=4, probability=0.5
            )
    with running_workers(stripe_system, tmp_path) as working:
        placed = [
            order(api_client, f"{method}-{n}", method=method) for method in ends for n in range(3)
        ]
        rare = [order(api_client, f"rare-{n}", sku="RARE", quantity=2) for n in range(3)]
        until(
            lambda: not Order.objects.filter(ended_at=None).exists(),
            "all orders have ended",
            limit=120,
            process=working,
        )
    expected = [end for end in ends.values() for _ in range(3)]
    assert [outcome(each)[0] for each in placed] == expected
    assert [net(stripe_system, each) for each in placed] == [
        1_000 if end == "fulfilled" else 0 for end in expected
    ]
    assert sorted(net(stripe_system, each) for each in rare) == [0, 0, 18_000]
    assert WebhookEvent.objects.exists()
    assert "stolen" not in str(list(TimelineEvent.objects.values_list("detail", flat=True)))
    call_command("audit", "--expect-ended")


@pytest.mark.outside
@each_saga
def test_an_order_waits_for_its_customer_until_the_deadline(
    stripe_system: StripeSystem, api_client: Client, tmp_path: Path, settings: Settings, saga: str
) -> None:
    settings.ORDER_SAGA = saga
    method = "pm_card_threeDSecure2Required"
    with running_workers(stripe_system, tmp_path) as working:
        confirmed, refused, expired, cancelled = [
            order(api_client, f"key-{n}", method=method) for n in range(4)
        ]
        actions = {
            each: until(
                partial(next_action, api_client, each), "the customer must confirm", process=working
            )
            for each in (confirmed, refused, expired, cancelled)
        }
        for each in actions:
            assert api_client.get(f"/api/v1/orders/{each}/").json()["status"] == "pending"
        confirm(stripe_system.sandbox, actions[confirmed]["url"])
        confirm(stripe_system.sandbox, actions[refused]["url"], consent=False)
        assert api_client.post(f"/api/v1/orders/{cancelled}/cancel/").status_code == 202
        until(
            lambda: not Order.objects.filter(ended_at=None).exists(),
            "all orders have ended",
            limit=120,
            process=working,
        )
    assert [outcome(each) for each in actions] == [
        ("fulfilled", ""),
        ("cancelled", "payment_declined"),
        ("cancelled", "payment_action_expired"),
        ("cancelled", "cancelled_by_customer"),
    ]
    assert [net(stripe_system, each) for each in actions] == [1_000, 0, 0, 0]
    assert not Order.objects.filter(needs_attention=True).exists()
    assert next_action(api_client, confirmed) is None
    late = stripe_system.sandbox.http.post(actions[expired]["url"], data={"consent": "yes"})
    assert late.status_code == 400
    call_command("audit", "--expect-ended")


@pytest.mark.outside
def test_a_lost_webhook_only_delays_the_order(
    stripe_system: StripeSystem, api_client: Client, tmp_path: Path
) -> None:
    stripe_system.sandbox.fault("webhooks.*", "drop", times=None)
    with running_workers(stripe_system, tmp_path) as working:
        placed = order(api_client, "key", method="pm_card_threeDSecure2Required")
        action_of_customer = until(
            lambda: next_action(api_client, placed), "the customer must confirm", process=working
        )
        confirm(stripe_system.sandbox, action_of_customer["url"])
        until(lambda: outcome(placed)[0] == "fulfilled", "the order is fulfilled", process=working)
    assert not WebhookEvent.objects.exists()


@pytest.mark.faults
@pytest.mark.parametrize("action", list(Action))
def test_a_webhook_with_a_lost_answer_takes_effect_once(
    stripe_system: StripeSystem, api_client: Client, tmp_path: Path, action: Action
) -> None:
    placed = order(api_client, "key", method="pm_card_threeDSecure2Required")
    armed_faults = ArmedFaults(tmp_path)
    fault = Fault(Point.NOT_ACKNOWLEDGED, "payment_intent.succeeded", action)
    api = stripe_system.serve(tmp_path, FAILPOINTS=str(tmp_path))
    try:
        with worker("payments", "orders", *FURTHER, environ=stripe_system.environ) as working:
            action_of_customer = until(
                lambda: next_action(api_client, placed),
                "the customer must confirm",
                process=working,
            )
        with armed_faults.arm([fault], since=uuid7()):
            confirm(stripe_system.sandbox, action_of_customer["url"])
            until(lambda: armed_faults.hits(fault), "the fault is hit", process=api)
        event = WebhookEvent.objects.get(type=fault.step).id
        until(
            lambda: delivery(stripe_system, event)["attempts"],
            "the sandbox has no answer",
            process=api,
        )
        armed_faults.thaw(fault)
        until(
            lambda: delivery(stripe_system, event)["state"] == "delivered",
            "the sandbox has delivered the event again",
            process=api,
        )
    finally:
        api.kill()
    assert delivery(stripe_system, event)["attempts"] > 1
    assert WebhookEvent.objects.filter(type=fault.step).count() == 1
    assert Payment.objects.get(order_id=placed).status == "pending"


def delivery(stripe_system: StripeSystem, event: str) -> dict[str, Any]:
    """Return the sandbox's delivery of an event: its attempts and its state."""
    answer = stripe_system.sandbox.http.get("/sandbox/deliveries").json()
    deliveries: list[dict[str, Any]] = answer["data"]
    return next(found for found in deliveries if found["event"] == event)
