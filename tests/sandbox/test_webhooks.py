"""The sandbox signs each event and delivers it at least once. Fault rules can drop or delay it."""

from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from tests.processes import until
from tests.sandbox.endpoint import Endpoint, listening
from tests.sandbox.process import Sandbox, running


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Sandbox, Endpoint]]:
    with listening() as endpoint, running("--webhook-url", endpoint.url) as sandbox:
        yield sandbox, endpoint


@pytest.fixture
def sandbox(pair: tuple[Sandbox, Endpoint]) -> Iterator[Sandbox]:
    yield pair[0]
    pair[0].http.delete("/sandbox/faults").raise_for_status()


@pytest.fixture
def endpoint(pair: tuple[Sandbox, Endpoint]) -> Endpoint:
    wait_until_delivered(pair[0])
    pair[1].received.clear()
    return pair[1]


def deliveries(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Return the deliveries, newest first."""
    return list(sandbox.http.get("/sandbox/deliveries").json()["data"])


def wait_until_delivered(sandbox: Sandbox) -> None:
    """Wait until no delivery is due."""
    until(
        lambda: all(delivery["state"] != "due" for delivery in deliveries(sandbox)),
        "no delivery is due",
    )


def test_stripes_client_verifies_the_signature_and_reads_the_event(
    sandbox: Sandbox, endpoint: Endpoint
) -> None:
    intent = sandbox.charge(key="delivered")
    event = endpoint.of_type("payment_intent.succeeded")[0].verified()
    assert (event.data.object.id, event.data.object.metadata["order_id"]) == (intent.id, "o-1")
    assert (event.livemode, event.request.idempotency_key) == (False, "delivered")
    wait_until_delivered(sandbox)
    again = sandbox.client.v1.events.retrieve(event.id)
    assert (again.type, again.pending_webhooks) == ("payment_intent.succeeded", 0)


def cause_all_events(sandbox: Sandbox) -> None:
    """Cause an event of every documented type."""
    with pytest.raises(stripe.CardError):
        sandbox.charge("pm_card_chargeDeclined")

    sandbox.charge("pm_sim_processing")
    held = sandbox.charge(capture_method="manual")
    sandbox.client.v1.payment_intents.cancel(held.id)
    sandbox.charge("pm_card_authenticationRequired")
    pending = sandbox.charge("pm_card_pendingRefund")

    for outcome in ("succeeded", "failed"):
        refund = sandbox.client.v1.refunds.create({"payment_intent": pending.id, "amount": 50})
        sandbox.control(f"settle/{refund.id}", outcome=outcome)

    held = sandbox.charge(capture_method="manual")
    sandbox.control("dashboard/captures", payment_intent=held.id, amount=500)
    lapsing = sandbox.charge(capture_method="manual")
    sandbox.control(f"settle/{lapsing.id}", outcome="failed")
    dispute = sandbox.control("dashboard/disputes", charge=pending.latest_charge)["id"]
    for status in ("under_review", "won"):
        sandbox.control(f"dashboard/disputes/{dispute}", status=status)


def test_every_documented_event_is_delivered(sandbox: Sandbox, endpoint: Endpoint) -> None:
    cause_all_events(sandbox)
    for type_ in (
        *(
            "created",
            "payment_failed",
            "processing",
            "amount_capturable_updated",
            "canceled",
            "requires_action",
        ),
        "succeeded",
    ):
        endpoint.of_type(f"payment_intent.{type_}")

    for type_ in ("charge.refunded", "refund.created", "refund.updated", "refund.failed"):
        endpoint.of_type(type_)

    for type_ in ("captured", "expired", "failed", "succeeded", "pending"):
        endpoint.of_type(f"charge.{type_}")

    for type_ in ("created", "funds_withdrawn", "updated", "closed", "funds_reinstated"):
        endpoint.of_type(f"charge.dispute.{type_}")


def test_an_event_that_the_endpoint_refuses_is_delivered_again(
    sandbox: Sandbox, endpoint: Endpoint
) -> None:
    endpoint.answers[:] = [500]
    sandbox.create()
    first, second = endpoint.of_type("payment_intent.created", at_least=2)
    assert first.payload == second.payload
    wait_until_delivered(sandbox)
    assert deliveries(sandbox)[0]["attempts"] == 2


def test_a_rule_drops_or_duplicates_events_of_a_type(sandbox: Sandbox, endpoint: Endpoint) -> None:
    sandbox.fault("webhooks.payment_intent.created", "drop")
    sandbox.fault("webhooks.payment_intent.canceled", "duplicate")
    dropped = sandbox.create()
    sandbox.client.v1.payment_intents.cancel(dropped.id)
    first, second = endpoint.of_type("payment_intent.canceled", at_least=2)
    assert first.verified().id == second.verified().id
    wait_until_delivered(sandbox)
    assert not any(
        b'"type":"payment_intent.created"' in event.payload for event in endpoint.received
    )
    lost = next(found for found in deliveries(sandbox) if found["state"] == "dropped")
    sandbox.control("deliveries", event=lost["event"])
    assert endpoint.of_type("payment_intent.created")[0].verified().data.object.id == dropped.id


def test_a_delayed_event_arrives_after_later_events(sandbox: Sandbox, endpoint: Endpoint) -> None:
    sandbox.fault("webhooks.payment_intent.created", "delay", seconds=1000)
    intent = sandbox.create()
    sandbox.client.v1.payment_intents.cancel(intent.id)
    endpoint.of_type("payment_intent.canceled")
    assert [delivery["state"] for delivery in deliveries(sandbox)[:2]].count("due") >= 1
    sandbox.control("clock", advance=1001)
    endpoint.of_type("payment_intent.created")


@pytest.mark.parametrize(("forged", "late"), [(True, 0), (False, 1000)])
def test_the_client_refuses_a_forged_or_an_old_event(
    sandbox: Sandbox, endpoint: Endpoint, forged: bool, late: int
) -> None:
    sandbox.create()
    event = endpoint.of_type("payment_intent.created")[0].verified()
    # Other tests have advanced the clock.
    ahead = round(sandbox.http.get("/sandbox/clock").json()["ahead"])
    sandbox.control("deliveries", event=event.id, forged=forged, shift=-ahead - late)
    forged_event = endpoint.of_type("payment_intent.created", at_least=2)[1]
    with pytest.raises(stripe.SignatureVerificationError):
        forged_event.verified()


def test_a_shifted_event_is_signed_with_its_future_time(
    sandbox: Sandbox, endpoint: Endpoint
) -> None:
    sandbox.fault("webhooks.payment_intent.created", "shift", seconds=5000)
    sandbox.create()
    sandbox.create()
    ahead, usual = endpoint.of_type("payment_intent.created", at_least=2)
    times = sorted(
        int(event.signature.split(",")[0].removeprefix("t=")) for event in (ahead, usual)
    )
    assert 4900 < times[1] - times[0] < 5100
    ahead.verified()  # the signature is valid, and the client does not refuse future times


def test_undelivered_events_are_delivered_after_a_kill() -> None:
    with listening() as endpoint, running("--webhook-url", endpoint.url) as sandbox:
        sandbox.fault("webhooks.*", "delay", times=None, seconds=1000)
        sandbox.create()
        sandbox.process.kill()
        sandbox.start()
        sandbox.control("clock", advance=1001)
        endpoint.of_type("payment_intent.created")
