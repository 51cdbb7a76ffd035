"""The pages of the console after money has moved at the gateway, or may have moved."""

from collections.abc import Iterator
from typing import Any

import pytest
import stripe
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from audit.run import audit
from console.bulk_actions import runs
from console.bulk_actions.results import NotAllowed
from console.models import Run
from orders.models import Order
from orders.saga import AUTHORIZE_FIRST
from payments import followup
from payments.followup import follow_up_once, schedule
from payments.gateways.stripe.account import http
from payments.models import Payment
from payments.paid_otherwise import Record, parse_record
from staff.models import LogEntry
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
        http(sandbox.url).close()


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
    assert [action.name for action in page_of(viewer, order).context["actions"]] == [
        "retry",
        "paid_otherwise",
    ]
    run = confirmed("retry", Order.objects.get(id=order), by=olga)
    work()
    assert outcomes(run) == [("done", "The gateway is asked about the payment again.")]
    assert follow_up_once() == 1
    assert (Payment.objects.get().status, Payment.objects.get().owed_amount) == ("refunded", 0)
    assert page_of(viewer, order).context["actions"] == []


@pytest.fixture
def bounced(sandbox: Sandbox) -> Any:
    """Return a cancelled order whose refund has failed after its end, and fails again."""
    order = walked.place("MUG")
    walked.deliver("payments.charge", order)
    walked.cancel(order)
    walked.run_to_end(order)
    sandbox.fault("refunds.create", "500_lost", times=2)
    sandbox.control(f"dashboard/refunds/{refunds_of(sandbox, order)[0].id}/fail")
    Payment.objects.update(follow_at="2020-01-01T00:00Z")
    follow_up_once()
    assert Payment.objects.get().owed_amount == 2_500
    Payment.objects.update(follow_at=FAR)
    return order


def paid_otherwise(order: Any, *, by: User, reference: str) -> Run:
    run = runs.draft("paid_otherwise", [order], by=by)
    return runs.confirm(
        run.id,
        by=by,
        reason="The account is closed.",
        fingerprint=runs.preview(run).fingerprint,
        reference=reference,
    )


def test_owed_money_that_was_paid_in_another_way_is_not_refunded_again(
    sandbox: Sandbox, bounced: Any, viewer: Client, olga: User
) -> None:
    with pytest.raises(NotAllowed, match="reference of the payment to the customer"):
        paid_otherwise(bounced, by=olga, reference="")
    run = paid_otherwise(bounced, by=olga, reference="transfer 17")
    work()
    said = "25.00 EUR are recorded as paid in another way: transfer 17."
    assert outcomes(run) == [("done", f"{said} The gateway is asked for no refund any more.")]
    entry = LogEntry.objects.get(what="acted")
    assert (entry.who, entry.action, entry.why) == ("olga", run.action, "The account is closed.")
    assert said in entry.outcome

    sandbox.http.delete("/sandbox/faults").raise_for_status()
    refunds = len(refunds_of(sandbox, bounced))
    assert follow_up_once() == 1
    assert len(refunds_of(sandbox, bounced)) == refunds
    payment = Payment.objects.get()
    assert (payment.status, payment.owed_amount, payment.paid_otherwise_amount) == (
        "refunded",
        0,
        2_500,
    )
    facts = dict(page_of(viewer, bounced).context["detail"].payment_facts)
    assert facts["Paid in another way"] == "25.00 EUR: transfer 17"
    found = [one for verdict in audit().verdicts for one in verdict.shown]
    assert not [one for one in found if one.subject == str(bounced)], found

    again = paid_otherwise(bounced, by=olga, reference="transfer 17")
    work()
    assert outcomes(again) == [("nothing", "No money is owed to the customer.")]


def test_a_run_that_is_tried_again_after_a_crash_says_that_it_has_recorded_the_payment(
    bounced: Any, olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = paid_otherwise(bounced, by=olga, reference="transfer 17")
    with monkeypatch.context() as crashing:
        crashing.setattr("console.bulk_actions.worker._settle", lambda *_: None)
        work()
    assert Payment.objects.get().owed_amount == 0

    run.items.update(due_at="2020-01-01T00:00Z")
    work()
    said = "25.00 EUR are recorded as paid in another way: transfer 17."
    assert outcomes(run) == [("done", f"{said} The gateway is asked for no refund any more.")]
    assert Payment.objects.get().paid_otherwise_amount == 2_500


@pytest.mark.parametrize(
    "record",
    [
        Record(2_500, "eur", "transfer 17"),
        Record(1_234_567, "eur", "a. The gateway is asked.\nAnd more."),
        Record(300, "jpy", "x"),
        Record(1_001, "kwd", "x"),
    ],
)
def test_a_record_is_read_back_from_its_entry_in_the_log(record: Record) -> None:
    assert parse_record(str(record)) == record
    assert parse_record(f"{record} ") is None


def test_a_refund_that_fails_later_does_not_repeat_money_that_was_paid_in_another_way(
    sandbox: Sandbox, bounced: Any, olga: User
) -> None:
    paid_otherwise(bounced, by=olga, reference="transfer 17")
    work()
    sandbox.http.delete("/sandbox/faults").raise_for_status()
    refunds = len(refunds_of(sandbox, bounced))

    assert schedule([bounced], ["refunded"], again=True, refund_failed=True) == 1
    assert follow_up_once() == 1
    assert len(refunds_of(sandbox, bounced)) == refunds
    assert Payment.objects.get().follow_at is None


def test_money_is_not_recorded_as_paid_while_a_follow_up_may_be_refunding_it(
    bounced: Any, olga: User
) -> None:
    Payment.objects.update(follow_at="2020-01-01T00:00Z")
    assert list(followup._claim(followup.UNDONE)) == [bounced]

    run = paid_otherwise(bounced, by=olga, reference="transfer 17")
    work()
    assert outcomes(run) == [("pending", "")]
    assert Payment.objects.get().owed_amount == 2_500

    Payment.objects.update(follow_at=FAR)
    run.items.update(due_at="2020-01-01T00:00Z")
    work()
    assert [state for state, _ in outcomes(run)] == ["done"]
    assert Payment.objects.get().owed_amount == 0


def test_another_amount_than_the_confirmed_one_is_not_recorded_as_paid(
    bounced: Any, olga: User
) -> None:
    run = paid_otherwise(bounced, by=olga, reference="transfer 17")
    Payment.objects.update(owed_amount=2_000)
    work()
    ((state, outcome),) = outcomes(run)
    assert (state, outcome.partition(". ")[0]) == (
        "nothing",
        "20.00 EUR are owed now, not 25.00 EUR",
    )
    assert Payment.objects.get().owed_amount == 2_000


def test_owed_money_above_the_limit_is_recorded_after_an_approval(
    bounced: Any, olga: User, settings: Settings
) -> None:
    settings.CONSOLE_REFUND_LIMIT = 2_000
    run = paid_otherwise(bounced, by=olga, reference="transfer 17")
    assert run.state == Run.State.AWAITING
    work()
    assert Payment.objects.get().owed_amount == 2_500


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
