"""The pages of the console after money has moved at the gateway, or may have moved."""

from collections.abc import Iterator
from typing import Any

import pytest
import stripe
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from orders.models import Order
from orders.saga import AUTHORIZE_FIRST
from payments.followup import follow_up_once
from payments.gateways.stripe.account import session
from payments.models import Payment
from tests.integration.audit import harness as walked
from tests.integration.console.operators import FAR, confirmed, outcomes, work
from tests.integration.payments.stripe_harness import use_stripe
from tests.sandbox.process import Sandbox, running

LIVE = "/admin/live/"

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("quiet"),
]


@pytest.fixture(scope="module")
def sandbox_process() -> Iterator[Sandbox]:
    """Run a sandbox for the tests of this module."""
    with running("--settle-seconds", "3600") as sandbox:
        yield sandbox
        session().close()


@pytest.fixture
def sandbox(sandbox_process: Sandbox, settings: Settings) -> Iterator[Sandbox]:
    """Use the sandbox as the gateway of an open shop, without faults."""
    use_stripe(settings, sandbox_process)
    walked.open_shop()
    yield sandbox_process
    sandbox_process.http.delete("/sandbox/faults").raise_for_status()


def tiles(client: Client) -> dict[str, Any]:
    """Return the tiles about money on the start page by their name."""
    return {tile.name: tile for tile in client.get(LIVE).context["money"]}


def page_of(client: Client, order: Any) -> Any:
    """Return the page of an order."""
    return client.get(f"/admin/orders/order/{order}/change/")


def refunds_of(sandbox: Sandbox, order: Any) -> list[stripe.Refund]:
    charge = str(Payment.objects.get(order_id=order).charge_id)
    return list(sandbox.client.v1.refunds.list({"charge": charge}).data)


def test_a_refund_that_bounces_after_the_end_is_owed_on_every_page(
    sandbox: Sandbox, viewer: Client
) -> None:
    order = walked.place("MUG")
    walked.deliver("payments.charge", order)
    walked.cancel(order)
    walked.run_to_end(order)
    assert Order.objects.get(id=order).status == "cancelled"
    assert Payment.objects.get().status == "refunded"
    assert tiles(viewer)["owed"].value == "none"

    sandbox.fault("refunds.create", "500_lost", times=2)
    sandbox.control(f"dashboard/refunds/{refunds_of(sandbox, order)[0].id}/fail")
    Payment.objects.update(follow_at="2020-01-01T00:00Z")
    assert follow_up_once() == 1

    assert tiles(viewer)["owed-eur"].value == "25.00 EUR"
    page = page_of(viewer, order)
    facts = dict(page.context["detail"].payment_facts)
    assert (facts["Status"], facts["Owed to the customer"]) == ("captured", "25.00 EUR")
    assert "25.00 EUR are owed to the customer" in page.content.decode()
    listed = viewer.get("/admin/payments/payment/?money=owed")
    assert [row.order_id for row in listed.context["cl"].result_list] == [order]


def test_try_again_refunds_money_that_is_owed_after_the_end(
    sandbox: Sandbox, viewer: Client, olga: User
) -> None:
    order = walked.place("MUG")
    walked.deliver("payments.charge", order)
    walked.cancel(order)
    walked.run_to_end(order)
    sandbox.fault("refunds.create", "500_lost", times=2)
    sandbox.control(f"dashboard/refunds/{refunds_of(sandbox, order)[0].id}/fail")
    Payment.objects.update(follow_at="2020-01-01T00:00Z")
    follow_up_once()
    Payment.objects.update(follow_at=FAR)
    sandbox.http.delete("/sandbox/faults").raise_for_status()
    assert follow_up_once() == 0

    viewer.force_login(olga)
    assert [action.name for action in page_of(viewer, order).context["actions"]] == ["retry"]
    run = confirmed("retry", Order.objects.get(id=order), by=olga)
    work()
    assert outcomes(run) == [("done", "The gateway is asked about the payment again.")]
    assert follow_up_once() == 1
    assert (Payment.objects.get().status, Payment.objects.get().owed_amount) == ("refunded", 0)
    assert page_of(viewer, order).context["actions"] == []


def test_a_charge_without_an_answer_is_never_said_to_be_nothing(
    sandbox: Sandbox, viewer: Client
) -> None:
    order = walked.place("MUG")
    sandbox.fault("payment_intents.*", "500_done", times=None)
    walked.deliver("payments.charge", order)
    assert Payment.objects.get().status == "pending"

    shown = tiles(viewer)
    assert shown["unknown-eur"].value == "25.00 EUR"
    assert shown["unsettled"].value == "none known"
    facts = dict(page_of(viewer, order).context["detail"].payment_facts)
    assert facts["Captured"].startswith("unknown:")


def test_an_undo_that_had_nothing_to_undo_shows_no_moved_money(
    sandbox: Sandbox, viewer: Client
) -> None:
    order = walked.place("MUG", method="pm_card_chargeDeclined")
    walked.cancel(order)
    walked.run_to_end(order)
    assert Order.objects.get(id=order).status == "cancelled"

    page = page_of(viewer, order)
    boxes = {box.name: box.status for box in page.context["detail"].diagram.boxes}
    assert {boxes["payments.refund"], boxes["inventory.release"]} == {"nothing"}
    text = page.content.decode()
    assert "payment.barred <small>nothing to give back</small>" in text
    assert "payment.refunded" not in text
    assert "stock.released" not in text


def test_a_card_that_was_declined_while_its_customer_cancelled_moved_no_money(
    sandbox: Sandbox, viewer: Client
) -> None:
    order = walked.place("MUG", method="pm_card_chargeDeclined")
    walked.deliver("payments.charge", order)
    walked.cancel(order)
    walked.run_to_end(order)
    text = page_of(viewer, order).content.decode()
    assert "payment.refunded" not in text
    facts = dict(page_of(viewer, order).context["detail"].payment_facts)
    assert (facts["Status"], facts["Captured"]) == ("declined", "none")


def test_another_amount_captured_by_hand_is_shown_as_it_is(
    sandbox: Sandbox, viewer: Client
) -> None:
    order = walked.place("MUG", first="authorize")
    walked.deliver("payments.authorize", order, plan=AUTHORIZE_FIRST.plan)
    query = {"query": f"metadata['order_id']:'{order}'"}
    intent = sandbox.client.v1.payment_intents.search(query).data[0]  # type: ignore[arg-type]
    sandbox.control("dashboard/captures", payment_intent=intent.id, amount=500)
    for step in ("inventory.reserve", "payments.capture"):
        walked.deliver(step, order, plan=AUTHORIZE_FIRST.plan)
    facts = dict(page_of(viewer, order).context["detail"].payment_facts)
    assert facts["Captured"] == "5.00 EUR, which is not the amount of the order"
